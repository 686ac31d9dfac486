"""The table of trials in README.md, written from the ledger between two markers: `python -m tests.campaign.report`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.campaign.ledger import LEDGER
from tests.support.commands import ROOT

README = ROOT / "README.md"
BEGIN, END = "<!-- trials: written by tests.campaign.report -->\n", "<!-- end of the trials -->\n"
HEADER = "| trial | how many | wrong | so the rate is below (95 %) |\n|---|---|---|---|\n"


@dataclass(frozen=True)
class Row:
    """A campaign in the table: what was tried, its name in the ledger, and the keys of its count and its findings."""

    what: str
    campaign: str
    count: str = "trials"
    wrong: str = "violations"
    whole: bool = False  # all that there are


ROWS = (
    Row("every system call of a publish, killed, out of space or failed", "syscalls", whole=True),
    Row("power cuts on ext4 in the middle of publishes", "power cuts"),
    Row("kill -9 of the local engine's runs", "kills of toy runs, local", count="kills"),
    Row("kill -9 of the docker engine's runs", "kills of toy runs, docker", count="kills"),
    Row("kill -9 of runs of the real stages", "kills", count="kills"),
    Row("the Docker daemon killed, ended or frozen", "daemon faults"),
    Row("runs of 8 processes on one output, some killed", "races"),
    Row("damaged and hostile checkpoints", "checkpoints"),
    Row("damaged and hostile ONNX files", "onnx files"),
    Row("damaged YAML texts", "yamls"),
    Row("damaged YAML, JSON and list files", "documents", count="documents", wrong="wrong"),
    Row("changed critical values at five boundaries", "tamper"),
    Row("one input of a finished run changed: what is stale, and why", "cache"),
    Row("builds of one model with --reproducible, everything else differing", "reproducible"),
    Row("every Unicode scalar in a class name", "names", count="scalars", wrong="wrong", whole=True),
)


def line(row: Row, counted: Mapping[str, Any]) -> str:
    """One row; 0 of n only shows a rate below 3/n."""
    made, wrong = _count(counted.get(row.count, 0)), len(counted.get(row.wrong, []))
    mended = counted.get("mended", "")
    bound = "-" if row.whole or wrong or not made else f"{3 / made:.1e}"
    return f"| {row.what} | {made:,} | {wrong}{f' ({mended})' if mended else ''} | {bound} |\n"


def _count(counted: Any) -> int:
    """A count, or the sum of counts by kind."""
    return sum(counted.values()) if isinstance(counted, Mapping) else int(counted)


def table(ledger: Mapping[str, Any]) -> str:
    """All rows that the ledger has, then what is counted in other ways."""
    lines = "".join(line(row, ledger[row.campaign]) for row in ROWS if row.campaign in ledger)
    weak = [name for name in ledger if name.startswith("power cuts, ")]
    told = [f"{name.partition(', ')[2]} {ledger[name]['seen to fail']} of {ledger[name]['cuts']}" for name in weak]
    notes = [f"Protocols that lack a part fail in the same cuts: {'; '.join(told)}."] if told else []
    if models := ledger.get("misbuilt", {}).get("models"):
        passed = sorted(name for name, said in models.items() if said == "not caught")
        caught = f"Mis-built models whose documents all agree: {len(models) - len(passed)} of {len(models)} caught"
        notes.append(f"{caught}{'; known limits: ' + '; '.join(passed) if passed else ''}.")
    if bugs := ledger.get("planted bugs", {}).get("last"):
        found = list(bugs.values()).count("found")
        notes.append(f"Planted bugs: {found} of {len(bugs)} turn the test red that is named for them.")
    return f"{HEADER}{lines}\n" + "\n".join(notes) + "\n"


def main() -> None:
    """Write it."""
    before, _, rest = README.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(before + BEGIN + table(json.loads(Path(LEDGER).read_text("ascii"))) + END + after, "utf-8")


if __name__ == "__main__":
    main()
