"""How often the contract's doctor is right: `python -m tests.campaign.doctor --trials 20`.

The example's network with sound and planted contracts, each on so many draws of the example's images. The counts go
into the ledger.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path

from mcwbuild.contract.phases import PT
from mcwbuild.engines.local import LocalEngine
from tests.campaign import ledger

ROOT = Path(__file__).parents[2]
SEED = 20262


def main() -> None:
    """Run the trials in the pt phase's environment, print them and write them down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--ledger", type=Path, default=ledger.LEDGER)
    args = parser.parse_args()
    engine = LocalEngine()
    engine.prepare(PT, lambda event: None)
    command = [engine.python(PT), "-m", "tests.support.doctored", SEED, args.trials, args.images]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    counts: dict[str, object] = {"seed": str(SEED)}
    with subprocess.Popen([str(word) for word in command], cwd=ROOT, env=environment, stdout=subprocess.PIPE) as trials:
        for line in trials.stdout or ():
            print(line.decode().rstrip(), flush=True)
            found = json.loads(line)
            counts[f"{found['kind']} on {args.images} images"] = found["said"]
    if trials.returncode:
        raise RuntimeError(f"the trials ended with exit code {trials.returncode}")
    ledger.add("doctor", counts, args.ledger)


if __name__ == "__main__":
    main()
