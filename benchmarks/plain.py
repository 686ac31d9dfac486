"""Networks that tell nothing but themselves, the whole way, beside an evaluation that has nothing of this project.

    python benchmarks/plain.py [--work build/plain]

The networks are the committed ones of `tests/models`: one classifier in every form that needs no container. Written to
docs/plain.md, from the packages' own performance records.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from architectures import python_of_pt

from mcwbuild.contract import disk
from mcwbuild.contract.phases import PHASES
from mcwbuild.engines.local import LocalEngine

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs" / "plain.md"
MODELS = ROOT / "tests" / "models"
FORMS = {
    "TorchScript, traced": "classifier_traced.pt",
    "TorchScript, scripted": "classifier_scripted.pt",
    "exported program": "classifier.pt2",
}
SIZE, SHORTER = 64, 72  # pixels, as `tests/models/make_classifier.py` trained it
COLUMNS = ("PT", "ONNX", "FP16", "INT8")


def run(*words: object) -> subprocess.CompletedProcess[str]:
    """mcwbuild with these words; what it says goes to standard error."""
    command = [sys.executable, "-m", "mcwbuild", *map(str, words)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)


def sources(work: Path, data: Path) -> tuple[Path, Path]:
    """The drafts that `init` writes, for the classifier and for a network that nothing is known about; completed."""
    model = MODELS / FORMS["TorchScript, traced"]
    made = {}
    for task, more in (("classification", ("--data", data)), ("generic", ())):
        words = ("--task", task, "--imgsz", SIZE, "--out", work / task, "--force", "--progress", "quiet", *more)
        run("init", "--engine", "local", "--pt", model, *words)
        made[task] = work / task / "training_source.yaml"
    draft = made["classification"].read_text("utf-8").partition("training:")[0]
    resize = "    method: center_crop\n"
    made["classification"].write_text(draft.replace(resize, f"{resize}    shorter_side: {SHORTER}\n"), "utf-8")
    return made["classification"], made["generic"]


def convert(model: tuple[object, ...], source: Path, images: tuple[object, ...], out: Path) -> dict[str, Any]:
    """The outcome of a run as `--json` prints it, and its exit code."""
    words = ("--source", source, *images, "--target", "rk3588", "--out", out, "--json", "--progress", "quiet")
    done = run("run", "--engine", "local", *model, *words)
    return {"exit": done.returncode, **(json.loads(done.stdout) if done.stdout.strip() else {})}


def row(name: str, result: dict[str, Any], metric: str | None) -> str:
    """One line: the metric of each phase and its change, or of a generic network the cosine of its worst output."""
    models = {model["model"].removeprefix("rk3588 "): model for model in result.get("models", [])}
    cells = []
    for label in COLUMNS:
        model = models.get(label, {})
        value, drop = model.get(metric) if metric else None, model.get("drop_percent")
        change = "" if drop is None else f" ({0.0 - drop:+.2f} %, {model['gate']})"
        if value is not None:
            cells.append(f"{value:.4f}{change}")
        else:
            cells.append("-" if drop is None else f"cosine {1 - drop / 100:.6f} ({model['gate']})")
    return "| " + " | ".join([name, *cells, str(result["exit"])]) + " |"


def independent(data: Path, exported: Path) -> str:
    """What `library_plain.py` says: Pillow, PyTorch's own loader, a loop. It writes the ONNX file too."""
    engine = LocalEngine()
    engine.prepare(PHASES["onnx"], lambda _: None)
    program = ROOT / "benchmarks" / "library_plain.py"
    command = [engine.python(PHASES["onnx"]), program, data, "--export", exported]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()[0].strip()


def document(said: str, rows: list[str]) -> str:
    """The whole page."""
    return f"""\
# Networks that tell nothing but themselves

One small classifier of drawn arrows, bars and wedges (`tests/models/make_classifier.py`, trained for a minute), in
every form that needs no container, converted with `mcwbuild run --target rk3588` over 128 images that the training did
not see. Figures are top-1; in brackets the change against the phase before and the gate's verdict. In the last lines
the same files are taken as `generic`: a network without a metric, whose worst output's cosine counts.

An evaluation that has nothing of this project (`benchmarks/library_plain.py`: Pillow's resize and crop, PyTorch's own
loader, a loop) says: {said}.

| network | PyTorch | ONNX | FP16 | INT8 | exit code |
|---|---|---|---|---|---|
{chr(10).join(rows)}

Made with, and written by:

    python benchmarks/plain.py
"""


def main() -> None:
    """Convert everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "plain")
    work = parser.parse_args().work.resolve()
    data = work / "images"
    if not data.is_dir():
        work.mkdir(parents=True, exist_ok=True)
        subprocess.run([python_of_pt(), ROOT / "benchmarks" / "draw_tasks.py", "classify", data], check=True)
    listing = work / "calibration.txt"
    listing.write_text("".join(f"{path}\n" for path in sorted((data / "train").glob("*/*"))[::8]), "utf-8")
    classifier, generic = sources(work, data)
    exported = work / "exported.onnx"
    said, rows = independent(data, exported), []
    for name, file in FORMS.items():
        result = convert(("--pt", MODELS / file), classifier, ("--data", data), work / Path(file).stem)
        rows.append(row(name, result, "top1"))
    rows.append(row("ONNX file", convert(("--onnx", exported), classifier, ("--data", data), work / "given"), "top1"))
    for name, model in (("exported program", ("--pt", MODELS / "classifier.pt2")), ("ONNX file", ("--onnx", exported))):
        out = work / f"generic_{model[0].strip('-')}"
        rows.append(row(f"{name}, generic", convert(model, generic, ("--dataset", listing), out), None))
    disk.write_atomic(TABLE, document(said, rows).encode())


if __name__ == "__main__":
    main()
