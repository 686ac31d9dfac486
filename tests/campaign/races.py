"""Processes that publish into one output, some killed: `python -m tests.campaign.races --trials 5000`.

A trial is a run of one of 8 processes, 50 runs each; a reader looks all the time. tests/support/races.py makes them.
"""

from __future__ import annotations

import time

from tests.campaign import series
from tests.support import races

CAMPAIGN = "races"
SEED = 20265
PROCESSES, RUNS = 8, 50


def main() -> None:
    """Go on until the ledger has as many runs as asked for."""
    args = series.arguments(__doc__, PROCESSES * RUNS, PROCESSES * RUNS)
    until = time.monotonic() + 60 * args.minutes
    while (at := series.read(CAMPAIGN, args.ledger)) < args.trials and time.monotonic() < until:
        begun = time.monotonic()
        made = races.run(PROCESSES, RUNS, SEED + at)
        state = series.write(CAMPAIGN, SEED, [made], time.monotonic() - begun, args.ledger)
        print(f"{state['trials']} runs: {state['outcomes']}, violations: {state['violations']}", flush=True)


if __name__ == "__main__":
    main()
