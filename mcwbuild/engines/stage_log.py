"""What a stage says while it runs: events for the listener, everything else for its bounded log."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from mcwbuild.contract.bounds import LOG_BYTES
from mcwbuild.contract.events import Emit, from_line

TAIL = 65_536  # bytes kept of what comes after the limit: the cause stands at the end
LINE_LIMIT = 1_000_000  # bytes without a newline that are still one line


@dataclass
class BoundedLog:
    """A file that takes the first `most` bytes and, when closed, the last `TAIL` of the rest."""

    file: BinaryIO
    most: int = field(default_factory=lambda: LOG_BYTES.value)
    written: int = 0
    left_out: int = 0
    tail: deque[bytes] = field(default_factory=deque)

    def write(self, data: bytes) -> None:
        """Takes all of it, as far as there is room."""
        room = max(0, self.most - self.written)
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


def sorter(emit: Emit, log: BoundedLog) -> Callable[[bytes], None]:
    """Takes lines of a stage's standard output: its events go to `emit`, what a library printed to `log`."""

    def take(line: bytes) -> None:
        event = from_line(line.decode("utf-8", "replace").rstrip("\r\n"))
        if event is None:
            log.write(line)
        else:
            emit(event)

    return take
