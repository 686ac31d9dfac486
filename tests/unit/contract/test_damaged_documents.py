"""20,000 damaged documents through readers and schemas: no traceback, no hang, nothing executed, the right error."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.support.document_trials import trials

SEED, COUNT, PIECE = 20260229, 20_000, 1_000
PATIENCE = 300  # seconds for a piece: a loop in C hears no signal, but the pool's caller does


def test_damaged_documents_are_accepted_or_refused_and_nothing_else() -> None:
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        pieces = [pool.submit(trials, SEED, range(start, start + PIECE)) for start in range(0, COUNT, PIECE)]
        for piece in pieces:
            made = piece.result(timeout=PATIENCE)
            outcomes += made.outcomes
            wrong += made.wrong
    print(f"seed {SEED}: {dict(outcomes)}")
    assert wrong == []
    assert outcomes.total() == COUNT
    assert min(outcomes[kind] for kind in ("accepted", "InputError", "ContractBroken")) > 50, outcomes
