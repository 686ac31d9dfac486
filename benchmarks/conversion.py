"""The rknn stage's conversion, its evaluation aside, beside a bare script of toolkit calls on the same model.

Ours is `python -m stages.rknn`: check the inputs, build in a child process, read the file back, write the documents.
The seconds in which nothing but its evaluation (the steps `test`, `compare` and `pictures`) is under way are taken off.
The bare script imports the toolkit and calls config, load_onnx, build, export_rknn with the example's values.
INT8 is calibrated with the same images; the bare script gives them to the toolkit as they are.
Needs the rknn phase's environment.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import sides

from mcwbuild.contract import dataset, documents

GOAL = sides.Goal("time", 1.1)
CALIBRATION_IMAGES = 50
TARGET = "rk3588"
BARE = """
import sys
from rknn.api import RKNN
model, out, target, listing = sys.argv[1:]
rknn = RKNN(verbose=False)
steps = [
    lambda: rknn.config(mean_values=[[0, 0, 0]], std_values=[[255, 255, 255]], target_platform=target),
    lambda: rknn.load_onnx(model),
    lambda: rknn.build(do_quantization=bool(listing), dataset=listing or None),
    lambda: rknn.export_rknn(out),
]
sys.exit(any(step() != 0 for step in steps))
"""


def rows(args: argparse.Namespace) -> list[sides.Row]:
    """One row for FP16, one for INT8 with a given list, one for INT8 with images chosen from the training split."""
    with tempfile.TemporaryDirectory(prefix="mcwbuild-benchmark-") as folder:
        listing = Path(folder, "dataset.txt")
        _list(listing, args, CALIBRATION_IMAGES)
        given = [_row(variant, args, listing, Path(folder)) for variant in ("fp16", "int8")]
        return [*given, _chosen(args, listing, Path(folder))]


def _list(listing: Path, args: argparse.Namespace, count: int) -> None:
    images = dataset.pick(dataset.read(args.data).splits["train"], count)
    listing.write_text("".join(f"{image.resolve()}\n" for image in images), "utf-8")


def _chosen(args: argparse.Namespace, listing: Path, folder: Path) -> sides.Row:
    """INT8 as `--data` makes it, the choice and its size curve included; the bare script gets as many images."""
    work = folder / "chosen"
    ours = _ours("int8", args, work, ["--data", str(args.data.resolve())])
    ours()
    source = documents.read_yaml(work / "rknn_source.yaml").value
    count = int(source["quantization"]["int8"]["dataset"]["size"])
    _list(listing, args, count)
    times = sides.alternate(ours, _bare("int8", args, work, listing), args.rounds)
    return sides.Row(
        f"conversion to INT8, {count} images chosen", "`stages.rknn`", "a bare toolkit script", *times, GOAL
    )


def _row(variant: str, args: argparse.Namespace, listing: Path, folder: Path) -> sides.Row:
    work = folder / variant
    given = ["--dataset", str(listing)] if variant == "int8" else []
    times = sides.alternate(_ours(variant, args, work, given), _bare(variant, args, work, listing), args.rounds)
    return sides.Row(f"conversion to {variant.upper()}", "`stages.rknn`", "a bare toolkit script", *times, GOAL)


def _ours(variant: str, args: argparse.Namespace, work: Path, given: list[str]) -> sides.Timed:
    def convert() -> float:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        model = ["--onnx", str(args.onnx.resolve()), "--source", str(args.onnx.resolve().with_name("onnx_source.yaml"))]
        chosen = ["--dtype", variant, "--tune", "off", "--target", TARGET, "--threads", str(args.threads)]
        words = [*model, *chosen, *given, "--out", str(work)]
        return sides.run_stage([sys.executable, "-m", "stages.rknn", *words], work)

    return convert


def _bare(variant: str, args: argparse.Namespace, work: Path, listing: Path) -> sides.Timed:
    def script() -> float:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        words = [str(args.onnx.resolve()), str(work / "bare.rknn"), TARGET, str(listing) if variant == "int8" else ""]
        return sides.run([sys.executable, "-c", BARE, *words], work, OMP_NUM_THREADS=str(args.threads))[0]

    return script


if __name__ == "__main__":
    sides.main(__doc__, rows, "--onnx", "--data")
