"""How often 95 % intervals hold the truth: `python -m tests.campaign.coverage --trials 1000`.

Simulated detectors (average precision), classifiers (top-1) and readers (a sum over a sum), with a known drop, on
so many images each. The counts go into the ledger.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tests.campaign import ledger
from tests.support.coverage import KINDS, covered, population_drop, true_drop

IMAGES = (12, 30, 120)
SEED = 20261


def main() -> None:
    """Count, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--ledger", type=Path, default=ledger.LEDGER)
    args = parser.parse_args()
    counts: dict[str, object] = {"seed": str(SEED)}
    for kind in KINDS:
        print(f"{kind}: the drop is {true_drop(kind):.2f} %", flush=True)
        if abs(population_drop(kind) - true_drop(kind)) > 0.01:
            raise RuntimeError(f"the population says {population_drop(kind)}")
        for images in IMAGES:
            begun = time.monotonic()
            inside, made = covered(kind, images, args.trials, SEED, samples=400)
            counts[f"{kind} of {images} images"] = {"intervals": made, "hold the truth": inside}
            print(f"  {images} images: {inside} of {made}, {inside / made:.3f} ({time.monotonic() - begun:.0f} s)")
    ledger.add("coverage", counts, args.ledger)


if __name__ == "__main__":
    main()
