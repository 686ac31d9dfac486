"""Both `.rknn` from a checkpoint: our three stages, evaluation aside, beside Ultralytics' two export commands.

Ours: `python -m stages.pt`, `stages.onnx`, `stages.rknn` in this Python, one after the other, less the seconds in
which nothing but their evaluation (steps `evaluate`, `test`, `compare`) is under way. The rknn stage builds FP16 and
INT8 side by side: while INT8 is still being built, the evaluation of FP16 beside it counts.
Ultralytics: `yolo export format=rknn quantize=16` and `quantize=8`, in this Python too. INT8 is calibrated with the
same 50 images on both sides. Needs one environment with all of benchmarks/requirements-all.in.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import sides
from conversion import CALIBRATION_IMAGES, TARGET

from mcwbuild.contract import dataset

GOAL = sides.Goal("time", 0.9)


def rows(args: argparse.Namespace) -> list[sides.Row]:
    """One row: the whole way to both files."""
    found = dataset.read(args.data)
    images = dataset.pick(found.splits["train"], CALIBRATION_IMAGES)
    with tempfile.TemporaryDirectory(prefix="mcwbuild-benchmark-") as name:
        folder = Path(name)
        pictures = folder / "images"
        pictures.mkdir()
        copies = [Path(shutil.copy(image, pictures)) for image in images]
        (folder / "list.txt").write_text("".join(f"{copy}\n" for copy in copies), "utf-8")
        names = dict(enumerate(found.names))
        described = {"path": str(folder), "train": "images", "val": "images", "names": names}
        (folder / "data.yaml").write_text(json.dumps(described), "utf-8")  # JSON is YAML
        times = sides.alternate(
            lambda: _ours(args.pt.resolve(), folder, args.threads),
            lambda: _ultralytics(args.pt.resolve(), folder, args.threads),
            args.rounds,
        )
    return [sides.Row("checkpoint to both `.rknn`", "three stages", "two `yolo export`", *times, GOAL)]


def _ours(checkpoint: Path, folder: Path, threads: int) -> float:
    work = folder / "ours"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    pt, onnx, rknn = (work / name for name in ("pt", "onnx", "rknn"))
    made = ["--onnx", str(onnx / "best.onnx"), "--source", str(onnx / "onnx_source.yaml")]
    phases = (
        ("pt", pt, ["--pt", str(checkpoint), "--name", "model"]),
        ("onnx", onnx, ["--pt", str(pt / "best.pt"), "--source", str(pt / "training_source.yaml")]),
        ("rknn", rknn, [*made, "--target", TARGET, "--dataset", str(folder / "list.txt")]),
    )
    seconds = 0.0
    for phase, out, words in phases:
        shared = ["--out", str(out), "--threads", str(threads)]
        seconds += sides.run_stage(
            [sys.executable, "-P", "-m", f"stages.{phase}", *words, *shared], work, **_quiet(folder)
        )
    return seconds


def _ultralytics(checkpoint: Path, folder: Path, threads: int) -> float:
    work = folder / "theirs"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    model = Path(shutil.copy(checkpoint, work))
    program = "from ultralytics.cfg import entrypoint; entrypoint()"
    seconds = 0.0
    for precision in (16, 8):
        words = ["export", f"model={model}", "format=rknn", f"name={TARGET}", f"quantize={precision}"]
        words += [f"data={folder / 'data.yaml'}"] if precision == 8 else []
        more = {**_quiet(folder), "OMP_NUM_THREADS": str(threads)}
        seconds += sides.run([sys.executable, "-c", program, *words], work, **more)[0]
        if not list(work.glob("*_rknn_model/*.rknn")):
            raise sides.BenchmarkError(f"quantize={precision} made no .rknn")
        shutil.rmtree(next(work.glob("*_rknn_model")))
    return seconds


def _quiet(folder: Path) -> dict[str, str]:
    """Ultralytics' settings away from the user's home, and nothing asked of the network, on both sides."""
    home = folder / "settings"
    home.mkdir(exist_ok=True)
    return {"YOLO_CONFIG_DIR": str(home), "MPLCONFIGDIR": str(home), "YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0"}


if __name__ == "__main__":
    sides.main(__doc__, rows, "--pt", "--data")
