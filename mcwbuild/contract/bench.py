"""A stage's workbench: where it writes, how it reports, and how its reports leave the process."""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn, TextIO

from mcwbuild.contract.events import Emit, Event, Finished, Noted, Progressed, Started, to_line
from mcwbuild.contract.terminal import visible

ProgressStyle = Literal["auto", "json", "plain", "quiet"]
_PROGRESS_INTERVAL = 0.1  # seconds between two lines of the same step: a terminal shows no more


@dataclass
class Step:
    """A part of the work that is under way; set `result` to a few words for people."""

    name: str
    emit: Emit
    result: str = ""
    _last: float = field(default=0.0, repr=False)

    def progress(self, done: int, total: int) -> None:
        """Tell that `done` of `total` units are through; cheap enough for every unit."""
        now = time.monotonic()
        if done == total or now - self._last >= _PROGRESS_INTERVAL:
            self._last = now
            self.emit(Progressed(self.name, done, total))


@dataclass(frozen=True)
class Bench:
    """What a stage works with.

    `out` is the package being made, `scratch` a private folder that is removed afterwards, `threads`
    the number of CPU threads that the numerical libraries may use.
    """

    out: Path
    scratch: Path
    threads: int
    emit: Emit

    @contextmanager
    def step(self, name: str, detail: str = "") -> Iterator[Step]:
        """Report a part of the work: its begin, its progress, its end with seconds and result."""
        self.emit(Started(name, detail))
        start = time.monotonic()
        step = Step(name, self.emit)
        yield step
        self.emit(Finished(name, round(time.monotonic() - start, 3), step.result))

    def note(self, text: str, level: Literal["info", "warning"] = "info") -> None:
        """One line for people."""
        self.emit(Noted(text, level))


def claim_stdout() -> TextIO:
    """The real standard output, kept for us; whatever libraries print to it goes to standard error.

    Works on file descriptors, because compilers print from C.
    """
    sys.stdout.flush()
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    return ours


def emitter(style: ProgressStyle, stream: TextIO) -> Emit:
    """How events leave: JSON lines, plain lines for people, or nothing but warnings."""
    if style == "json":
        return lambda event: print(to_line(event), file=stream, flush=True)

    def plain(event: Event) -> None:
        if isinstance(event, Finished) and style != "quiet":
            print(f"{event.name:<12} {visible(event.detail)}  ({event.seconds:.1f} s)", file=stream, flush=True)
        elif isinstance(event, Noted) and (style != "quiet" or event.level == "warning"):
            print(f"{event.level}: {visible(event.text)}", file=stream, flush=True)

    return plain


def leave(code: int) -> NoReturn:
    """Ends the process once its work is on disk: what is registered for the end runs, what is buffered goes out.

    torch and the toolkit take up to a second to take themselves apart, object by object, for nobody.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads any more
            stream.flush()
    ctypes.CDLL(None).fflush(None)  # what libraries print from C
    os._exit(code)
