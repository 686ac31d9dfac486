"""Every task the whole way: train small networks, convert them, and write down what was measured beside the library's.

    python benchmarks/tasks.py [--only yolo11n-seg ...] [--work build/tasks]

What is there already is not made again: delete a checkpoint to train it anew. docs/tasks.md is written after each
network, from the packages' own performance records.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

from architectures import convert, epochs, python_of_pt, reason

from mcwbuild.contract import disk

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs" / "tasks.md"
TASKS = {"-cls": "classify", "-seg": "segment", "-pose": "pose", "-obb": "obb"}
NETWORKS = tuple(f"{family}{suffix}" for suffix in TASKS for family in ("yolov8n", "yolo11n", "yolo26n"))
# What the library's own validation calls the main metric of each task.
THEIRS = {
    "-cls": "metrics/accuracy_top1",
    "-seg": "metrics/mAP50-95(M)",
    "-pose": "metrics/mAP50-95(P)",
    "-obb": "metrics/mAP50-95(B)",
}
EPOCHS = {"-cls": 60}
USUAL_EPOCHS = 20
MISSED = 3  # exit code of a missed gate
AGAIN = "-mmse"  # how the packages are called that are made once more where INT8 missed its gate


def suffix_of(name: str) -> str:
    """`-seg` of `yolo11n-seg`."""
    return f"-{name.rpartition('-')[2]}"


def draw(suffix: str, work: Path) -> Path:
    """What a training is given: the task's data.yaml, or the folder of a classification."""
    task = TASKS[suffix]
    folder = work / "images" / task
    if not folder.is_dir():
        subprocess.run([python_of_pt(), ROOT / "benchmarks" / "draw_tasks.py", task, folder], check=True)
    return folder if task == "classify" else folder / "data.yaml"


def train(name: str, data: Path, work: Path) -> Path:
    """The checkpoint of the stock network `name`."""
    checkpoint = work / f"{name}.pt"
    if not checkpoint.is_file():
        count = EPOCHS.get(suffix_of(name), USUAL_EPOCHS)
        with (work / f"{name}.train.log").open("w") as log:
            program = ROOT / "benchmarks" / "train_small.py"
            command = [python_of_pt(), program, name, data, checkpoint, "--epochs", str(count)]
            subprocess.run(command, check=True, cwd=work, stdout=log, stderr=subprocess.STDOUT)
    return checkpoint


def library(name: str, checkpoint: Path, data: Path, work: Path) -> dict[str, Any]:
    """What the library itself says of the checkpoint."""
    kept = work / f"{name}.library.json"
    if not kept.is_file() or kept.stat().st_mtime < checkpoint.stat().st_mtime:
        with (work / f"{name}.library.log").open("w") as log:
            command = [python_of_pt(), ROOT / "benchmarks" / "library_val.py", checkpoint, data]
            done = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        kept.write_text(done.stdout[done.stdout.index("{\n") :], "utf-8")
    stored: dict[str, Any] = json.loads(kept.read_text("utf-8"))
    return stored


def row(name: str, result: dict[str, Any], said: dict[str, Any], work: Path) -> str:
    """One line of the table; a cell has the task's main metric, and the change against the gate's reference."""
    package, label, name = name, name.replace(AGAIN, " `--algorithm mmse`"), name.removesuffix(AGAIN)
    metric = "top1" if suffix_of(name) == "-cls" else "map50_95"
    models = {model["model"].removeprefix("rk3588 "): model for model in result.get("models", [])}
    theirs = (said["val"].get(THEIRS[suffix_of(name)]), said["predict"].get(metric))
    cells = [label, str(epochs(work / "packages" / package)), *("-" if x is None else f"{x:.4f}" for x in theirs)]
    for label in ("PT", "ONNX", "FP16", "INT8"):
        model = models.get(label, {})
        value, drop = model.get(metric), model.get("drop_percent")
        change = "" if drop is None else f" ({0.0 - drop:+.2f} %, {model['gate']})"
        cells.append("-" if value is None else f"{value:.4f}{change}")
    return "| " + " | ".join([*cells, str(result["exit"])]) + " |"


def table(results: dict[str, tuple[dict[str, Any], dict[str, Any]]], work: Path) -> str:
    """The whole document."""
    reasons = [(name, reason(result, work / f"{name}.run.log")) for name, (result, _) in results.items()]
    failed = [f"- {name}: {text}" for name, text in reasons if text]
    rows = [row(name, result, said, work) for name, (result, said) in results.items()]
    return f"""\
# Every task, the whole way

Each network was trained from scratch for some minutes on drawn images (`benchmarks/draw_tasks.py`), at 128 x 128, by
Ultralytics' own trainer, and converted with `mcwbuild run --target rk3588`. The figures are the main metric over 128
images that the training did not see: top-1 of classifiers; map50_95 of masks, of keypoints (OKS) and of turned boxes
(probabilistic IoU). In brackets stands the change against PyTorch (ONNX) or ONNX (FP16 and INT8, on the toolkit's
simulator) and the gate's verdict. The trainings are too short for accuracy: what counts is that each phase keeps what
the one before it had. Where INT8 missed its gate, the next line has the same network with `--algorithm mmse`, which
chooses ranges by the error that they leave instead of by the extremes. Text recognition: docs/ocr.md.

Two columns are the library's own: `val`, its validation at the same size, IoU and limit; and `predict`, its predictions
counted by this project's metric. PyTorch agrees with `predict`: the same objects are found. `val` counts otherwise: in
the padded input instead of the image, without clipping; masks at a quarter of the resolution, and labelled outlines
with all pixels that they touch, where COCO's tools, which are used here, fill what lies inside: much for objects of 10
to 30 pixels, as these are. That is all: the same masks, counted in the library's way, give its figure within 0.5 %
(`tests/stages/pt/test_library_val.py`). Here they are counted as COCO's tools count, in the pixels of the user's image,
which is what the board's program gives; Ultralytics does so itself with `save_json`. YOLO26's classifier is YOLO11's,
layer for layer: the same training gives the same figures.

| network | epochs | library's val | library's predict | PyTorch | ONNX | FP16 | INT8 | exit code |
|---|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

{chr(10).join(["What did not pass, and why:", "", *failed]) if failed else "Every gate passed."}

Made with, and written by:

    python benchmarks/tasks.py
"""


def main() -> None:
    """Train and convert what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "tasks")
    given = parser.parse_args()
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    for name in given.only:
        data = draw(suffix_of(name), work)
        checkpoint = train(name, data, work)
        if convert(name, checkpoint, data, work)["exit"] == MISSED:
            convert(name + AGAIN, checkpoint, data, work, "--algorithm", "mmse")
        library(name, checkpoint, data, work)
        results = {
            each + again: (json.loads(made.read_text("utf-8")), json.loads(said.read_text("utf-8")))
            for each in NETWORKS
            for again in ("", AGAIN)
            if (made := work / f"{each}{again}.json").is_file() and (said := work / f"{each}.library.json").is_file()
        }
        disk.write_atomic(TABLE, table(results, work).encode())


if __name__ == "__main__":
    main()
