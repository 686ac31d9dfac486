"""A run to which nothing has changed, and what the store costs a first one.

The no-op is `mcwbuild run` over three fresh packages, from the start of the process to its end, beside Python doing
nothing. The store's side is a first run of the example with the store, beside the same with `--no-store`; both in a
new output folder, the stages' environments being there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from itertools import count
from pathlib import Path

import sides

NOOP, STORE = sides.Goal("seconds", 0.5), sides.Goal("time", 1.02)
WORDS = ("-m", "mcwbuild", "run", "--engine", "local", "--target", "rk3588", "--progress", "quiet")


def rows(args: argparse.Namespace) -> list[sides.Row]:
    """The no-op, then the first run."""
    with tempfile.TemporaryDirectory(prefix="mcwbuild-benchmark-") as folder:
        given = ["--pt", str(args.pt.resolve()), "--data", str(args.data.resolve())]
        numbers = count()

        def first(*more: str) -> float:
            out = Path(folder, f"run{next(numbers)}")
            command = [sys.executable, *WORDS, *given, "--out", str(out), "--threads", str(args.threads), *more]
            # A confidence of its own makes a key of its own: nothing is there to be taken.
            conf = f"0.25{int.from_bytes(out.name.encode()[-2:]):05d}"
            return sides.run([*command, "--conf", conf], Path(folder))[0]

        done = [sys.executable, *WORDS, *given, "--out", str(Path(folder, "noop"))]
        sides.run(done, Path(folder))
        times = sides.alternate(
            lambda: sides.run(done, Path(folder))[0],
            lambda: sides.run([sys.executable, "-c", "pass"], Path(folder))[0],
            args.rounds,
        )
        noop = sides.Row("a run that changes nothing", "`mcwbuild run`", "`python -c pass`", *times, NOOP)
        times = sides.alternate(first, lambda: first("--no-store"), max(2, args.rounds // 3))
        return [noop, sides.Row("a first run", "with the store", "`--no-store`", *times, STORE)]


if __name__ == "__main__":
    sides.main(__doc__, rows, "--pt", "--data")
