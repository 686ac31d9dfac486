"""What the toolkit builds for which chip: `python -m tests.campaign.targets`.

A small detector for every chip in every type of numbers, held against the table of `mcwbuild targets`. Takes a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from mcwbuild.contract.phases import RKNN
from mcwbuild.contract.targets import TARGETS, Target
from mcwbuild.engines.local import LocalEngine
from tests.campaign import ledger

ROOT = Path(__file__).parents[2]


def expected(target: Target, kind: str) -> bool:
    """Whether the table says that the toolkit builds this type for the chip."""
    return {"float16": not target.fp16, "w8a8": not target.int8}.get(kind, kind in target.others)


def main() -> int:
    """Try all of them in the rknn phase's environment, print them and write them down. 1 where the table is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ledger", type=Path, default=ledger.LEDGER)
    args = parser.parse_args()
    engine = LocalEngine()
    engine.prepare(RKNN, lambda event: None)
    command = [str(engine.python(RKNN)), "-m", "tests.support.target_trials", *TARGETS]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    wrong: list[str] = []
    outcomes: dict[str, dict[str, str]] = {}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as trials:
        for line in trials.stdout or ():
            row = json.loads(line)
            outcomes.setdefault(row["platform"], {})[row["type"]] = row["outcome"]
            fits = (row["outcome"] == "built") is expected(TARGETS[row["platform"]], row["type"])
            wrong += [] if fits else [f"{row['platform']} {row['type']}"]
            print(f"{row['platform']:8} {row['type']:12} {row['outcome']}{'' if fits else '  NOT AS THE TABLE SAYS'}")
    if trials.returncode:
        raise RuntimeError(f"the trials ended with exit code {trials.returncode}")
    count = sum(len(kinds) for kinds in outcomes.values())
    ledger.add("targets", {"builds": count, "not as the table says": wrong, "outcomes": outcomes}, args.ledger)
    print(f"{count} builds, {len(wrong)} not as the table says")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
