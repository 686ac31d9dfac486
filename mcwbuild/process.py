"""Other programs that the orchestrator asks, engines apart: the one place for `subprocess`."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

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
