"""The Docker daemon killed, ended, frozen in the middle of runs: `python -m tests.campaign.daemon_faults --trials 40`.

It is a daemon of the program's own, in a network namespace of its own; tests/support/daemon_faults.py makes the trials.
"""

from __future__ import annotations

import sys
from functools import partial

from mcwbuild.engines.docker import daemon
from tests.campaign import series
from tests.support import daemon_faults, own_daemon, standin_base

CAMPAIGN = "daemon faults"
SEED = 20267


def main() -> None:
    """Go on until the ledger has as many faults as asked for."""
    args = series.arguments(__doc__, 40, 8)
    if reason := own_daemon.missing():
        sys.exit(f"NOT RUN, {reason}")
    standin_base.make(daemon.connect())
    args.processes = 1
    series.run(CAMPAIGN, SEED, partial(daemon_faults.run, seed=str(SEED), base=standin_base.PYTHON), args)


if __name__ == "__main__":
    main()
