"""The only room that prints. Results go to standard output, all else to standard error."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcwbuild.contract.errors import McwbuildError
from mcwbuild.contract.events import Event, Finished, Noted, to_line
from mcwbuild.contract.terminal import cell_text, visible
from mcwbuild.report.rows import HEADER, RIGHT, cells
from mcwbuild.report.text import seconds_text

if TYPE_CHECKING:
    from mcwbuild.pipeline import Outcome
    from mcwbuild.plan import Step
    from mcwbuild.report.live import LiveReporter
    from mcwbuild.report.rows import Row

WIDE = 200  # columns where no terminal says how many there are: a log or a pipe wraps nothing


def show_error(error: McwbuildError) -> None:
    """Every problem on a line of its own, then the three sentences."""
    for problem in error.problems:
        _say(visible(str(problem)))
    _say(f"error: {visible(str(error))}")
    if error.log is not None and error.log not in str(error):
        _say(f"log: {visible(error.log)}")


def show_interrupted(how: str = "interrupted") -> None:
    """The run was stopped by a person, or by the system."""
    _say(f"{how}: nothing half-written was left; the same command goes on from here.")


def show_bug(bug: Exception) -> None:
    """A bug of ours: one sentence, and the traceback in a file that can be sent."""
    with tempfile.NamedTemporaryFile("w", prefix="mcwbuild-bug-", suffix=".txt", delete=False) as file:
        file.write("".join(traceback.format_exception(bug)))
    _say(f"error: This is a bug in mcwbuild: {type(bug).__name__}: {visible(str(bug))}")
    _say(f"Its traceback is in {file.name}; please report it, with what `mcwbuild bug-report` collects.")


def show_usage(usage: str, message: str) -> None:
    """The command was called in a way that it does not know."""
    for line in usage.splitlines():
        _say(visible(line))
    _say(f"error: {visible(message)}")


def show_text(text: str) -> None:
    """Text of our own, as it is, on standard output."""
    print(text)


def show_line(text: str) -> None:
    """A result that may hold names from outside, as one line on standard output."""
    print(visible(text))


def show_json(data: Any) -> None:
    """A result as one JSON document, on standard output."""
    print(_json(data, indent=2))


def show_compact(data: Any) -> None:
    """A result as JSON in one line, for a CI's output file."""
    print(_json(data))


def _json(data: Any, indent: int | None = None) -> str:
    """ASCII JSON in which no text is a command to a CI runner."""
    return json.dumps(data, indent=indent, ensure_ascii=True).replace("##[", "#\\u0023[")


def show_note(text: str) -> None:
    """What goes on, as one line on standard error."""
    _say(visible(text))


def _say(line: str) -> None:
    print(f"{line}\n", end="", file=sys.stderr, flush=True)  # one write: steps at the same time mix lines, not letters


def columns() -> int:
    """How many columns a line of standard output has."""
    import shutil

    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else WIDE


def show_table(title: str, header: Sequence[str], body: Iterable[Sequence[str]], right: Iterable[int] = ()) -> None:
    """A table on standard output; columns in `right` are aligned to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, collapse_padding=True)
    for index, name in enumerate(header):
        table.add_column(name, justify="right" if index in set(right) else "left", overflow="fold")
    for line in body:
        table.add_row(*(Text(cell_text(cell)) for cell in line))
    terminal = sys.stdout.isatty()
    plain = None if terminal and not os.environ.get("CI") else False  # a CI's log has no use for bold letters
    Console(width=None if terminal else WIDE, highlight=False, force_terminal=plain).print(table)


def show_models(rows: Sequence[Row]) -> None:
    """A row for each model, then what was not measured and why."""
    show_table("", HEADER, [cells(row) for row in rows], right=RIGHT)
    for remark in dict.fromkeys(f"{row.model}: {row.remark}" for row in rows if row.remark):
        show_line(remark)
    for row in rows:
        if row.findings:
            show_line(f"{row.model}: found {', '.join(row.findings)} (docs/findings.md)")


def show_rows(rows: Sequence[Row], outcomes: Sequence[Outcome]) -> None:
    """The ledger of a run: a row for each model, what was not measured and why, and where the packages are."""
    show_models(rows)
    for outcome in outcomes:
        show_line(f"{outcome.step.name}: {outcome.step.package}")


class PlainReporter:
    """Prefixed lines: for logs, CI, and wherever no terminal is."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.name = "mcwbuild"  # until a step begins

    def begin(self, step: Step, log: Path) -> None:
        """Say which phase begins and where its log is."""
        self.name = step.name
        self._line(f"{step.title}, log in {log}")

    def emit(self, event: Event) -> None:
        """One line for each part that is done, and for each remark."""
        if isinstance(event, Finished):
            result = f": {event.detail}" if event.detail else ""
            self._line(f"{event.name}{result} ({seconds_text(event.seconds)})")
        elif isinstance(event, Noted):
            prefix = "warning: " if event.level == "warning" else ""
            self._line(prefix + event.text, always=event.level == "warning")

    def end(self, outcome: Outcome) -> None:
        """Say how the phase ended."""
        if outcome.state == "fresh":
            self._line("nothing changed: the package is fresh, skipped")
        if outcome.state == "stored":
            self._line("made of the same before: taken from the store")
        if outcome.missed is not None:
            self._line(f"gate missed: {outcome.missed.found}", always=True)
        self._line(f"done in {seconds_text(outcome.seconds)}: {outcome.step.package}")

    def beside(self) -> PlainReporter:
        """One more for steps that run while others do: each line names its step."""
        return PlainReporter(self.quiet)

    def close(self) -> None:
        """Nothing is left to be put back."""

    def _line(self, text: str, always: bool = False) -> None:
        if always or not self.quiet:
            _say(f"[{self.name}] {visible(text)}")


class JsonReporter:
    """One JSON object a line on standard error, for programs."""

    def __init__(self) -> None:
        self.name = "mcwbuild"  # until a step begins

    def begin(self, step: Step, log: Path) -> None:
        """The step begins."""
        self.name = step.name
        self._line({"event": "begin", "log": str(log)})

    def emit(self, event: Event) -> None:
        """The stage's event, with the step's name."""
        self._line(json.loads(to_line(event)))

    def end(self, outcome: Outcome) -> None:
        """The step's outcome."""
        package = str(outcome.step.package)
        self._line({"event": "end", "state": outcome.state, "seconds": outcome.seconds, "package": package})

    def beside(self) -> JsonReporter:
        """One more for steps that run while others do: each line names its step."""
        return JsonReporter()

    def close(self) -> None:
        """Nothing is left to be put back."""

    def _line(self, data: Mapping[str, Any]) -> None:
        _say(_json({"step": self.name, **data}))


def reporter(style: str) -> PlainReporter | JsonReporter | LiveReporter:
    """The reporter for `--progress`; `auto` is live on a terminal and plain elsewhere and under CI."""
    if style == "json":
        return JsonReporter()
    if style == "tty" or (style == "auto" and sys.stderr.isatty() and not os.environ.get("CI")):
        from mcwbuild.report.live import LiveReporter

        return LiveReporter()
    return PlainReporter(quiet=style == "quiet")
