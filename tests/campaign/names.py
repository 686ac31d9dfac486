"""Every Unicode scalar value at three positions of a class name: `python -m tests.campaign.names`.

1,112,064 x 3 names through YAML, JSON, the contract's hash, the script's data and the terminal's escapes, each
carried unchanged or refused at its own line as Unicode's database says. Goes on where the ledger ends.
"""

from __future__ import annotations

import argparse
import time
import unicodedata
from pathlib import Path

from tests.campaign import ledger
from tests.support.class_names import CODE_SHA256, POSITIONS, SCALARS, check, name, scalar

CAMPAIGN = "names"
CHUNK = 4096  # scalar values: a document of that many names is far below the loader's limits
REPORT = 16  # chunks between two entries in the ledger


def main() -> None:
    """Go on until every scalar value is through, or the time is up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--ledger", type=Path, default=ledger.LEDGER)
    args = parser.parse_args()
    until = time.monotonic() + 60 * args.minutes
    at = ledger.read(CAMPAIGN, args.ledger).get("scalars", 0)
    while at < SCALARS and time.monotonic() < until:
        end = min(at + CHUNK * REPORT, SCALARS)
        counts = {"carried": 0, "refused": 0, "wrong": []}
        for start in range(at, end, CHUNK):
            for position in POSITIONS:
                found = check([name(scalar(n), position) for n in range(start, min(start + CHUNK, end))])
                counts["carried"] += found.carried
                counts["refused"] += found.refused
                counts["wrong"] += found.wrong
        facts = {"unicode": unicodedata.unidata_version, "code_sha256": CODE_SHA256}
        state = ledger.add(CAMPAIGN, {"scalars": end - at, **counts, **facts}, args.ledger)
        at = end
        print(
            f"{at} of {SCALARS}: {state['carried']} carried, {state['refused']} refused, {len(state['wrong'])} wrong",
            flush=True,
        )


if __name__ == "__main__":
    main()
