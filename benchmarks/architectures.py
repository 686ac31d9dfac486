"""Every architecture the whole way: train its smallest network, convert it, and write down what was measured.

    python benchmarks/architectures.py [--only yolo26n ...] [--work build/architectures]

What is there already is not made again: delete a checkpoint to train it anew. docs/architectures.md is written after
each network, from the packages' own performance records.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from mcwbuild.contract import disk, documents
from mcwbuild.contract.phases import PHASES
from mcwbuild.engines.local import LocalEngine

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs" / "architectures.md"
SMALLEST = (*("yolov3-tiny", "yolov5n", "yolov6n", "yolov8n", "yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolo26n"),)
DRAWN = ("--train", "400", "--val", "128", "--seed", "1", "--size", "128x96", "128x128", "96x128")
CALIBRATED = ("--calibration-images", "64")
TARGET = "rk3588"


def draw(work: Path) -> Path:
    """The drawn images' data.yaml."""
    data = work / "images" / "data.yaml"
    if not data.is_file():
        program = ROOT / "examples" / "shapes" / "draw.py"
        subprocess.run([python_of_pt(), program, data.parent, *DRAWN], check=True)
    return data


def train(name: str, data: Path, work: Path) -> Path:
    """The checkpoint of the stock network `name`."""
    checkpoint = work / f"{name}.pt"
    if not checkpoint.is_file():
        program = ROOT / "benchmarks" / "train_small.py"
        with (work / f"{name}.train.log").open("w") as log:
            command = [python_of_pt(), program, name, data, checkpoint]
            subprocess.run(command, check=True, cwd=work, stdout=log, stderr=subprocess.STDOUT)
    return checkpoint


def python_of_pt() -> str:
    """The interpreter of the pt phase's environment."""
    engine = LocalEngine()
    engine.prepare(PHASES["pt"], lambda _: None)
    return str(engine.python(PHASES["pt"]))


def convert(name: str, checkpoint: Path, data: Path, work: Path, *options: str) -> dict[str, Any]:
    """The run's own result as `mcwbuild run --json` printed it, its exit code beside."""
    kept = work / f"{name}.json"
    if kept.is_file() and kept.stat().st_mtime > checkpoint.stat().st_mtime:
        stored: dict[str, Any] = json.loads(kept.read_text("utf-8"))
        return stored
    command = [sys.executable, "-m", "mcwbuild", "run", "--pt", checkpoint, "--data", data, "--target", TARGET]
    command += [*CALIBRATED, *options, "--out", work / "packages" / name, "--json"]
    with (work / f"{name}.run.log").open("w") as log:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    result = {"exit": done.returncode, **(json.loads(done.stdout) if done.stdout.strip() else {})}
    kept.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    return result


def row(name: str, result: dict[str, Any], work: Path) -> str:
    """One line of the table; a cell has map50_95, and the change against the gate's reference."""
    models = {model["model"].removeprefix(f"{TARGET} "): model for model in result.get("models", [])}
    cells = [name, str(epochs(work / "packages" / name))]
    for label in ("PT", "ONNX", "FP16", "INT8"):
        model = models.get(label, {})
        value, drop = model.get("map50_95"), model.get("drop_percent")
        change = "" if drop is None else f" ({0.0 - drop:+.2f} %, {model['gate']})"
        cells.append("-" if value is None else f"{value:.4f}{change}")
    return "| " + " | ".join([*cells, str(result["exit"])]) + " |"


def epochs(package: Path) -> int | str:
    """How long the network was trained, as its checkpoint says."""
    source = package / "pt_package" / "training_source.yaml"
    value = documents.read_yaml(source).value if source.is_file() else {}
    return value.get("training", {}).get("epochs", "-") if isinstance(value, dict) else "-"


def reason(result: dict[str, Any], log: Path) -> str:
    """Why the run did not pass, in the tool's own words; empty where it did."""
    if result["exit"] == 0:
        return ""
    missed = result.get("missed") or {}
    said = log.read_text("utf-8", "replace").strip().splitlines() if log.is_file() else []
    return str(missed.get("found") or (said[-1] if said else "It said nothing."))


def table(results: dict[str, dict[str, Any]], work: Path) -> str:
    """The whole document."""
    reasons = [(name, reason(result, work / f"{name}.run.log")) for name, result in results.items()]
    failed = [f"- {name}: {text}" for name, text in reasons if text]
    return f"""\
# Every architecture, the whole way

Each network was trained from scratch for a few minutes on drawn images, at 128 x 128, by Ultralytics' own trainer
(`benchmarks/train_small.py`), and converted with `mcwbuild run --target {TARGET}`. The figures are map50_95 of the one
evaluator over 128 images that the training did not see; in brackets the change against PyTorch (ONNX) or ONNX (FP16 and
INT8, on the toolkit's simulator) and the gate's verdict. The trainings are too short for accuracy: what counts is that
each phase keeps what the one before it had. YOLOv10 and YOLO26 are measured at their one-to-one heads, without NMS.

| network | epochs | PyTorch | ONNX | FP16 | INT8 | exit code |
|---|---|---|---|---|---|---|
{chr(10).join(row(name, result, work) for name, result in results.items())}

{chr(10).join(["What did not pass, and why:", "", *failed]) if failed else "Every gate passed."}

Made with, and written by:

    python benchmarks/architectures.py
"""


def main() -> None:
    """Train and convert what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SMALLEST, default=list(SMALLEST))
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "architectures")
    given = parser.parse_args()
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    data = draw(work)
    for name in given.only:
        convert(name, train(name, data, work), data, work)
        made = {each: work / f"{each}.json" for each in SMALLEST}
        results = {each: json.loads(file.read_text("utf-8")) for each, file in made.items() if file.is_file()}
        disk.write_atomic(TABLE, table(results, work).encode())


if __name__ == "__main__":
    main()
