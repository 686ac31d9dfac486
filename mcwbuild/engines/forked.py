"""Stages that are forked from a process which has loaded what takes seconds: servers are started, and asked.

A stage takes 1 to 4 s of processor time until it has imported torch or the toolkit. Who runs many of them starts a
fork server for each phase; engines below it find them by a folder that an environment variable names, and do without
where there is none that fits.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from mcwbuild.engines import fork_server, supervisor

VARIABLE = "MCWBUILD_FORK_SERVERS"
PATIENCE = 120.0  # seconds for a server that still loads
BACKLOG = 256
LOST = 128 + signal.SIGKILL  # the exit code of a stage whose supervisor did not tell one


@dataclass(frozen=True)
class Prepared:
    """What a server of a phase has to have in common with a stage: its Python, environment, and what is imported."""

    phase: str
    python: Path
    environment: Mapping[str, str]  # with the same words for the folders that each stage has of its own
    module: str

    @property
    def name(self) -> str:
        """The name of its socket: another server's fits no stage of this one."""
        told = json.dumps([str(self.python), dict(sorted(self.environment.items()))])
        return f"{self.phase}-{hashlib.sha256(told.encode()).hexdigest()[:16]}"


class Process(Protocol):
    """What is asked of a stage's process, or of what stands for it."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """The same, when it has ended. Raises subprocess.TimeoutExpired."""

    def terminate(self) -> None:
        """Ask it to end in order."""


class Forked:
    """A supervised stage that a server has forked; this process is not its parent, and hears of it through pipes."""

    def __init__(self, stdin: int, stdout: int, stderr: int, told: int) -> None:
        self.stdin: IO[bytes] | None = os.fdopen(stdin, "wb", buffering=0)
        self.stdout: IO[bytes] | None = os.fdopen(stdout, "rb", buffering=0)
        self.stderr: IO[bytes] | None = os.fdopen(stderr, "rb", buffering=0)
        self._told: int | None = told
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._code if self._ends_within(0) else None

    def wait(self, timeout: float | None = None) -> int:
        """The same, when it has ended."""
        if not self._ends_within(timeout):
            raise subprocess.TimeoutExpired("a forked stage", timeout or 0)
        assert self._code is not None
        return self._code

    def terminate(self) -> None:
        """Ask it to end in order."""
        if self.stdin is not None:
            with suppress(OSError):
                self.stdin.write(b"x")

    def _ends_within(self, seconds: float | None) -> bool:
        if self._told is not None:
            if not select.select([self._told], [], [], seconds)[0]:
                return False
            text = os.read(self._told, 16)
            os.close(self._told)
            self._told, self._code = None, int(text) if text else LOST
        return True


def start(
    server: Path, module: str, words: Sequence[str], environment: Mapping[str, str], folder: Path
) -> Forked | None:
    """The stage `module`, forked by the server that listens at `server`; None where none does, or it fails."""
    message = {"module": module, "words": list(words), "environment": dict(environment), "folder": str(folder)}
    pipes = [os.pipe() for _ in range(fork_server.DESCRIPTORS)]
    theirs = [pipes[0][0], *(writer for _, writer in pipes[1:])]
    ours = [pipes[0][1], *(reader for reader, _ in pipes[1:])]
    with ExitStack() as unless_forked:
        for descriptor in ours:
            unless_forked.callback(os.close, descriptor)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
                connection.settimeout(PATIENCE)
                connection.connect(str(server))
                socket.send_fds(connection, [json.dumps(message).encode("ascii")], theirs)
                if connection.recv(1) != fork_server.TAKEN:
                    return None
        except OSError:
            return None
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        unless_forked.pop_all()
    return Forked(*ours)


def server_of(wanted: Prepared) -> Path | None:
    """The socket of a server that fits."""
    folder = os.environ.get(VARIABLE)
    found = Path(folder, wanted.name) if folder else None
    return found if found is not None and found.exists() else None


@contextmanager
def servers(wanted: Iterable[tuple[Prepared, Mapping[str, str]]]) -> Iterator[dict[str, str]]:
    """Servers that load while the caller goes on; what has to be in the environment of those who ask them.

    Each comes with the environment of its own process. None of them, and nothing that they forked, is left afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="mcwbuild-forks-", ignore_cleanup_errors=True) as name, ExitStack() as ends:
        for one, environment in wanted:
            ends.callback(_end, _served(one, environment, Path(name)))
        yield {VARIABLE: name}


def _served(one: Prepared, environment: Mapping[str, str], folder: Path) -> subprocess.Popen[bytes]:
    command = [str(one.python), "-s", "-P", fork_server.__file__]
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening, (folder / "log").open("ab") as log:
        listening.bind(str(folder / one.name))
        listening.listen(BACKLOG)
        number = listening.fileno()
        return subprocess.Popen(
            [str(one.python), "-I", "-S", supervisor.__file__, *command, str(number), one.module],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
            pass_fds=(number,),
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let go of the handle: its supervisor kills all that is below it."""
    assert process.stdin is not None
    process.stdin.close()
    deadline = time.monotonic() + 10.0
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(supervisor.POLL)
    process.kill()
    process.wait()
