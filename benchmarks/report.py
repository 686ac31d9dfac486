"""The table in benchmarks/README.md: written here, between two markers, one block of rows for each benchmark."""

from __future__ import annotations

import datetime
import json
import platform
import re
import statistics
from pathlib import Path

import sides

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- figures: written by run.py --write -->", "<!-- end of the figures -->"
HEADER = (
    "| benchmark | ours | beside | ours, s | beside, s | figure | goal | met | runs | machine |\n"
    "|---|---|---|---|---|---|---|---|---|---|\n"
)
_UNITS = {"seconds": " s", "more": " s more", "speed": "x as fast", "time": "x the time"}


def read(answer: Path) -> list[sides.Row]:
    """The rows that a benchmark wrote."""
    return [sides.Row.from_dict(row) for row in json.loads(answer.read_text("utf-8"))]


def keep(name: str, rows: list[sides.Row]) -> None:
    """Put the rows into the table; a benchmark's older ones go, the others stay."""
    before, _, rest = README.read_text("utf-8").partition(f"{BEGIN}\n")
    between, _, after = rest.partition(END)
    kept = [line for line in between.splitlines(keepends=True) if line.startswith("| ")][1:]
    mark = f"| {name}: "
    lines = [line for line in kept if not line.startswith(mark)] + [mark + _line(row) for row in rows]
    README.write_text(f"{before}{BEGIN}\n{HEADER}{''.join(sorted(lines, key=_natural))}{END}{after}", "utf-8")


def _natural(line: str) -> list[tuple[int, str]]:
    """Sorts numbers in names by their value."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", line.split("|")[1])]


def _line(row: sides.Row) -> str:
    figure = f"{row.figure:.3g}{_UNITS[row.goal.figure]}"
    met = {True: "yes", False: "**no**", None: "-"}[row.goal.met(row.figure)]
    medians = (f"{statistics.median(series):.3g}" for series in (row.our_seconds, row.other_seconds))
    facts = f"{cpu()}, {sides.machine_threads()} threads, {datetime.date.today().isoformat()}"
    cells = (row.what, row.ours, row.other, *medians, figure, row.goal.words(), met, str(len(row.our_seconds)), facts)
    return " | ".join(cells) + " |\n"


def cpu() -> str:
    """The processor's name."""
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()
