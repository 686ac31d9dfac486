"""How long `mcwbuild --help` takes, from the start of the process to its end, beside Python doing nothing."""

from __future__ import annotations

import argparse
import sys

import sides

GOAL = sides.Goal("seconds", 0.15)
RUNS = 5  # in a row, for one counted figure: a start takes a tenth of a second


def rows(args: argparse.Namespace) -> list[sides.Row]:
    """Both in this Python, which has to have what mcwbuild needs."""

    def repeated(*words: str) -> float:
        return sum(sides.run([sys.executable, *words], sides.ROOT)[0] for _ in range(RUNS)) / RUNS

    times = sides.alternate(lambda: repeated("-m", "mcwbuild", "--help"), lambda: repeated("-c", "pass"), args.rounds)
    return [sides.Row("the help text", "`mcwbuild --help`", "`python -c pass`", *times, GOAL)]


if __name__ == "__main__":
    sides.main(__doc__, rows)
