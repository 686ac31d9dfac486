"""What RKNN-Toolkit2 and its runtime say when something goes wrong, and what it means.

The entries are in `failure_catalogue.py`. `docs/failures.md` is their table: `mcwbuild explain --table`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mcwbuild.contract.marks import shown

Group = Literal[
    "operators", "the graph", "the chip", "calibration", "the model file", "memory and disk", "the environment",
    "calls in the wrong order or with wrong values", "the simulator", "the board",
]  # fmt: skip
Weight = Literal["fails", "warns"]

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_LAYER = re.compile(
    r"""In Node, \("(?P<node>[^"]*)", (?P<op>\w+)"""
    r"""|in node \((?P<inner>[^)]*)\)"""
    r"""|No lowering found for: (?P<lower>[^,]*), node type = (?P<kind>\w+)"""
    r"""|unsupport Operator: name = '?(?P<custom>[^',]*)'?, type = (?P<type>\w+)"""
    r"""|input tensor name: (?P<tensor>\S+)"""
    r"""|\b(?P<called>[A-Z]\w+)\('(?P<at>[^']*)'\)"""
    r"""|The range .* of '(?P<wide>[^']*)'"""
    r"""|Unsupport CPU op: (?P<cpu>\w+)"""
)
_HEAD = """# Failures of the toolkit

What RKNN-Toolkit2 and its runtime say when something goes wrong, what it means, and what to do. mcwbuild's errors
name the entry as their `kind`; `mcwbuild explain LOGFILE` finds entries in any log of the toolkit, also in one that was
not made by mcwbuild. What is not here is told in the toolkit's own words, and its log is kept.

Each entry is provoked by a test with the real toolkit (`tests/stages/rknn/test_failures.py`), or marked *cited*, with
the public issues that describe it, where that needs a board, another environment, or a network that is not public.

"""


@dataclass(frozen=True)
class Entry:
    """A failure that was met before.

    name: its slug; pattern: how a line of it reads; cause and remedy: whole sentences. weight: `warns` where the
    toolkit goes on. cited: the public issues that describe it, where it cannot be provoked without a board or another
    environment; every entry without is provoked by a test.
    """

    name: str
    group: Group
    pattern: re.Pattern[str]
    cause: str
    remedy: str
    weight: Weight = "fails"
    cited: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """An entry that a log shows: where it was met first, the line itself, and the layer that it names, if any."""

    entry: Entry
    line: int
    text: str
    layer: str

    def __str__(self) -> str:
        layer = f" Layer: {self.layer}." if self.layer else ""
        return f"{self.entry.name} (line {self.line}): {shown(self.text, 200)}{layer}"


def lines_of(text: str) -> list[str]:
    """The log's lines without colours, progress bars and empty ones."""
    return [line for line in re.split(r"[\r\n]+", _ANSI.sub("", text)) if line.strip() and "%|" not in line]


def layer_in(text: str) -> str:
    """The layer that a line names, as operator and name; empty where it names none."""
    match = _LAYER.search(text)
    if match is None:
        return ""
    given = match.groupdict()
    op = next((given[key] for key in ("op", "kind", "type", "called", "cpu") if given[key]), "")
    name = next((given[key] for key in ("node", "inner", "lower", "custom", "tensor", "at", "wide") if given[key]), "")
    return " ".join(part for part in (op, shown(name) if name else "") if part)


def recognise(texts: Iterable[str], weight: Weight = "fails") -> Entry | None:
    """The entry of that weight that stands first in the catalogue among those that any of the texts shows."""
    from mcwbuild.contract.failure_catalogue import ENTRIES

    given = tuple(texts)
    known = (entry for entry in ENTRIES if entry.weight == weight)
    return next((entry for entry in known if any(entry.pattern.search(text) for text in given)), None)


def explain(log: str) -> list[Found]:
    """Every entry that the log shows, failures before warnings, each in the catalogue's order, at its first line.

    A line that tells one entry counts for no more general one.
    """
    from mcwbuild.contract.failure_catalogue import ENTRIES

    lines = _numbered(log)
    found = []
    told: set[int] = set()
    for entry in sorted(ENTRIES, key=lambda entry: entry.weight != "fails"):
        places = [line for line in lines if entry.pattern.search(line[1])]
        if not {number for number, _ in places} <= told:
            told |= {number for number, _ in places}
            layer = next(filter(None, (layer_in(text) for _, text in places)), "")
            found.append(Found(entry, *places[0], layer))
    return found


def _numbered(log: str) -> list[tuple[int, str]]:
    """The lines that can say something, with their numbers in the file."""
    return [
        (number, line)
        for number, whole in enumerate(re.split(r"\r?\n", log), 1)
        for line in lines_of(whole)
        if not re.match(r"\s*[ID] RKNN: |D ", line)
    ]


def table() -> str:
    """The catalogue in Markdown: `docs/failures.md`."""
    from mcwbuild.contract.failure_catalogue import ENTRIES as entries

    text = [_HEAD]
    for group in dict.fromkeys(entry.group for entry in entries):
        text += [f"## {group[0].upper()}{group[1:]}", "", "| failure | what it means | what to do | evidence |"]
        text += ["|---|---|---|---|"]
        for entry in entries:
            if entry.group == group:
                evidence = f"cited: {', '.join(entry.cited)}" if entry.cited else "provoked by a test"
                name = f"`{entry.name}`" + (" (a warning)" if entry.weight == "warns" else "")
                text.append(f"| {name} | {entry.cause} | {entry.remedy} | {evidence} |")
        text.append("")
    return "\n".join(text)
