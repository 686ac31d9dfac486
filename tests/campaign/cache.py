"""One input of a finished run is changed, and the plan has to say what is stale: `python -m tests.campaign.cache`.

The counts go into the ledger: trials by what was changed, and every violation in words.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.campaign import ledger
from tests.support.cache_trials import CHANGES, build, trial

CAMPAIGN = "cache"


def main() -> int:
    """Run so many trials more than the ledger counts, one kind after the other. 1 where one was violated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--ledger", type=Path, default=ledger.LEDGER)
    args = parser.parse_args()
    counted = ledger.read(CAMPAIGN, args.ledger)
    done = sum(counted.get("trials", {}).values())
    wrong = list(counted.get("violations", []))
    kinds = list(CHANGES)
    with tempfile.TemporaryDirectory(prefix="mcwbuild-campaign-") as folder:
        made = build(Path(folder, "made"))
        while done < args.trials:
            trials: dict[str, int] = {}
            found: list[str] = []
            for number in range(done, min(args.trials, done + 10 * len(kinds))):
                kind = kinds[number % len(kinds)]
                said = trial(kind, number, made, Path(folder, "trial"))
                trials[kind] = trials.get(kind, 0) + 1
                found += [f"{number}: {said}"] if said else []
            done += sum(trials.values())
            wrong += found
            ledger.add(CAMPAIGN, {"trials": trials, "violations": found}, args.ledger)
            print(f"{done} trials, {len(wrong)} violations", flush=True)
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
