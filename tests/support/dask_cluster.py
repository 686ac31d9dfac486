"""A Dask cluster of one's own for tests: a scheduler and workers as processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from mcwbuild.contract.events import Emit, Noted
from mcwbuild.contract.phases import ONNX, Phase
from mcwbuild.engines import Engine
from mcwbuild.engines.dask.cluster import Cluster
from mcwbuild.engines.local import LocalEngine

ROOT = Path(__file__).parents[2]
TTL = 5  # seconds without a word after which a worker counts as lost: Dask takes no less
ALLOWED = 1  # workers that a task may lose before the last
CODE = "MCWBUILD_TEST_CODE"  # the toy's code folder, for workers
START = 60.0  # seconds for a process to be there, on a busy machine


def toy_engine() -> Engine:
    """On a worker: the local engine with the toy stage."""
    return LocalEngine(source=Path(os.environ[CODE]))


class Unprepared(LocalEngine):
    """Of each worker's own: ready once it was prepared."""

    def __init__(self, folder: str) -> None:
        self._own = Path(folder, str(os.getpid()))

    def health(self, phase: Phase) -> str | None:
        """None once it was prepared."""
        return None if self._own.exists() else "it was not prepared"

    def prepare(self, phase: Phase, emit: Emit) -> None:
        """Says so."""
        emit(Noted("makes it"))
        self._own.touch()

    def identity(self, phase: Phase) -> dict[str, str]:
        """Another one in every process."""
        return {"code": self._own.name}


def unprepared_engine(folder: str) -> Engine:
    """On a worker: an engine that has to be prepared."""
    return Unprepared(folder)


@dataclass
class Processes:
    """A scheduler and its workers; `folder` holds their logs, scratch space and the shared folder."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    tls: Sequence[str] = ()
    scheduler: subprocess.Popen[bytes] | None = None
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    address: str = ""
    _logs: list[IO[bytes]] = field(default_factory=list)

    @property
    def shared(self) -> Path:
        """The folder for --shared-folder."""
        return self.folder / "shared"

    def scratch(self, name: str) -> Path:
        """A worker's own folder."""
        return self.folder / "scratch" / name

    @property
    def cluster(self) -> Cluster:
        """What the engine is told."""
        return Cluster(self.address, self.shared, "local")

    def _start(self, name: str, *words: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        own = {
            "PYTHONPATH": str(ROOT),
            "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": f"{TTL}s",
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(ALLOWED),
            "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s",
        }
        log = (self.folder / f"{name}.log").open("wb")
        self._logs.append(log)
        return subprocess.Popen(
            [sys.executable, "-m", "distributed.cli." + words[0], *words[1:], *self.tls],
            env={**os.environ, **own, **self.environment, **(environment or {})},
            cwd=self.folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def start(self, host: str = "127.0.0.1") -> None:
        """The scheduler, on a port of its own."""
        file = self.folder / "scheduler.json"
        protocol = ("--protocol", "tls") if self.tls else ()
        words = ("--host", host, "--port", "0", "--no-dashboard", "--scheduler-file", str(file), *protocol)
        self.scheduler = self._start("scheduler", "dask_scheduler", *words)
        until(file.is_file)
        until(lambda: '"address"' in file.read_text())
        self.address = file.read_text().partition('"address": "')[2].partition('"')[0]

    def work(
        self,
        name: str,
        resources: str = "mcwbuild=1",
        host: str = "127.0.0.1",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """One more worker, by this name; a process without a nanny, so that what is killed stays dead."""
        words = ["--name", name, "--host", host, "--no-nanny", "--no-dashboard", "--nthreads", "2"]
        words += ["--local-directory", str(self.scratch(name)), "--death-timeout", "60"]
        words += ["--resources", resources] if resources else []
        self.workers[name] = self._start(name, "dask_worker", self.address, *words, environment=environment)
        until(lambda: "Registered to" in (self.folder / f"{name}.log").read_text(errors="replace"))

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """A signal to a worker."""
        self.workers[name].send_signal(number)
        if number == signal.SIGKILL:
            self.workers[name].wait()  # as a service manager or a nanny would: a zombie counts as alive

    def alive(self) -> list[str]:
        """The workers that have not ended."""
        return [name for name, process in self.workers.items() if process.poll() is None]

    def busy(self) -> list[str]:
        """The workers below which a stage runs."""
        return [name for name, process in self.workers.items() if stages_below(process.pid)]

    def close(self) -> None:
        """Ends all of it."""
        for process in [*self.workers.values(), *([self.scheduler] if self.scheduler else [])]:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        for log in self._logs:
            log.close()


def stages_below(process: int) -> list[int]:
    """Supervisors of stages that are children of the process."""
    try:
        tasks = list(Path(f"/proc/{process}/task").iterdir())
    except OSError:
        return []
    found = []
    for task in tasks:
        try:
            found += [int(word) for word in (task / "children").read_text().split()]
        except OSError:
            continue
    return [child for child in found if b"supervisor" in _command(child)]


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def until(true: Callable[[], bool], seconds: float = START) -> None:
    """Waits until it is so. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)


def toy_cluster(folder: Path, workers: int = 1, tls: Sequence[str] = ()) -> Processes:
    """A cluster whose workers run the toy stage as their onnx stage, with `toy_engine`."""
    from tests.support.engines import toy_code, toy_environment_in

    toy_environment_in(folder / "cache", ONNX)
    code = toy_code(folder / "code", ONNX)
    made = Processes(folder, {"MCWBUILD_CACHE": str(folder / "cache"), CODE: str(code)}, tls)
    try:
        made.start()
        for number in range(workers):
            made.work(f"worker-{number}")
    except BaseException:
        made.close()
        raise
    return made
