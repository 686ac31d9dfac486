"""The toolkit's processes from their parent's side: one that loads, and those that it splits off, one for a build.

A process that is split off copies each page of memory that it writes: a twentieth of a small build's time, and less
than loading the toolkit again. Where a build is the only one, the process that loaded does it: nothing is copied.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from stages.common.leash import adopt
from stages.rknn import splitting
from stages.rknn.ground import Ground
from stages.rknn.job import BUILD, JOB, Job
from stages.rknn.splitting import Split

Process = subprocess.Popen[bytes] | Split
CHILD = (sys.executable, "-P", "-m", "stages.rknn.child")


class Abandoned(Exception):
    """No more builds are wanted."""


class Loader:
    """A process that loads the toolkit at once, while its parent does something else. `end` leaves nothing of it.

    Where it `splits`, each build has another process, which is split off; else it does one build itself, and ends.
    """

    def __init__(
        self, folder: Path, threads: int, ground: Ground, program: Sequence[str] | None = None, *, splits: bool = True
    ) -> None:
        self.log, self.ground, self.splits = folder / "loading.log", ground, splits
        work, scratch = folder / "work", folder / "tmp"
        work.mkdir(parents=True)
        scratch.mkdir()
        adopt()
        self._requests, orders = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        started = ground.start(program or CHILD, (str(os.getpid()),), work, scratch, threads)
        self.process: Process
        with orders, self.log.open("wb") as log:
            if ground.shared and _is_loaded():
                main = partial(_load, str(os.getpid()))
                given = (orders.fileno(), log.fileno(), started.folder, started.environment)
                self.process = splitting.fork(main, *given)
            else:
                self.process = subprocess.Popen(
                    started.command,
                    cwd=started.folder,
                    env=started.environment,
                    stdin=orders.fileno(),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

    @property
    def is_there(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def order(self, folder: Path, log: Path) -> int:
        """Order the build in `folder`; the pipe's end at which its process is heard of."""
        reader, writer = os.pipe()
        with os.fdopen(writer, "wb") as pipe, log.open("wb") as printed:
            place = self.ground.place(folder)
            splitting.place(self._requests, place, pipe.fileno(), printed.fileno(), last=not self.splits)
        return reader

    def end(self) -> None:
        """Kill whatever is left of its session. May be called again."""
        if self.is_there:
            _kill(self.process.pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)  # one that has just been forked has no session yet
        self.process.wait()
        self._requests.close()


def _is_loaded() -> bool:
    """Whether this process was forked with the toolkit in it, and has no thread yet that a fork would lack."""
    return "rknn.api" in sys.modules and threading.active_count() == 1


def _load(parent: str) -> int:
    from stages.rknn import child

    return child.main([parent])


class Child:
    """The process of one build, in a folder of its own; it is there once it was given its job. `end` leaves nothing."""

    def __init__(self, folder: Path, loader: Loader) -> None:
        self.folder, self.log, self._loader = folder, folder / "toolkit.log", loader
        (folder / "work").mkdir(parents=True)
        (folder / "tmp").mkdir()
        self.reader = -1
        self.process: Process | None = None
        self.returncode: int | None = None
        self._unwanted = False

    def give(self, job: Job) -> None:
        """Have it begin."""
        self._loader.ground.seen(job).write(self.folder / BUILD)
        job.write(self.folder / JOB)
        self.reader = self._loader.order(self.folder, self.log)

    def begins(self, patience: float) -> bool:
        """Waits until it is there, or never will be; False where `patience` seconds go by before.

        Where it never will be, `process` stays None, `returncode` is that of the one that loads, whose log it has.
        """
        if not select.select([self.reader], [], [], patience)[0]:
            return False
        number = os.read(self.reader, splitting.PID)
        if number:
            self.process = Split(int(number)) if self._loader.splits else self._loader.process
            if self._unwanted:
                self.kill()
        else:
            self.returncode = self._loader.process.wait()
            shutil.copyfile(self._loader.log, self.log)
        return True

    def kill(self) -> None:
        """Kill its session; whoever waits for it goes on then."""
        self._unwanted = True
        if self.process is not None and self.process.returncode is None:
            _kill(self.process.pid)

    def end(self) -> None:
        """Kill whatever is left of its session. May be called again."""
        if self.reader >= 0:
            if self.process is not None:
                _kill(self.process.pid)
                self.process.wait()
            os.close(self.reader)
            self.reader = -1


def _kill(session: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(session, signal.SIGKILL)


class Children:
    """The child of each build, by its name and in a folder of that name below the ground's, with `threads` for each.

    The toolkit is loaded for those of `ahead` at once. All are split off from one process that loads it; each has one
    of its own where the ground has it so, or where a build is `alone`: no other is expected.
    `end` leaves none of them, and nothing below `folder`, which is their own.
    """

    def __init__(self, threads: int, ahead: Sequence[str], ground: Ground, *, alone: bool = False) -> None:
        self._ground, self.folder, self.threads = ground, ground.folder, threads
        self._splits = ground.shared and not alone
        self._loaders: dict[str, Loader] = {}
        self._started: dict[str, Child] = {}
        self._lock = threading.Lock()  # builds of two variants are made by two threads
        self._abandoned = False
        self.failing_rules: tuple[str, ...] = ()
        with contextlib.ExitStack() as half_done:
            half_done.callback(self.end)
            for name in ahead:
                self.of(name)
            half_done.pop_all()

    def end(self) -> None:
        """End all of them and remove their folder. May be called again."""
        for loader in self._loaders.values():
            loader.end()
        for child in self._started.values():
            child.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def of(self, name: str) -> Child:
        """The build's child; the toolkit is being loaded for it from now on."""
        with self._lock:
            if name not in self._started:
                self._started[name] = self._new(name)
            return self._started[name]

    def without_rule(self, name: str, rule: str) -> Child:
        """A new child for the build, in a folder beside that of the one that has ended; no build uses `rule` now."""
        with self._lock:
            self.failing_rules = tuple(dict.fromkeys((*self.failing_rules, rule)))  # another build may have met it too
            self._started[name] = self._new(f"{name}.{len(self.failing_rules)}")
            return self._started[name]

    def _new(self, name: str) -> Child:
        if self._abandoned:
            raise Abandoned
        key = "all" if self._splits else name
        loader = self._loaders.get(key)
        if loader is None or not loader.is_there:
            folder = self.folder / f"loaded-{key}{'' if loader is None else f'.{len(self._started)}'}"
            self._loaders[key] = loader = Loader(folder, self.threads, self._ground, splits=self._splits)
        return Child(self.folder / name, loader)

    def kill(self) -> None:
        """Kill all of them; whoever waits for one goes on then, and whoever asks for another meets Abandoned."""
        with self._lock:
            self._abandoned = True
        for loader in self._loaders.values():
            loader.end()
        for child in self._started.values():
            child.kill()
