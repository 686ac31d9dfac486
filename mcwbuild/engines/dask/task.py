"""What runs on a worker: one attempt at a call, making a phase ready, and the answers that the driver asks for."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from distributed import get_worker
from distributed.core import Status

from mcwbuild.contract import disk
from mcwbuild.contract.errors import EnvironmentLacking, McwbuildError
from mcwbuild.contract.phases import Phase
from mcwbuild.engines import Engine, StageCall
from mcwbuild.engines.dask import results, state, tree, versions
from mcwbuild.engines.dask.cluster import require_safe
from mcwbuild.engines.dask.objects import Objects
from mcwbuild.engines.dask.order import Make, Order, Report, here
from mcwbuild.engines.dask.state import Saved
from mcwbuild.engines.dask.voice import Voice
from mcwbuild.gate import lacking_disk

if TYPE_CHECKING:
    from distributed import Worker

LOOK = 0.3  # seconds between two looks at whether anybody still waits for the task
_ENDING = (Status.closing, Status.closed, Status.failed, Status.stopping)
Question = Literal["health", "can_prepare", "identity"]


def run(order: Order) -> dict[str, Any]:
    """One attempt at the call: files laid out, stage run, what it left kept; the report as data.

    Ends within seconds when the driver, the scheduler or this worker's connection to them is gone: nobody waits then.
    """
    order = replace(order, phase=here(order.phase))
    worker = get_worker()
    attempt = secrets.token_hex(8)
    scratch = Path(worker.local_directory) / f"mcwbuild-{attempt}"
    voice = Voice(worker, order.topic, order.call, attempt, str(scratch / "in"))
    voice.begun()
    folder = Objects(Path(order.shared)).call(order.call) / attempt
    saved = Saved(scratch / "staging", folder)
    with _watched(worker, saved) as stop, _removed(scratch):
        code, error = None, None
        try:
            try:
                scratch.mkdir(parents=True)
                folder.mkdir(parents=True)
                code = _run(order, worker, scratch, voice, stop)
            except OSError as failure:
                raise lacking_disk(scratch, failure) from failure
        except McwbuildError as failure:
            error = results.error_as_data(failure, str(scratch / "in"))
        voice.flush()
        return _reported(order, voice, scratch, folder, code, error)


def _run(order: Order, worker: Worker, scratch: Path, voice: Voice, stop: threading.Event) -> int:
    require_safe(str(worker.address), "a worker")
    if versions.own() != order.version:
        raise versions.mismatch(order.version, versions.own(), f"the worker {worker.address}")
    engine = order.make()
    if order.prepare and engine.health(order.phase):
        engine.prepare(order.phase, voice.emit)
    if engine.health(order.phase) is None:
        _require_identity(engine, order, str(worker.address))
    root, staging = scratch / "in", scratch / "staging"
    staging.mkdir(mode=0o700)
    tree.lay_out(order.tree, Objects(Path(order.shared)), root, scratch)
    inputs = [(flag, tree.below(root, path)) for flag, path in order.inputs]
    left = state.newest(Objects(Path(order.shared)).call(order.call), scratch)
    inputs = [*((flag, path) for flag, path in inputs if flag not in left), *left.items()]
    call = StageCall(
        phase=order.phase,
        inputs=tuple(inputs),
        options=order.options,
        staging=staging,
        log=scratch / results.LOG,
        nonce=order.nonce,
        timeout=order.timeout,
        program=order.program,
        stop=stop,
    )
    return engine.run(call, voice.emit)


def _require_identity(engine: Engine, order: Order, address: str) -> None:
    """The step's key was made with the workers' common identity: another one would make the package a lie."""
    own = engine.identity(order.phase)
    if own != dict(order.identity):
        raise disagreement(order.phase, {"the others": order.identity, f"the worker {address}": own})


def disagreement(phase: Phase, identities: Mapping[str, Mapping[str, str]]) -> EnvironmentLacking:
    """The error for workers that would not make the same of the same."""
    told = "; ".join(
        f"on {whose}: " + ", ".join(f"{key} {value[:19]}" for key, value in sorted(identity.items()))
        for whose, identity in identities.items()
    )
    return EnvironmentLacking(
        f"The workers' {phase.name} stages are not the same.",
        f"{told[:1].upper()}{told[1:]}.",
        "Name their engine with --worker-engine, and give all of them the same images or the same build of torch.",
        kind="identity",
    )


def _reported(
    order: Order, voice: Voice, scratch: Path, folder: Path, code: int | None, error: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The report, which is on disk beside the files that it names before anybody hears of it."""
    made = Report(voice.attempt, str(voice.worker.address), code, error, (), (), voice.said, str(scratch / "in"))
    try:
        files, odd = results.keep(scratch / "staging", scratch / results.LOG, order.phase, folder)
        data = {**results.as_data(made), "files": [vars(one) for one in files], "odd": [vars(one) for one in odd]}
        disk.write_atomic(folder / results.REPORT, json.dumps(data).encode())
    except OSError as failure:  # also where the driver has removed the folder: then nobody reads this
        told = results.error_as_data(lacking_disk(folder, failure), "")
        return {**results.as_data(made), "code": None, "error": error or told}
    return data


@contextmanager
def _watched(worker: Worker, saved: Saved) -> Iterator[threading.Event]:
    """An event that is set when nobody waits for the present task any more: Dask cannot end a thread.

    The same thread keeps the state of long work.
    """
    key = worker.get_current_task()
    stop, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(LOOK):
            task = worker.state.tasks.get(key)
            if worker.status in _ENDING or task is None or task.state not in ("executing", "long-running"):
                stop.set()
                return
            saved.look()

    watcher = threading.Thread(target=watch, name="mcwbuild-watch", daemon=True)
    watcher.start()
    try:
        yield stop
    finally:
        over.set()
        watcher.join()


@contextmanager
def _removed(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        with suppress(OSError):  # Dask removes its scratch space when a worker starts
            disk.remove_tree(folder)


def prepare(make: Make, phase: Phase, topic: str, call: str) -> dict[str, Any] | None:
    """Makes the phase ready on this worker; None, or the error as data."""
    voice = Voice(get_worker(), topic, call, secrets.token_hex(8))
    try:
        make().prepare(here(phase), voice.emit)
    except McwbuildError as error:
        return error.as_dict()
    finally:
        voice.flush()
    return None


async def answer(make: Make, question: Question, phase: Phase) -> Any:
    """The engine's own word. Beside the event loop, which must go on telling the scheduler that it is alive."""

    def ask() -> Any:
        try:
            return getattr(make(), question)(here(phase))
        except McwbuildError as error:
            return {"error": error.as_dict()} if question == "identity" else str(error)

    return await asyncio.to_thread(ask)


async def introduce(shared: str, probe: str) -> dict[str, Any]:
    """Who this process is: its version, its host, whether it finds the driver's `probe` in the shared folder."""

    def look() -> dict[str, Any]:
        sees = (Path(shared) / f"probe-{probe}").is_file()
        return {"version": versions.own(), "host": socket.gethostname(), "sees": sees}

    return await asyncio.to_thread(look)
