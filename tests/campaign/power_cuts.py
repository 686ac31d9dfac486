"""Power cuts in the middle of publishes, on ext4: `python -m tests.campaign.power_cuts --trials 1000`.

tests/support/power.py makes them; it needs root and a loop device. Then each protocol that lacks a part is cut 100
times: every one of them has to be seen to fail, or the trials would notice nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from tests.campaign import ledger, series
from tests.support import generations, power

CAMPAIGN = "power cuts"
SEED = 20264
WEAKENED = 100


def main() -> int:
    """Go on until the ledger has as many cuts as asked for; 1 where a weakened protocol was not seen to fail."""
    args = series.arguments(__doc__, 1000, 25)
    if reason := power.missing():
        sys.exit(f"NOT RUN, {reason}")
    series.run(CAMPAIGN, SEED, partial(power.run, seed=str(SEED)), args)
    unseen = 0
    for protocol in generations.WEAKENED:
        name = f"{CAMPAIGN}, {protocol}"
        if not ledger.read(name, args.ledger):
            found = weakened(protocol, range(WEAKENED))
            ledger.add(name, found, args.ledger)
            print(f"{protocol}: {found}", flush=True)
        unseen += not ledger.read(name, args.ledger)["seen to fail"]
    return int(unseen > 0)


def weakened(protocol: str, numbers: Sequence[int]) -> dict[str, object]:
    """How often a protocol that lacks a part fails."""
    outcomes = power.run(numbers, str(SEED), protocol).outcomes
    return {"cuts": outcomes.total(), "outcomes": dict(outcomes), "seen to fail": outcomes["torn"] + outcomes["lost"]}


if __name__ == "__main__":
    sys.exit(main())
