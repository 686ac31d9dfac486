"""kill -9 of runs whose stages copy: `python -m tests.campaign.storms --engine local --trials 800`.

The real pipeline with both engines; tests/support/storms.py makes the trials, four kills in three of them.
`tests.campaign.kills` does the same to runs of the real stages, which take ten times as long.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from mcwbuild.engines.docker import daemon
from tests.campaign import ledger, series
from tests.support import standin_base, storms

SEED = 20266


def main() -> None:
    """Go on until the ledger has as many trials of the engine as asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("local", "docker"), default="local")
    parser.add_argument("--trials", type=int, default=800)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--piece", type=int, default=20)
    parser.add_argument("--ledger", type=Path, default=ledger.LEDGER)
    args = parser.parse_args()
    piece = partial(storms.run_local, seed=str(SEED))
    if args.engine == "docker":
        standin_base.make(daemon.connect())
        piece = partial(storms.run_docker, seed=str(SEED), base=standin_base.PYTHON)
    series.run(f"kills of toy runs, {args.engine}", SEED, piece, args)


if __name__ == "__main__":
    main()
