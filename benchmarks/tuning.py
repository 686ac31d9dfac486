"""The search for an INT8 that passes, beside the plain build that does not: networks made to be hard for INT8.

Ours is `python -m stages.rknn --dtype int8 --tune fast`, the other side the same with `--tune off`: one plain build and
its evaluation. Both run whole, in turns. Needs the rknn phase's environment, and the packages that

    mcwbuild run --pt net.pt --source training_source.yaml --data data --target rk3588 --out out

makes in folders that `python -m tests.support.hard FOLDER NETWORK` wrote.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sides

GOAL = sides.Goal("time", 6.0)
TARGET = "rk3588"
_DONE = (0, 3)  # a plain build that misses its gate ends with 3, and is what the search is held against


def rows(args: argparse.Namespace) -> list[sides.Row]:
    """One row for each network's folder below `--folders`."""
    with tempfile.TemporaryDirectory(prefix="mcwbuild-benchmark-") as work:
        made = sorted(folder for folder in args.folders.iterdir() if (folder / "out" / "onnx_package").is_dir())
        if not made:
            raise sides.BenchmarkError(f"{args.folders} holds no folder with out/onnx_package")
        return [_row(folder.resolve(), args, Path(work, "out")) for folder in made]


def _row(folder: Path, args: argparse.Namespace, work: Path) -> sides.Row:
    package = folder / "out" / "onnx_package"

    def timed(effort: str) -> float:
        shutil.rmtree(work, ignore_errors=True)
        words = ["--onnx", package / "best.onnx", "--source", package / "onnx_source.yaml", "--data", folder / "data"]
        words += ["--previous", package / "performance_onnx.json", "--evaluation", package / "evaluation_onnx.npz"]
        words += ["--dtype", "int8", "--target", TARGET, "--threads", args.threads, "--tune", effort, "--out", work]
        start = time.perf_counter()
        command = [sys.executable, "-m", "stages.rknn", *map(str, words), "--progress", "quiet"]
        done = subprocess.run(command, env=sides.environment(), capture_output=True, text=True, errors="replace")
        if done.returncode not in _DONE:
            raise sides.BenchmarkError(f"{folder.name} with --tune {effort}: {done.stderr[-2000:]}")
        return time.perf_counter() - start

    ours, other = sides.alternate(lambda: timed("fast"), lambda: timed("off"), args.rounds)
    what = f"An INT8 that passes: {folder.name}"
    return sides.Row(what, "--tune fast", "--tune off, which fails", ours, other, GOAL)


if __name__ == "__main__":
    sides.main(__doc__ or "", rows, "--folders")
