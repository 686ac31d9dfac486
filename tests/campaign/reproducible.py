"""One model built again and again, where everything but the model differs: `python -m tests.campaign.reproducible`.

tests/support/reproducible_trials.py makes the differences. The ledger keeps the artefacts' hashes.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.campaign import ledger, series
from tests.support import reproducible_trials as trials

CAMPAIGN = "reproducible"


def main() -> None:
    """Build as often as asked for, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--ledger", type=Path, default=ledger.LEDGER)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        other = trials.elsewhere(folder / "elsewhere")
        first: dict[str, str] = {}
        for number in range(args.trials):
            made = trials.build(number, folder, other)
            first = first or made
            differing = [file for file in made if made[file] != first[file]]
            outcome = {"differ" if differing else "the same bytes": 1}
            violations = [f"trial {number}: {file} is {made[file][:12]}" for file in differing]
            facts = {"hashes": made, "commit": series.commit()}
            ledger.add(CAMPAIGN, {"trials": 1, "outcomes": outcome, "violations": violations, **facts}, args.ledger)
            print(f"{number}: {', '.join(f'{file} {digest[:12]}' for file, digest in made.items())}", flush=True)


if __name__ == "__main__":
    main()
