"""Damaged and hostile checkpoints without end: `python -m tests.campaign.checkpoints --trials 500000`.

tests/support/checkpoint_trials.py makes them; nothing may run, open or hang, and nothing but two errors may come out.
"""

from __future__ import annotations

from functools import partial

from tests.campaign import series
from tests.support import checkpoint_trials

CAMPAIGN = "checkpoints"
SEED = 20268


def main() -> None:
    """Go on until the ledger has as many files as asked for, or the time is up."""
    args = series.arguments(__doc__, 500_000, 2_000)
    series.run(CAMPAIGN, SEED, partial(checkpoint_trials.run, seed=str(SEED)), args)


if __name__ == "__main__":
    main()
