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
        subprocess.run([_python(), program, data.parent, *DRAWN], check=True)
    return data


def train(name: str, data: Path, work: Path) -> Path:
    """The checkpoint of the stock network `name`."""
    checkpoint = work / f"{name}.pt"
    if not checkpoint.is_file():
        program = ROOT / "benchmarks" / "train_small.py"
        with (work / f"{name}.train.log").open("w") as log:
            command = [_python(), program, name, data, checkpoint]
            subprocess.run(command, check=True, cwd=work, stdout=log, stderr=subprocess.STDOUT)
    return checkpoint


def _python() -> str:
    engine = LocalEngine()
    engine.prepare(PHASES["pt"], lambda _: None)
    return str(engine.python(PHASES["pt"]))


def convert(name: str, checkpoint: Path, data: Path, work: Path) -> dict[str, Any]:
    """The run's own result as `mcwbuild run --json` printed it, its exit code beside."""
    kept = work / f"{name}.json"
    if kept.is_file() and kept.stat().st_mtime > checkpoint.stat().st_mtime:
        stored: dict[str, Any] = json.loads(kept.read_text("utf-8"))
        return stored
    command = [sys.executable, "-m", "mcwbuild", "run", "--pt", checkpoint, "--data", data, "--target", TARGET]
    command += [*CALIBRATED, "--out", work / "packages" / name, "--json"]
    with (work / f"{name}.run.log").open("w") as log:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    result = {"exit": done.returncode, **(json.loads(done.stdout) if done.stdout.strip() else {})}
    kept.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    return result


def row(name: str, result: dict[str, Any]) -> str:
    """One line of the table; a cell has map50_95, and the drop against its gate's limit."""
    cells = [name]
    models = {model["model"].removeprefix(f"{TARGET} "): model for model in result.get("models", [])}
    for label in ("PT", "ONNX", "FP16", "INT8"):
        model = models.get(label, {})
        value, drop = model.get("map50_95"), model.get("drop_percent")
        text = "-" if value is None else f"{value:.4f}"
        if drop is not None:
            text += f" ({'+' if drop < 0 else '-'}{abs(drop):.2f} %, {model['gate']})"
        cells.append(text)
    return "| " + " | ".join([*cells, str(result["exit"])]) + " |"


def table(results: dict[str, dict[str, Any]]) -> str:
    """The whole document."""
    reasons = [f"- {name}: {reason}" for name, result in results.items() for reason in failures(result)]
    return f"""\
# Every architecture, the whole way

Each network was trained from scratch for a minute or two on drawn images, at 128 x 128, by Ultralytics' own trainer
(`benchmarks/train_small.py`), and converted with `mcwbuild run --target {TARGET}`. The figures are map50_95 of the one
evaluator over 128 images that the training did not see; in brackets the change against PyTorch (ONNX) or ONNX (FP16,
INT8) and the gate's verdict. Written by `python benchmarks/architectures.py`, not by hand. The trainings are too short
for accuracy; what counts is that each phase keeps what the one before it had.

| network | PyTorch | ONNX | FP16 | INT8 | exit code |
|---|---|---|---|---|---|
{chr(10).join(row(name, result) for name, result in results.items())}

Exit code 0: every gate passed. 3: one failed.

{chr(10).join(["Why a gate failed:", "", *reasons]) if reasons else "No gate failed."}
"""


def failures(result: dict[str, Any]) -> list[str]:
    """Why the run failed, in the tool's own words."""
    return [str(reason) for reason in result.get("reasons", [])]


def main() -> None:
    """Train and convert what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SMALLEST, default=list(SMALLEST))
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "architectures")
    given = parser.parse_args()
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    data = draw(work)
    results: dict[str, dict[str, Any]] = {}
    for name in SMALLEST:
        if name in given.only:
            convert(name, train(name, data, work), data, work)
        if (work / f"{name}.json").is_file():
            results[name] = json.loads((work / f"{name}.json").read_text("utf-8"))
            TABLE.write_text(table(results), "utf-8")


if __name__ == "__main__":
    main()
