"""Other programs that the orchestrator asks, engines apart: the one place for `subprocess`."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_LINES = 200  # of a program's errors that are kept
MOST = 64 << 20  # bytes of a program's output that are taken


def answer(*command: str, folder: Path | None = None, timeout: float = 5.0) -> str | None:
    """What `command` prints, without the last newline; None where it is not there, fails or takes too long."""
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace").rstrip("\n") if done.returncode == 0 else None


def git_commit(folder: Path) -> str | None:
    """The commit that `folder` is a checkout of; None outside of one."""
    return answer("git", "rev-parse", "--verify", "HEAD", folder=folder)


@dataclass(frozen=True)
class Done:
    """A program that ended: its exit code, what it printed, and its errors."""

    code: int
    output: bytes
    errors: str = ""

    @property
    def said(self) -> str:
        """The last line of its errors."""
        return self.errors.rpartition("\n")[2]


def call(
    command: Sequence[str], *, timeout: float, given: Path | None = None, tell: Callable[[str], None] | None = None
) -> Done:
    """Run `command` to its end; `given` is its standard input, `tell` hears its errors line by line.

    Raises FileNotFoundError where it is not there, TimeoutError where it took longer than `timeout` seconds.
    """
    with tempfile.TemporaryFile() as output, open(given or os.devnull, "rb") as source:  # noqa: PTH123
        process = subprocess.Popen(command, stdin=source, stdout=output, stderr=subprocess.PIPE)
        late = threading.Timer(timeout, process.kill)
        late.start()
        lines: list[str] = []
        try:
            assert process.stderr is not None
            for raw in process.stderr:
                line = raw.decode("utf-8", "replace").strip()
                lines = [*lines[-_LINES:], line] if line else lines
                if tell is not None and line:
                    tell(line)
            code = process.wait()
        finally:
            expired = not late.is_alive()
            late.cancel()
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()
        if code < 0 and expired:
            raise TimeoutError(f"{command[0]} was not done after {timeout:.0f} seconds")
        output.seek(0)
        return Done(code, output.read(MOST), "\n".join(lines))


class Started:
    """A program under way: its errors line by line, then its output and exit code."""

    def __init__(self, process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
        self._process, self._output = process, output

    def errors(self) -> Iterator[str]:
        """Each line of its standard error, until it closes that."""
        assert self._process.stderr is not None
        for raw in self._process.stderr:
            if line := raw.decode("utf-8", "replace").strip():
                yield line

    def terminate(self) -> None:
        """Ask it to end."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def end(self) -> tuple[bytes, int]:
        """Its standard output and its exit code, negative for a signal, when it has ended."""
        code = self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()
        with self._output as output:
            output.seek(0)
            return output.read(MOST), code


def start(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Started:
    """Start `command` without an input, with these variables beside this process's; it is the caller's to `end`."""
    output = tempfile.TemporaryFile()  # noqa: SIM115
    whole = {**os.environ, **(environment or {})}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE, env=whole)
    return Started(process, output)
