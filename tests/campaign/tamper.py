"""Critical values changed at each of five boundaries: `python -m tests.campaign.tamper --trials 100000`.

tests/support/tamper_trials.py makes them: no change may pass, and nothing that says the same may be refused.
"""

from __future__ import annotations

from functools import partial

from tests.campaign import series
from tests.support import tamper_trials

CAMPAIGN = "tamper"
SEED = 20270


def main() -> None:
    """Go on until the ledger has as many trials as asked for, or the time is up."""
    args = series.arguments(__doc__, 100_000, 2_000)
    series.run(CAMPAIGN, SEED, partial(tamper_trials.run, seed=str(SEED)), args)


if __name__ == "__main__":
    main()
