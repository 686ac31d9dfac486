"""A block of code that may not hang and whose side effects are seen: imports, calls, processes, files."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_EVENTS: list[str] | None = None
_WATCHED = ("import", "exec", "compile", "os.", "subprocess.", "socket.", "ctypes.", "pickle.", "shutil.", "marshal.")


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _EVENTS is not None and (event == "open" or event.startswith(_WATCHED)):
        _EVENTS.append(f"{event} {arguments[:1]}")


sys.addaudithook(_hook)  # cannot be taken back: it does nothing outside of `watched`


@contextmanager
def watched() -> Iterator[list[str]]:
    """The audit events of the block."""
    global _EVENTS
    _EVENTS = events = []
    try:
        yield events
    finally:
        _EVENTS = None


class Hang(BaseException):
    """The block took longer than it may; no `except Exception` stops it."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises Hang in a block that uses more processor time than this; in the main thread alone."""

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise Hang(f"not done after {seconds} s of processor time")

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
