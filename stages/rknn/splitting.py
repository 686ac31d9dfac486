"""A process that has loaded what takes seconds to load, and splits off another one for each piece of work but the last.

What is split off has everything loaded, and nothing of the others: it may crash, hang or run out of memory alone. It is
no child of the process that loaded but of the one that ordered it, which waits for it and ends it as any child of its
own; that one has to be a subreaper (`stages.common.leash.adopt`).
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mcwbuild.contract.bench import leave
from stages.common.leash import tie_to

PID = 10  # digits: the first that comes through an order's pipe is the number of its process
_MOST = 4096  # bytes of an order: it names a folder
_PATIENCE = 0.0005  # seconds between two looks at whose child this is


class Split:
    """A child of this process that was forked, with what `subprocess.Popen` has of it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it is there."""
        with self._lock:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
            return self.returncode

    def wait(self) -> int:
        """The same, when it has ended. Several threads may wait."""
        with suppress(ChildProcessError):  # another one has asked meanwhile
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        code = self.poll()
        assert code is not None
        return code


@dataclass(frozen=True)
class Order:
    """A piece of work: its folder, with `work`, empty, and `tmp` for temporary files, and a pipe for reports."""

    folder: Path
    pipe: int


def place(requests: socket.socket, folder: str, pipe: int, log: int, *, last: bool) -> None:
    """Order a process that works in `folder`, reports through `pipe` and prints into the file `log`.

    The `last` order is fulfilled by the process that loaded, and no other is split off then.
    One that loads, or is gone, says nothing now: the pipe tells, which begins with the number, or ends without it.
    """
    with suppress(OSError):
        socket.send_fds(requests, [json.dumps({"folder": folder, "last": last}).encode("ascii")], [pipe, log])


def wait_for_order(parent: int) -> Order | None:
    """Splits off processes for the orders that come through standard input, and returns in each of them.

    In the first one it returns with the last order, or None, when nobody orders any more. `parent` is the process that
    orders.
    """
    requests = socket.socket(fileno=os.dup(0))
    while True:
        text, descriptors, _, _ = socket.recv_fds(requests, _MOST, 2)
        if not text:
            return None
        pipe, log = descriptors
        order = json.loads(text)
        if order["last"] or _split_off(parent):
            requests.close()
            return _settled(Path(order["folder"]), pipe, log)
        os.close(pipe)
        os.close(log)


def fork(main: Callable[[], int], given: int, log: int, folder: Path, environment: Mapping[str, str]) -> Split:
    """A process that does `main` as a program of its own would: of this one it has what is loaded, and nothing else.

    `given` is its standard input, `log` gets what it prints. This process must have no other thread at work.
    """
    _flush()
    pid = os.fork()
    if pid:
        return Split(pid)
    code = 1
    try:
        os.setsid()
        atexit._clear()  # what its parent would remove at its end
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        for place, descriptor in enumerate((given, log, log)):
            os.dup2(descriptor, place)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        code = main()
    finally:
        leave(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    ctypes.CDLL(None).fflush(None)


def _split_off(parent: int) -> bool:
    """Whether this is the new process: it is forked twice, so that it is an orphan, whom `parent` adopts."""
    _flush()
    between = os.fork()
    if between:
        if os.waitpid(between, 0)[1] != 0:
            raise SystemExit("no process can be split off")
        return False
    between = os.getpid()
    try:
        if os.fork():
            os._exit(0)
    except OSError:
        os._exit(1)
    os.setsid()
    while os.getppid() == between:
        time.sleep(_PATIENCE)
    tie_to(parent)
    return True


def _settled(folder: Path, pipe: int, log: int) -> Order:
    """The order, with this process at home in its folder, and known to who placed it."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, place in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, place)
    os.close(nothing)
    os.close(log)
    work, scratch = folder / "work", folder / "tmp"
    os.chdir(work)
    os.environ |= {"HOME": str(work), "TMPDIR": str(scratch)}
    tempfile.tempdir = None  # it was told of another one
    os.write(pipe, str(os.getpid()).zfill(PID).encode("ascii"))
    return Order(folder, pipe)
