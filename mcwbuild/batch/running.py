"""Each model by a run of its own, several at once: a process for each, so that one that fails fails alone."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from mcwbuild.batch.listing import Listed
from mcwbuild.contract import names
from mcwbuild.contract.errors import ExitCode
from mcwbuild.contract.events import Event, from_line
from mcwbuild.process import Started, start

MEMORY = 3 << 30  # bytes that one conversion is taken to need
State = Literal["done", "gate_failed", "failed", "not_run"]
Command = Callable[[Listed, Path], Sequence[str]]


@dataclass(frozen=True)
class Result:
    """What became of one model: its run's exit code, its seconds, its rows of the ledger, its error in a sentence."""

    listed: Listed
    out: Path
    state: State
    code: int | None
    seconds: float
    rows: tuple[dict[str, Any], ...] = ()
    error: str = ""
    fresh: bool = False


class Onlooker(Protocol):
    """Who is told."""

    def begin(self, listed: Listed) -> None:
        """A model's run begins."""

    def emit(self, listed: Listed, step: str, event: Event) -> None:
        """Its run says something."""

    def end(self, result: Result) -> None:
        """Its run is over."""


@dataclass
class _Running:
    """The processes that are under way, so that all of them can be ended."""

    environment: Mapping[str, str]
    processes: dict[str, Started] = field(default_factory=dict)
    ending: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def end(self) -> None:
        """Ask all of them to end; none begins any more."""
        with self.lock:
            self.ending = True
            for process in self.processes.values():
                process.terminate()


def jobs(builds: int, threads: int) -> int:
    """How many builds at once: one for each thread, as far as memory goes."""
    return max(1, min(builds, threads, _available() // MEMORY))


def _available() -> int:
    """Bytes of memory that programs can have: what only keeps files in memory gives way."""
    with Path("/proc/meminfo").open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def run(
    models: Sequence[Listed],
    out: Path,
    command: Command,
    onlooker: Onlooker,
    *,
    at_once: int,
    fail_fast: bool,
    environment: Mapping[str, str] | None = None,
) -> list[Result]:
    """Run `command` for each model, `at_once` at a time; results are in the list's order.

    `environment` is set for them beside what is set here.

    An interruption ends all of them, and is raised again when they have ended.
    """
    running = _Running(dict(environment or {}))
    results: dict[str, Result] = {}
    with ThreadPoolExecutor(at_once) as pool, ExitStack() as unless_done:
        unless_done.callback(running.end)
        waiting: dict[Future[Result], str] = {
            pool.submit(_one, one, out / names.folder_name(one.name), command, onlooker, running): one.name
            for one in models
        }
        left = set(waiting)
        while left:
            done, left = wait(left, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                results[waiting[future]] = future.result()
            if fail_fast and any(one.state in ("failed", "gate_failed") for one in results.values()):
                running.end()
        unless_done.pop_all()
    return [results[one.name] for one in models]


def _one(listed: Listed, out: Path, command: Command, onlooker: Onlooker, running: _Running) -> Result:
    begun = time.monotonic()
    with running.lock:
        if running.ending:
            return Result(listed, out, "not_run", None, 0.0, error="Not begun: another model failed.")
        process = start(command(listed, out), running.environment)
        running.processes[listed.name] = process
    onlooker.begin(listed)
    errors: list[str] = []
    for line in process.errors():
        told = _event(line)
        if told is None:
            errors.append(line)
        else:
            onlooker.emit(listed, *told)
    output, code = process.end()
    with running.lock:
        del running.processes[listed.name]
        ended = running.ending
    result = _result(listed, out, output, code, time.monotonic() - begun, errors, ended=ended)
    onlooker.end(result)
    return result


def _event(line: str) -> tuple[str, Event] | None:
    """A line of `--progress json`: the step and its event; None for what is no event."""
    try:
        data = json.loads(line)
        step = str(data.pop("step"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    event = from_line(json.dumps(data))
    return (step, event) if event is not None else None


def _result(
    listed: Listed, out: Path, output: bytes, code: int, seconds: float, errors: Sequence[str], *, ended: bool
) -> Result:
    state: State = {0: "done", int(ExitCode.GATE): "gate_failed"}.get(code, "failed")  # type: ignore[assignment]
    if ended and code in (-15, int(ExitCode.TERMINATED), int(ExitCode.INTERRUPTED)):
        return Result(listed, out, "not_run", code, seconds, error="Ended: another model failed.")
    try:
        told = json.loads(output) if output else {}
    except ValueError:
        told = {}
    rows = tuple(told.get("models", ()))
    fresh = bool(told.get("packages")) and all(one["state"] == "fresh" for one in told["packages"])
    said = next((line.removeprefix("error: ") for line in reversed(errors) if line.startswith("error: ")), "")
    return Result(listed, out, state, code, seconds, rows, said if state != "done" else "", fresh)
