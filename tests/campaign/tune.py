"""The search on every network that is hard for INT8, each effort, several chips: `python -m tests.campaign.tune`.

What the ledger holds already is not run again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from tests.campaign import ledger
from tests.support import hard
from tests.support.commands import mcwbuild

CHIPS = ("rk3588", "rk3566", "rv1106")
EFFORTS = ("off", "fast", "full")
CAMPAIGN = "tune"


def trial(network: str, effort: str, chip: str, folder: Path) -> dict[str, Any]:
    """Run it the whole way; what became of INT8."""
    words = ("run", "--pt", "net.pt", "--source", "training_source.yaml", "--data", "data", "--contract-check", "off")
    done = mcwbuild(*words, "--target", chip, "--tune", effort, "--out", "out", cwd=hard.write(folder, network))
    record = folder / "out" / "rknn_package" / "performance_rknn.json"
    if not record.is_file():
        return {"code": done.code, "error": done.stderr.splitlines()[-1:]}
    found = json.loads(record.read_text("ascii"))
    tries = [one for one in found["tuning_history"] if one["variant"] == "int8"]
    gates = [gate["status"] for gate in found["validation"]["gates"] if gate["variant"] == "int8"]
    return {
        "code": done.code,
        "gates": gates,
        "verdicts": [one["verdict"] for one in tries],
        "times the plain build": round(sum(one["seconds"] for one in tries) / tries[0]["seconds"], 1),
    }


def main() -> None:
    """Run what is missing, and write each result down as it comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ledger", type=Path, default=ledger.LEDGER)
    args = parser.parse_args()
    networks = sorted(path.stem for path in hard.NETWORKS.glob("*.pt"))
    for name, (network, effort, chip) in {
        f"{network}, {effort}, {chip}": (network, effort, chip)
        for network in networks
        for effort in EFFORTS
        for chip in CHIPS
    }.items():
        if name in ledger.read(CAMPAIGN, args.ledger):
            continue
        with tempfile.TemporaryDirectory(prefix="mcwbuild-campaign-") as folder:
            found = trial(network, effort, chip, Path(folder))
        print(name, json.dumps(found), flush=True)
        ledger.add(CAMPAIGN, {name: found}, args.ledger)


if __name__ == "__main__":
    main()
