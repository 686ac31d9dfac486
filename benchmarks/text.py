"""Text recognition the whole way, on words as they were trained and on ones with more grain; into docs/ocr.md.

    python benchmarks/text.py [--work build/text]

The network is examples/ocr/best.pt. Everything is made anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from architectures import CALIBRATED, TARGET, python_of_pt

from mcwbuild.contract import disk

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "ocr.md"
MARK = "<!-- figures: written by benchmarks/text.py -->\n"
MODEL = ROOT / "examples" / "ocr"
GRAINS = (1, 3, 4)  # times the noise of the training
WORDS = ("--train", "200", "--val", "256")


def convert(grain: int, work: Path) -> dict[str, Any]:
    """Draw the words and run all phases; the run's own result, its exit code beside."""
    folder = work / f"grain_{grain}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    drawn = [python_of_pt(), ROOT / "benchmarks" / "draw_words.py", folder / "words", *WORDS, "--grain", str(grain)]
    subprocess.run([str(word) for word in drawn], check=True)
    command = [sys.executable, "-m", "mcwbuild", "run", "--pt", MODEL / "best.pt", "--target", TARGET, *CALIBRATED]
    command += [
        "--source",
        MODEL / "training_source.yaml",
        "--data",
        folder / "words",
        "--out",
        folder / "out",
        "--json",
    ]
    with (folder / "run.log").open("w") as log:
        done = subprocess.run([str(word) for word in command], cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    return {"exit": done.returncode, **(json.loads(done.stdout) if done.stdout.strip() else {})}


def row(grain: int, result: dict[str, Any]) -> str:
    """One line of the table: of each phase the characters' accuracy and the words', and the gate's verdict."""
    cells = [f"{grain} times"]
    for model in result.get("models", []):
        drop = model.get("drop_percent")
        change = "" if drop is None else f" ({0.0 - drop:+.2f} %, {model['gate']})"
        value, words = model.get("character_accuracy"), model.get("word_accuracy")
        cells.append("-" if value is None else f"{value:.4f}{change}, words {words:.4f}")
    return "| " + " | ".join([*cells, str(result["exit"])]) + " |"


def main() -> None:
    """Measure, and write the page's last part anew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "text")
    work = parser.parse_args().work.resolve()
    rows = [row(grain, convert(grain, work)) for grain in GRAINS]
    head = ["| grain | PyTorch | ONNX | FP16 | INT8 | exit code |", "|---|---|---|---|---|---|"]
    kept = PAGE.read_text("utf-8").partition(MARK)[0]
    disk.write_atomic(PAGE, (kept + MARK + "\n".join([*head, *rows]) + "\n").encode())


if __name__ == "__main__":
    main()
