"""Between the orchestrator and a stage: `python supervisor.py COMMAND...`, a program of its own.

It runs COMMAND in a session of its own and outlives nobody. It stands alone (standard library, Linux),
because it runs under the stage's Python.

* Standard input is the dead-man's handle: when the orchestrator is gone, however it went, the read
  ends and everything below is killed.
* SIGTERM, or a byte through the handle, stops the stage in order: SIGTERM to its process group, SIGKILL for what is
  left after `GRACE`.
* It is the reaper of its whole tree (PR_SET_CHILD_SUBREAPER): grandchildren whose parent ended come to
  it, and none is left when it ends.
* Its exit code is the command's; 128 + n where signal n ended it.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
GRACE = 2.0  # seconds that a stage gets to remove its scratch folders; they are inside the staging folder anyway
POLL = 0.02  # seconds between two looks at a tree that is being killed
CANNOT_START = 127


def descendants(root: int) -> list[int]:
    """The processes below `root`, from /proc; those that have ended and wait for their parent included."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_bytes().rpartition(b")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue  # gone in the meantime
            children.setdefault(parent, []).append(int(folder.name))
    found = list(children.get(root, ()))
    for process in found:  # grows while it is walked
        found += children.get(process, ())
    return found


def reap(stage: int) -> int | None:
    """Takes in every child that has ended; the stage's wait status if it is among them."""
    status = None
    while True:
        try:
            process, ended = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if process == 0:
            return status
        if process == stage:
            status = ended


def kill_all(stage: int) -> int | None:
    """SIGKILL for everything below, until nothing is left; the stage's wait status if it ended here."""
    status = None
    while left := descendants(os.getpid()):
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        ended = reap(stage)
        status = ended if ended is not None else status
        time.sleep(POLL)
    return status


def start(become: Callable[[], None], libc: ctypes.CDLL) -> int:
    """The stage's process: a session of its own, no standard input, killed when this process dies."""
    parent = os.getpid()
    process = os.fork()
    if process:
        return process
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(CANNOT_START)
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    become()
    os._exit(CANNOT_START)


def execute(command: list[str]) -> None:
    """Become the command; returns where it cannot be started."""
    try:
        os.execv(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())


def _ask_to_stop(stage: int) -> None:
    try:
        os.killpg(stage, signal.SIGTERM)
    except ProcessLookupError:  # it has no group of its own yet
        os.kill(stage, signal.SIGTERM)


def wait(stage: int, woken: int) -> int:
    """Waits for the stage's end, the handle's release or SIGTERM; the stage's wait status."""
    deadline: float | None = None
    while True:
        patience = None if deadline is None else max(0.0, deadline - time.monotonic())
        readable, _, _ = select.select([0, woken], [], [], patience)
        asked = os.read(woken, 4096) if woken in readable else b""
        status = reap(stage)
        if status is not None:
            return status
        handle = os.read(0, 1) if 0 in readable else None
        if handle == b"" or (deadline is not None and time.monotonic() >= deadline):
            break
        if (signal.SIGTERM in asked or handle) and deadline is None:
            _ask_to_stop(stage)
            deadline = time.monotonic() + GRACE
    status = kill_all(stage)
    return signal.SIGKILL if status is None else status


def supervise(become: Callable[[], None]) -> int:
    """Has a new process `become` the stage, and sees it to its end; its exit code."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stage = start(become, libc)
    status = wait(stage, woken)
    kill_all(stage)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def main(command: list[str]) -> NoReturn:
    """Runs the command under supervision and ends with its exit code."""
    os._exit(supervise(partial(execute, command)))


if __name__ == "__main__":
    main(sys.argv[1:])
