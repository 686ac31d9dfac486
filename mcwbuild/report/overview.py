"""All models of a batch at a glance: bars on a terminal, lines in a log."""

from __future__ import annotations

import threading
from typing import Any

from mcwbuild.batch.listing import Listed
from mcwbuild.batch.running import Result
from mcwbuild.contract.events import Event, Noted, Progressed, Started
from mcwbuild.report import console
from mcwbuild.report.summary import WORDS
from mcwbuild.report.text import seconds_text


class Lines:
    """A line when a model begins, and one when it ends."""

    def __init__(self, whole: int, quiet: bool = False) -> None:
        self._whole, self._quiet, self._done = whole, quiet, 0
        self._lock = threading.Lock()

    def begin(self, listed: Listed) -> None:
        """A model begins."""
        if not self._quiet:
            console.show_note(f"[{listed.name}] begins: {listed.model}")

    def emit(self, listed: Listed, step: str, event: Event) -> None:
        """Warnings only: the rest stands in the model's own logs."""
        if isinstance(event, Noted) and event.level == "warning" and not self._quiet:
            console.show_note(f"[{listed.name}] {step}: warning: {event.text}")

    def end(self, result: Result) -> None:
        """How it ended."""
        with self._lock:
            self._done += 1
            console.show_note(f"[{result.listed.name}] {self._done}/{self._whole}: {said(result)}")

    def close(self) -> None:
        """Nothing is left to be put back."""


class Live:
    """A row for each model under way, with the part of its run; a line for each that ended."""

    def __init__(self, whole: int) -> None:
        from mcwbuild.report.live import Bars

        self._bars, self._whole, self._done = Bars(), whole, 0
        self._lock = threading.Lock()
        self._bars.start()
        self._bars.add("all", "models")
        self._bars.move("all", 0, whole)

    def begin(self, listed: Listed) -> None:
        """Its row appears."""
        with self._lock:
            self._bars.add(listed.name, "begins")

    def emit(self, listed: Listed, step: str, event: Event) -> None:
        """Its row tells what is done."""
        with self._lock:
            if isinstance(event, Started):
                self._bars.add(listed.name, f"{step}: {event.name}")
            elif isinstance(event, Progressed):
                self._bars.move(listed.name, event.done, event.total)

    def end(self, result: Result) -> None:
        """Its row becomes a line."""
        mark = {"done": "[green]✓[/]", "not_run": "[yellow]-[/]"}.get(result.state, "[red]✗[/]")
        with self._lock:
            self._done += 1
            self._bars.remove(result.listed.name)
            self._bars.line(mark, f"{result.listed.name}: {said(result)}")
            self._bars.move("all", self._done, self._whole)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._bars.stop()


def said(result: Result) -> str:
    """How a model's run ended, in a line."""
    words = "nothing changed" if result.fresh and result.state == "done" else WORDS[result.state]
    return f"{words} in {seconds_text(result.seconds)}" + (f". {result.error}" if result.error else "")


def of(style: str, whole: int) -> Any:
    """The overview for `--progress`."""
    import os
    import sys

    if style == "tty" or (style == "auto" and sys.stderr.isatty() and not os.environ.get("CI")):
        return Live(whole)
    return Lines(whole, quiet=style == "quiet")
