"""Planted faults and sound conversions: `python -m tests.campaign.faults --trials 100`.

Of each kind of fault so many seeded trials with the real toolkit (tests/support/planted.py); the fault has to be
called by its name, and of sound conversions nothing may be said. The counts go into the ledger; the program begins
where the ledger ends. `--networks DIR` keeps the exported networks for the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from mcwbuild.contract.phases import ONNX, RKNN, Phase
from mcwbuild.engines.local import LocalEngine
from tests.campaign import ledger
from tests.support.commands import EXAMPLE, ROOT, mcwbuild
from tests.support.trained import checkpoint

CAMPAIGN = "faults"
SEED = 20263
PIECE = 5  # trials between two entries in the ledger
OF_A_PROCESS = 25  # trials; its start takes as long as a cheap one, and the toolkit leaves memory behind
CHECKPOINTS = {"example": EXAMPLE / "best.pt"} | {
    name: checkpoint(name) for name in ("shapes", "detect", "segment", "pose", "obb", "classify")
}
KINDS = {  # how each has to be called; tests/support/planted.py plants them
    "colours": "channel-order",
    "normalization": "normalization",
    "padding": "padding",
    "stock head in INT8": "mixed-output",
    "FP16 overflow": "fp16-overflow",
    "calibration on noise": "calibration-unlike",
    "other names": "class-names",
    "sound": "",
}
STOCK = ("shapes", "detect", "segment", "pose", "obb")


def python(phase: Phase) -> Path:
    """The interpreter of the phase's environment."""
    engine = LocalEngine()
    engine.prepare(phase, lambda event: None)
    return engine.python(phase)


def prepare(folder: Path, names: Collection[str] = tuple(CHECKPOINTS)) -> None:
    """Export the networks below `folder`, and those with the head of their library as networks without a task."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        checkpoint = CHECKPOINTS[name]
        if not (folder / name / "onnx_package" / "SHA256SUMS").is_file():
            _export(folder, name, checkpoint)


def _export(folder: Path, name: str, checkpoint: Path) -> None:
    out, source = folder / name, folder / name / "training_source.yaml"
    described = mcwbuild("init", "--pt", checkpoint, "--out", out, "--force", cwd=folder)
    if described.code:
        raise RuntimeError(f"init ended with exit code {described.code}: {described.stderr[-2000:]}")
    if name in STOCK:
        written = yaml.safe_load(source.read_text("utf-8"))
        generic = {key: written[key] for key in ("schema", "input", "preprocessing")}
        generic["model"] = {"name": name, "type": "stock head", "task": "generic"}
        stock = folder / f"{name}-stock"
        stock.mkdir(exist_ok=True)
        (stock / "source.yaml").write_text(yaml.safe_dump(generic))
        _run(folder, "tests.support.foreign_onnx", checkpoint, stock / "model.onnx")
        words = ["--onnx", stock / "model.onnx", "--source", stock / "source.yaml"]
        _run(folder, "stages.onnx", *words, "--out", stock / "onnx_package")
    _run(folder, "stages.onnx", "--pt", checkpoint, "--source", source, "--out", out / "onnx_package")


def _run(folder: Path, module: str, *words: str | Path) -> None:
    """Run a module in the onnx phase's environment."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "YOLO_OFFLINE": "1", "YOLO_CONFIG_DIR": str(folder)}
    command = [str(word) for word in (python(ONNX), "-m", module, *words)]
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{module} ended with exit code {done.returncode}: {done.stderr[-2000:]}")


def trials(networks: Path, kind: str, start: int, count: int, seed: int = SEED) -> Iterator[dict[str, Any]]:
    """What came of so many trials of a kind; the process of the phase's environment ends with them."""
    words = [python(RKNN), "-m", "tests.support.planted", networks, seed, kind, start, count]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
    with (
        tempfile.TemporaryDirectory(prefix="faults-") as scratch,  # the toolkit leaves files where it stands
        subprocess.Popen([str(word) for word in words], cwd=scratch, env=environment, stdout=subprocess.PIPE) as run,
    ):
        for line in run.stdout or ():
            yield json.loads(line)
    if run.returncode:
        raise RuntimeError(f"the trials ended with exit code {run.returncode}")


def count(kind: str, made: list[dict[str, Any]], path: Path) -> dict[str, Any]:
    """Add these trials to the ledger; what it has of this kind then."""
    missed = [one for one in made if not one["caught"]]
    counts = {"trials": len(made), "right": len(made) - len(missed), "missed": missed}
    state: dict[str, Any] = ledger.add(CAMPAIGN, {kind: counts, "seed": str(SEED)}, path)[kind]
    return state


def main() -> None:
    """Go on until the ledger has as many trials of each kind as asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--kind", action="append", choices=KINDS, help="one or several; default: all")
    parser.add_argument("--networks", type=Path, help="where the exported networks are kept")
    parser.add_argument("--ledger", type=Path, default=ledger.LEDGER)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="networks-") as scratch:
        networks = (args.networks or Path(scratch)).resolve()
        prepare(networks)
        for kind in args.kind or KINDS:
            while (at := ledger.read(CAMPAIGN, args.ledger).get(kind, {}).get("trials", 0)) < args.trials:
                ahead = trials(networks, kind, at, min(OF_A_PROCESS, args.trials - at))
                while made := list(islice(ahead, PIECE)):
                    state = count(kind, made, args.ledger)
                    slowest = max(one["seconds"] for one in made)
                    print(f"{kind}: {state['right']} of {state['trials']} right, {slowest} s at most", flush=True)


if __name__ == "__main__":
    main()
