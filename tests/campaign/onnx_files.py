"""Damaged and hostile ONNX files without end: `python -m tests.campaign.onnx_files --trials 1000000`.

tests/support/onnx_trials.py makes them, in the onnx phase's environment; a process that dies is a violation.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from functools import partial

from mcwbuild.contract.phases import ONNX
from mcwbuild.engines.local import LocalEngine
from tests.campaign import series
from tests.campaign.series import Made
from tests.support.commands import ROOT

CAMPAIGN = "onnx files"
SEED = 20269


def piece(numbers: Sequence[int], seed: str) -> Made:
    """The trials of these numbers, in a process of the phase's environment."""
    engine = LocalEngine()
    engine.prepare(ONNX, lambda event: None)
    words = [engine.python(ONNX), "-m", "tests.support.onnx_trials", seed, numbers[0], len(numbers)]
    done = subprocess.run(
        [str(word) for word in words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=series.PATIENCE,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        place = f"seed {seed}, numbers {numbers[0]} to {numbers[-1]}"
        return Made(Counter(died=len(numbers)), [f"{place}: exit code {done.returncode}: {last:.300}"])
    found = json.loads(done.stdout.splitlines()[-1])
    return Made(Counter(found["outcomes"]), found["violations"])


def main() -> None:
    """Go on until the ledger has as many files as asked for, or the time is up."""
    args = series.arguments(__doc__, 1_000_000, 10_000)
    series.run(CAMPAIGN, SEED, partial(piece, seed=str(SEED)), args)


if __name__ == "__main__":
    main()
