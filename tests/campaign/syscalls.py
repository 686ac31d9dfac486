"""Every call of a publish that changes something, killed, out of space, failed: `python -m tests.campaign.syscalls`.

A first package and one in an older one's place, by strace's injection. All of it takes a few minutes; CI does it whole
(tests/reliability/test_crashes.py), so the program only writes it down.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.campaign import ledger, series
from tests.support import traced

CAMPAIGN = "syscalls"
PIECE = 20


def all_trials(processes: int) -> list[series.Made]:
    """Every trial, in so many processes."""
    trials = traced.trials()
    pieces = [trials[start : start + PIECE] for start in range(0, len(trials), PIECE)]
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(traced.run, pieces, timeout=series.PATIENCE))


def main() -> None:
    """Make them all once, and add them to the ledger."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--ledger", type=Path, default=ledger.LEDGER)
    args = parser.parse_args()
    begun = time.monotonic()
    found = all_trials(args.processes)
    state = series.write(CAMPAIGN, "none", found, round(time.monotonic() - begun, 3), args.ledger)
    print(f"{state['trials']} trials: {state['outcomes']}, violations: {state['violations']}")


if __name__ == "__main__":
    main()
