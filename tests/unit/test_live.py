"""What a terminal shows while a step is under way, on wide and narrow ones."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.cells import cell_len
from rich.console import Console

from mcwbuild.contract.events import Finished, Noted, Progressed, Started
from mcwbuild.report.live import Bars, LiveReporter
from mcwbuild.report.text import remaining


@pytest.mark.parametrize(
    ("advanced", "done", "spent", "left"),
    [(50, 60, 10.0, 8.0), (1, 11, 10.0, None), (50, 60, 1.0, None), (90, 100, 10.0, 0.0)],
)
def test_the_rest_is_estimated_from_the_pace_so_far_and_only_where_there_is_one(
    advanced: int, done: int, spent: float, left: float | None
) -> None:
    assert remaining(advanced, 100, done, began=5.0, now=5.0 + spent) == left


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=30, color_system=None, emoji=False)


def rows(bars: Bars) -> str:
    with bars.console.capture() as capture:
        bars.console.print(bars._progress.get_renderable())
    return capture.get()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_row_is_wider_than_the_terminal(width: int) -> None:
    bars = Bars(terminal(width))
    bars.add("evaluate", "128 images on a processor with a name that is longer than most")
    bars.move("evaluate", 27, 128)
    bars.add("int8 build", "検出器" * 9)
    shown = rows(bars)
    assert "27/128" in shown
    assert "?" not in shown  # a part whose end is not known has no count and no bar
    assert all(cell_len(line) <= width for line in shown.splitlines())


def test_what_is_done_stays_and_wraps_at_words() -> None:
    reporter = LiveReporter()
    reporter.bars = Bars(terminal(48))
    with reporter.bars.console.capture() as capture:
        reporter.emit(Started("evaluate", "128 images"))
        reporter.emit(Progressed("evaluate", 3, 128))
        reporter.emit(Finished("evaluate", 4.1, "map50_95 0.7661"))
        reporter.emit(Noted("Docker is not ready: The pt image is not built. `mcwbuild images build` makes it so."))
        reporter.emit(Noted("a name [bold]of[/bold] somebody's \x1b[31m", "warning"))
    shown = capture.get()
    assert "✓ evaluate         map50_95 0.7661  4.1 s" in shown
    assert "mcwbuild images build" in " ".join(shown.split())
    assert "[bold]of[/bold]" in shown
    assert "\x1b[31m" not in shown
    assert not reporter.bars._tasks


def test_a_phase_that_ends_leaves_no_bar() -> None:
    reporter = LiveReporter()
    reporter.bars = Bars(terminal(80))
    step = SimpleNamespace(name="pt", title="baseline", package="out/pt_package")
    reporter.begin(step, None)  # type: ignore[arg-type]
    assert list(reporter.bars._tasks) == ["starting"]  # a sign of life before the stage says anything
    reporter.emit(Started("evaluate"))
    assert list(reporter.bars._tasks) == ["evaluate"]
    reporter.end(SimpleNamespace(step=step, state="made", seconds=3.0, missed=None))  # type: ignore[arg-type]
    assert not reporter.bars._tasks
    reporter.close()
