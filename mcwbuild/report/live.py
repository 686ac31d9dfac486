"""A terminal: finished parts as lines, those under way as bars that move, with the time that they still take."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Column, Table
from rich.text import Text

from mcwbuild.contract.events import Event, Finished, Noted, Progressed, Started
from mcwbuild.contract.terminal import visible
from mcwbuild.report.text import remaining, seconds_text

if TYPE_CHECKING:
    from mcwbuild.pipeline import Outcome
    from mcwbuild.plan import Step

NAME = 16  # columns of a part's name
_WIDEST_BAR = 28  # columns
_START = "starting"
_COUNT = 34  # columns that `128/128  about 3 min 05 s left` takes, with the spinner and the gaps
_LEAST_WORDS = 8  # columns
_NARROW = 72  # columns below which a bar shows no detail


@dataclass
class _First:
    """The first word of progress: what was done already then, and when."""

    done: float
    at: float


class _Counted(ProgressColumn):
    """`27/128`, and how long the rest takes at the pace so far; seconds alone where nothing is counted."""

    def render(self, task: Task) -> Text:
        """The words for one part."""
        spent = seconds_text(task.elapsed or 0.0)
        if not task.total:
            return Text(spent, style="dim")
        counted = f"{int(task.completed)}/{int(task.total)}"
        first: _First | None = task.fields.get("first")
        left = None if first is None else remaining(task.completed - first.done, task.total, task.completed, first.at)
        return Text(f"{counted}  {'' if left is None else f'about {seconds_text(left)} left'}")


class _Bar(BarColumn):
    """A bar where the whole is known; nothing where it is not."""

    def render(self, task: Task):  # type: ignore[no-untyped-def]  # a ProgressBar, or no bar
        """The bar of one part."""
        return super().render(task) if task.total else Text("")


def padded(name: str) -> str:
    """The name in a column of its own, whatever script it is in."""
    return name + " " * max(0, NAME - cell_len(name))


class Bars:
    """Rows of bars below lines that stay: one row for each part that is under way, by its name."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, emoji=False)
        self._bar = max(8, min(_WIDEST_BAR, self.console.width // 5))
        self._progress = Progress(
            TextColumn(" "),
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            _Bar(bar_width=self._bar),
            _Counted(table_column=Column(no_wrap=True)),
            console=self.console,
            transient=True,
        )
        self._tasks: dict[str, int] = {}

    def start(self) -> None:
        """Show the rows from now on."""
        self._progress.start()

    def stop(self) -> None:
        """Take the rows away; the lines stay."""
        for name in list(self._tasks):
            self.remove(name)
        self._progress.stop()

    def add(self, name: str, detail: str = "") -> None:
        """A part begins; one of the same name gives way."""
        self.remove(name)
        wide = self.console.width >= _NARROW
        shown = Text(f"{padded(visible(name))} {visible(detail)}" if wide else visible(name))
        shown.truncate(max(_LEAST_WORDS, self.console.width - self._bar - _COUNT), overflow="ellipsis")
        self._tasks[name] = self._progress.add_task(shown.plain, total=None, first=None)

    def move(self, name: str, done: float, total: float) -> None:
        """`done` of `total` units are through."""
        if name not in self._tasks:
            return
        task = next(task for task in self._progress.tasks if task.id == self._tasks[name])
        first = task.fields["first"] or _First(done, time.monotonic())
        self._progress.update(task.id, completed=done, total=total, first=first)

    def remove(self, name: str) -> None:
        """The part ended."""
        if name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))  # type: ignore[arg-type]

    def line(self, mark: str, text: str, seconds: float | None = None) -> None:
        """A line that stays, wrapped at words beside its mark (`mark` is rich's markup, `text` is not)."""
        words = Text(visible(text))
        if seconds is not None:
            words.append(f"  {seconds_text(seconds)}", style="dim")
        row = Table.grid(padding=(0, 1))
        row.add_column(no_wrap=True)
        row.add_column(overflow="fold")
        row.add_row(f"  {mark}", words)
        self.console.print(row)


class LiveReporter:
    """Headings for the phases, lines for what is done, bars for what is under way."""

    def __init__(self) -> None:
        self.bars = Bars()

    def begin(self, step: Step, log: Path) -> None:
        """A heading for the phase, and the live part under it."""
        heading = Text(step.name, style="bold cyan")
        self.bars.console.print(heading.append(f"  {step.title}", style="default not bold"))
        self.bars.start()
        self.bars.add(_START)  # a stage takes seconds to import its libraries

    def emit(self, event: Event) -> None:
        """Move the bar, or put a line above it."""
        self.bars.remove(_START)
        if isinstance(event, Started):
            self.bars.add(event.name, event.detail)
        elif isinstance(event, Progressed):
            self.bars.move(event.name, event.done, event.total)
        elif isinstance(event, Finished):
            self.bars.remove(event.name)
            self.bars.line("[green]✓[/]", f"{padded(event.name)} {event.detail}", event.seconds)
        elif isinstance(event, Noted):
            self.bars.line("[yellow]![/]" if event.level == "warning" else "[blue]i[/]", event.text)

    def end(self, outcome: Outcome) -> None:
        """Close the phase with its result."""
        self.bars.stop()
        made = {"made": "package", "fresh": "nothing changed", "stored": "from the store"}[outcome.state]
        self.bars.line("[green]✓[/]", f"{padded(made)} {outcome.step.package}", outcome.seconds)
        if outcome.missed is not None:
            self.bars.line("[red]✗[/]", outcome.missed.found)

    def close(self) -> None:
        """Leave the terminal as it was, also after an error."""
        self.bars.stop()

    def beside(self) -> Beside:
        """A row for each step that runs while others do."""
        self.bars.start()
        return Beside(self.bars)


class Beside:
    """One step among several at the same time: its row of the bars, and a line when it ended."""

    def __init__(self, bars: Bars) -> None:
        self._bars, self._name = bars, ""

    def begin(self, step: Step, log: Path) -> None:
        """Its row appears."""
        self._name = step.name
        self._bars.add(step.name, step.title)

    def emit(self, event: Event) -> None:
        """Its row tells what is under way; warnings stay as lines."""
        if isinstance(event, Started):
            self._bars.add(self._name, event.name)
        elif isinstance(event, Progressed):
            self._bars.move(self._name, event.done, event.total)
        elif isinstance(event, Noted) and event.level == "warning":
            self._bars.line("[yellow]![/]", f"{self._name}: {event.text}")

    def end(self, outcome: Outcome) -> None:
        """Its row becomes a line."""
        self._bars.remove(self._name)
        self._bars.line("[green]✓[/]", f"{padded(self._name)} {outcome.step.package}", outcome.seconds)
        if outcome.missed is not None:
            self._bars.line("[red]✗[/]", outcome.missed.found)

    def beside(self) -> Beside:
        """One more."""
        return Beside(self._bars)
