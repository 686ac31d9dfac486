"""A stage's process seen from the orchestrator: started, listened to, and gone when we are done."""

from __future__ import annotations

import os
import selectors
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from mcwbuild.contract.events import Emit
from mcwbuild.engines import forked, supervisor
from mcwbuild.engines.forked import Process
from mcwbuild.engines.patience import Patience
from mcwbuild.engines.stage_log import BoundedLog, Lines, sorter

READ = 65_536  # bytes: a pipe's capacity
TICK = 0.2  # seconds between two looks at the deadline
DRAIN = 1.0  # seconds for the pipes' rest after the process has ended


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    emit: Emit,
    patience: Patience,
    server: Path | None = None,
) -> int:
    """Runs `command` (an absolute path of a Python, its options, `-m`, a module, words) to its end; its exit code.

    Where a fork `server` of its environment is given, and answers, it forks the stage.

    Events on standard output go to `emit`; all else, and standard error, goes to `log`. No process of it
    is left afterwards, whatever ended the run: an exception of `emit` and ^C included.

    Raises TimedOut, Stopped, OSError.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    bounded = BoundedLog(log.open("wb", buffering=0))
    process = _forked(server, command, environment, folder) or subprocess.Popen(
        [command[0], "-I", "-S", supervisor.__file__, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
        cwd=folder,
        start_new_session=True,
    )
    try:
        _listen(process, bounded, emit, patience)
        return process.wait()
    finally:
        _stop(process)
        bounded.close()


def _forked(
    server: Path | None, command: Sequence[str], environment: Mapping[str, str], folder: Path
) -> Process | None:
    if server is None:
        return None
    module, *words = command[command.index("-m") + 1 :]
    return forked.start(server, module, words, environment, folder)


def _listen(process: Process, log: BoundedLog, emit: Emit, patience: Patience) -> None:
    assert process.stdout is not None
    assert process.stderr is not None
    lines = Lines(sorter(emit, log))
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
            patience.check()


def _stop(process: Process) -> None:
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
