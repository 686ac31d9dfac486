"""A stage's process seen from the orchestrator: started, listened to, and gone when we are done."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO

from mcwbuild.engines import supervisor

LOG_LIMIT = 20_000_000  # bytes: a compiler in verbose mode writes about 1 MB for one model
TAIL = 65_536  # bytes kept of what comes after the limit: the cause stands at the end
LINE_LIMIT = 1_000_000  # bytes without a newline that are still one line
READ = 65_536  # bytes: a pipe's capacity
TICK = 0.2  # seconds between two looks at the deadline
DRAIN = 1.0  # seconds for the pipes' rest after the process has ended


class TimedOut(Exception):
    """The time was up; every process has been stopped."""


@dataclass
class BoundedLog:
    """A file that takes the first `LOG_LIMIT` bytes and, when closed, the last `TAIL` of the rest."""

    file: BinaryIO
    written: int = 0
    left_out: int = 0
    tail: deque[bytes] = field(default_factory=deque)

    def write(self, data: bytes) -> None:
        """Takes all of it, as far as there is room."""
        room = max(0, LOG_LIMIT - self.written)
        self.written += self.file.write(data[:room])
        if rest := data[room:]:
            self.left_out += len(rest)
            self.tail.append(rest[-TAIL:])
            while sum(map(len, self.tail)) - len(self.tail[0]) >= TAIL:
                self.tail.popleft()

    def close(self) -> None:
        """Adds the end of what had no room."""
        if self.left_out:
            end = b"".join(self.tail)[-TAIL:]
            self.file.write(b"\n... %d bytes left out ...\n" % (self.left_out - len(end)) + end)
        self.file.close()


@dataclass
class Lines:
    """Bytes of a pipe put together to lines; each goes to `take`."""

    take: Callable[[bytes], None]
    rest: bytes = b""

    def feed(self, data: bytes) -> None:
        """More bytes; none: the pipe has ended."""
        *whole, self.rest = (self.rest + data).split(b"\n")
        if self.rest and (not data or len(self.rest) > LINE_LIMIT):
            whole, self.rest = [*whole, self.rest], b""
        for line in whole:
            self.take(line + b"\n")


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    take: Callable[[str], bool],
    timeout: float | None = None,
) -> int:
    """Runs `command` (its first word an absolute path of a Python) to its end; its exit code.

    Each line of standard output goes to `take`; where that returns False, and for standard error, it
    goes to `log`. No process of it is left afterwards, whatever ended the run: an exception of `take`
    and ^C included. Raises TimedOut, OSError.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    bounded = BoundedLog(log.open("wb", buffering=0))
    process = subprocess.Popen(
        [command[0], "-I", "-S", supervisor.__file__, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
        cwd=folder,
        start_new_session=True,
    )
    try:
        _listen(process, bounded, take, None if timeout is None else time.monotonic() + timeout)
        return process.wait()
    finally:
        _stop(process)
        bounded.close()


def _listen(
    process: subprocess.Popen[bytes], log: BoundedLog, take: Callable[[str], bool], deadline: float | None
) -> None:
    def line(data: bytes) -> None:
        if not take(data.decode("utf-8", "replace").rstrip("\r\n")):
            log.write(data)

    assert process.stdout is not None
    assert process.stderr is not None
    lines = Lines(line)
    with selectors.DefaultSelector() as pipes:
        pipes.register(process.stdout, selectors.EVENT_READ, lines.feed)
        pipes.register(process.stderr, selectors.EVENT_READ, log.write)
        while pipes.get_map():
            ended = process.poll() is not None
            ready = pipes.select(DRAIN if ended else TICK)
            if ended and not ready:
                return  # somebody who is no longer below the supervisor holds a pipe
            for key, _ in ready:
                data = os.read(key.fd, READ)
                key.data(data)
                if not data:
                    pipes.unregister(key.fileobj)
            if deadline is not None and time.monotonic() > deadline:
                raise TimedOut


def _stop(process: subprocess.Popen[bytes]) -> None:
    """In order first; then by letting go of the dead-man's handle; the supervisor kills its whole tree."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(supervisor.GRACE + 1.0)
    for pipe in (process.stdin, process.stdout, process.stderr):
        _close(pipe)
    process.wait()


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        with suppress(OSError):
            pipe.close()
