"""Many small models for three targets: `mcwbuild batch`, beside one `mcwbuild run` after another with all threads each.

The models are the examples' four small networks, each three times under names of its own. Both sides make everything
(no store), in a new folder, with the stages' environments being there.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import sides

GOAL = sides.Goal("speed", 1.6)
TARGETS = "rk3588,rk3576,rk3562"
EXAMPLES = {
    "classification": "classification/data",
    "segmentation": "segmentation/data.yaml",
    "pose": "pose/data.yaml",
    "oriented": "oriented/data.yaml",
}
TIMES = 3  # each of them
Models = list[tuple[str, str]]  # an example, and the name under which it is converted


def rows(args: argparse.Namespace) -> list[sides.Row]:
    """One row: twelve models, three targets."""
    with tempfile.TemporaryDirectory(prefix="mcwbuild-benchmark-") as folder:
        every = [(name, f"{name}{number}") for name in EXAMPLES for number in range(TIMES)]
        few = every[::TIMES]
        words = ["--engine", "local", "--no-store", "--threads", str(args.threads), "--progress", "quiet"]
        out = Path(folder, "out")

        def batch(models: Models, targets: str = TARGETS) -> float:
            shutil.rmtree(out, ignore_errors=True)
            listing = Path(folder, "models.txt")
            listing.write_text(
                "".join(f"{_model(name)} name={own} data={_data(name)}\n" for name, own in models), "utf-8"
            )
            flags = ["--models", str(listing), "--target", targets, "--out", str(out)]
            return sides.run([sys.executable, "-m", "mcwbuild", "batch", *flags, *words], Path(folder))[0]

        def one_after_another(models: Models) -> float:
            shutil.rmtree(out, ignore_errors=True)
            seconds = 0.0
            for name, own in models:
                flags = ["--pt", str(_model(name)), "--name", own, "--data", str(_data(name)), "--target", TARGETS]
                run = [sys.executable, "-m", "mcwbuild", "run", *flags, "--out", str(out / own), *words]
                seconds += sides.run(run, Path(folder))[0]
            return seconds

        batch(few, "rk3588")  # fills the caches of files and of byte code
        times = (batch(every),), (one_after_another(every),)
        what = f"{len(every)} models for 3 targets"
        return [sides.Row(what, "`mcwbuild batch`", "`mcwbuild run` for each", *times, GOAL)]


def _model(name: str) -> Path:
    return sides.ROOT / "examples" / name / "best.pt"


def _data(name: str) -> Path:
    return sides.ROOT / "examples" / EXAMPLES[name]


if __name__ == "__main__":
    sides.main(__doc__, rows)
