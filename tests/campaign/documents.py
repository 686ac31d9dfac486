"""Damaged documents without end: `python -m tests.campaign.documents --count 1000000`.

The trials of tests/unit/contract/test_damaged_documents.py with other numbers: the program goes on where the ledger
ends. A finding names its seed and number.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.campaign import ledger
from tests.support.document_trials import trials

CAMPAIGN = "documents"
SEED, PIECE = 20260301, 2_000
PATIENCE = 600  # seconds for a piece


def main() -> None:
    """Go on until the ledger has as many documents as asked for, or the time is up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--ledger", type=Path, default=ledger.LEDGER)
    args = parser.parse_args()
    until = time.monotonic() + 60 * args.minutes
    with ProcessPoolExecutor(args.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        while (at := ledger.read(CAMPAIGN, args.ledger).get("documents", 0)) < args.count and time.monotonic() < until:
            starts = range(at, min(at + PIECE * args.processes, args.count), PIECE)
            pieces = [pool.submit(trials, SEED, range(start, min(start + PIECE, args.count))) for start in starts]
            for piece in pieces:
                made = piece.result(timeout=PATIENCE)
                counts = {"documents": made.outcomes.total(), "outcomes": dict(made.outcomes), "wrong": made.wrong}
                state = ledger.add(CAMPAIGN, {**counts, "seed": str(SEED)}, args.ledger)
            print(f"{state['documents']} documents: {state['outcomes']}, {len(state['wrong'])} wrong", flush=True)


if __name__ == "__main__":
    main()
