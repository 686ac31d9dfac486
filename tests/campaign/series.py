"""How the trial programs go on: pieces of numbered trials, in processes, until the ledger has as many as asked for."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.campaign import ledger

PATIENCE = 900  # seconds for a piece: a loop in C hears no signal, but the pool's caller does


@dataclass
class Made:
    """How often each outcome was met; every text in `violations` is one, and names its trial. `facts` are added up."""

    outcomes: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


Piece = Callable[[Sequence[int]], Made]


def arguments(description: str | None, trials: int, piece: int) -> argparse.Namespace:
    """What every trial program is asked."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--trials", type=int, default=trials)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--piece", type=int, default=piece, help="trials between two entries in the ledger")
    parser.add_argument("--ledger", type=Path, default=ledger.LEDGER)
    return parser.parse_args()


def run(campaign: str, seed: int | str, piece: Piece, args: argparse.Namespace) -> dict[str, Any]:
    """Go on until the ledger has as many trials of the campaign as asked for, or the time is up; its state then."""
    until = time.monotonic() + 60 * args.minutes
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.processes, mp_context=spawn) as pool:
        while (at := read(campaign, args.ledger)) < args.trials and time.monotonic() < until:
            begun = time.monotonic()
            starts = range(at, min(at + args.piece * args.processes, args.trials), args.piece)
            pieces = [pool.submit(piece, range(start, min(start + args.piece, args.trials))) for start in starts]
            found = [one.result(timeout=PATIENCE) for one in pieces]
            seconds = round(time.monotonic() - begun, 3)
            state = write(campaign, seed, found, seconds, args.ledger)
            violations = len(state["violations"])
            print(f"{state['trials']} trials: {state['outcomes']}, {violations} violations", flush=True)
    return ledger.read(campaign, args.ledger)


def read(campaign: str, path: Path = ledger.LEDGER) -> int:
    """How many trials the campaign has made."""
    return int(ledger.read(campaign, path).get("trials", 0))


def write(campaign: str, seed: int | str, found: Sequence[Made], seconds: float, path: Path) -> dict[str, Any]:
    """Add what was found; the campaign's new state."""
    for made in found:
        counts = {"trials": made.outcomes.total(), "outcomes": dict(made.outcomes), "violations": made.violations}
        ledger.add(campaign, {**counts, **made.facts}, path)
    before = ledger.read(campaign, path).get("seconds", 0.0)
    facts = {"seed": str(seed), "commit": commit(), "seconds": round(before + seconds, 3)}
    return ledger.add(campaign, facts, path)


def commit() -> str:
    """The commit whose code is tried; `+` where files differ from it."""
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
