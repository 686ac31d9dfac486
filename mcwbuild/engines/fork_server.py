"""A fork server: `python -s -P fork_server.py SOCKET MODULE`, a program of its own under a stage's Python.

It imports MODULE, and with it what takes seconds, once for all stages of a phase. For each connection to SOCKET, the
file descriptor of a listening one, it forks a supervisor, whose stage is a fork too, as new as one that is executed:
nothing of another stage is in it. It stands alone (standard library and `supervisor.py` beside it, Linux).

A connection brings one message: JSON `{module, words, environment, folder}` and four file descriptors: the stage's
dead-man's handle, standard output and error, and where the exit code is written to, in digits, when all is over.
It is answered with one byte when the fork is made.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import os
import runpy
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

MOST = 1 << 20  # bytes of a message
DESCRIPTORS = 4
TAKEN = b"+"


@dataclass(frozen=True)
class Asked:
    """One message."""

    stage: dict[str, Any]
    descriptors: tuple[int, ...]


def wait_to_be_asked(listening: socket.socket) -> Asked:
    """Forks for each message, and returns in each fork."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a fork: who asked is told by itself
    while True:
        connection, _ = listening.accept()
        with connection, suppress(OSError):  # who asks may be gone by now; others' stages run below this process
            text, descriptors, _, _ = socket.recv_fds(connection, MOST, DESCRIPTORS)
            process = None
            with suppress(OSError):  # not answered, the stage is executed
                process = os.fork() if len(descriptors) == DESCRIPTORS else None
            if process == 0:
                return Asked(json.loads(text), tuple(descriptors))
            for descriptor in descriptors:
                os.close(descriptor)
            if process:
                connection.send(TAKEN)


def become(stage: dict[str, Any]) -> None:
    """Be the stage's process: the module as `python -m` would run it. Does not return."""
    os.environ.clear()
    os.environ.update(stage["environment"])
    os.chdir(stage["folder"])
    tempfile.tempdir = None  # it was told of another one
    sys.argv = [stage["module"], *stage["words"]]
    runpy.run_module(stage["module"], run_name="__main__", alter_sys=True)
    raise SystemExit(0)


def _supervisor() -> ModuleType:
    spec = importlib.util.spec_from_file_location("supervisor", Path(__file__).with_name("supervisor.py"))
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def main(number: int, module: str) -> None:
    """Serves until it is killed; what it forks ends with it."""
    supervisor = _supervisor()
    gc.disable()
    importlib.import_module(module)
    gc.freeze()  # looking through what all forks share would give each a copy of it
    gc.enable()
    listening = socket.socket(fileno=number)
    asked = wait_to_be_asked(listening)
    listening.close()
    os.setsid()
    *streams, told = asked.descriptors
    for place, descriptor in enumerate(streams):
        os.dup2(descriptor, place)
        os.close(descriptor)

    def stage() -> None:
        os.close(told)
        become(asked.stage)

    code: int = supervisor.supervise(stage)
    os.write(told, str(code).encode("ascii"))
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
