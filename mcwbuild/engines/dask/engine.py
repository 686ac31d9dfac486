"""The dask engine: one task a call, begun anew where the machine failed, never where the stage did."""

from __future__ import annotations

import queue
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from distributed import CancelledError, Future
from distributed.scheduler import KilledWorker

from mcwbuild.contract import disk, errors
from mcwbuild.contract.errors import EnvironmentLacking, McwbuildError
from mcwbuild.contract.events import Emit, Noted, from_line
from mcwbuild.contract.phases import Phase
from mcwbuild.engines import StageCall, Wanted, choose, invocation
from mcwbuild.engines.dask import results, task, tree, versions
from mcwbuild.engines.dask.cluster import Cluster
from mcwbuild.engines.dask.link import LOST, SAID_AFTER, Link, connect, lost
from mcwbuild.engines.dask.objects import COPY
from mcwbuild.engines.dask.order import Make, Order, Report
from mcwbuild.engines.dask.voice import Word, Words
from mcwbuild.engines.patience import Stopped

TICK = 0.2  # seconds between two looks at whether the call is to stop
TRIES = 3  # attempts that the machines' failures may cost
FAREWELL = 15.0  # seconds for a cancelled attempt to end its stage; a frozen worker never answers
DRAIN = 2.0  # seconds for the last words of an attempt that has ended
# Kinds of errors that are the machine's: the same call may do well elsewhere.
_OF_THE_MACHINE = frozenset(("disk", "daemon", "container", "docker", LOST, COPY, "stopped"))


class DaskEngine:
    """Stages on the workers of a cluster; connects when it is first asked something."""

    name = "dask"
    elsewhere = True

    def __init__(
        self, cluster: Cluster, wanted: Wanted | None = None, emit: Emit | None = None, make: Make | None = None
    ) -> None:
        """`emit` hears what is waited for between calls; `make` makes a worker's engine, on the worker."""
        self._cluster, self._emit = cluster, emit
        own = replace(wanted or Wanted(), cluster=None)
        if own.confined or own.toolkit:
            self._cluster = replace(cluster, engine="docker")
        self._make: Make = make or partial(choose, self._cluster.engine, own)
        self._identities: dict[str, dict[str, str]] = {}
        self._prepared: set[str] = set()
        self._open: Link | None = None
        self._lock = threading.Lock()

    @property
    def _link(self) -> Link:
        with self._lock:  # calls may come from several threads
            if self._open is None:
                self._open = connect(self._cluster)
            return self._open

    def close(self) -> None:
        """Ends the connection; the cluster goes on."""
        with self._lock:
            if self._open is not None:
                self._open.close()
            self._open = None

    def health(self, phase: Phase) -> str | None:
        """None, or what the first worker that is not ready says."""
        return self._first_word("health", phase)

    def can_prepare(self, phase: Phase) -> str | None:
        """None, or what the first worker that cannot be made ready says."""
        return self._first_word("can_prepare", phase)

    def _first_word(self, question: task.Question, phase: Phase) -> str | None:
        try:
            if not self._link.workers():
                return self._link.lacking()
            said = self._link.answers(self._make, question, phase, None)
        except McwbuildError as error:
            return f"{error.found or error.what}".rstrip(".")
        return next((f"{word} (on {address})" for address, word in said.items() if word is not None), None)

    def prepare(self, phase: Phase, emit: Emit) -> None:
        """Makes every worker ready that is not. Raises what the first one raises that cannot be."""
        said = self._link.answers(self._make, "health", phase, emit)
        self._prepared.add(phase.name)
        call = secrets.token_hex(8)
        words = self._link.ears.listen(call)
        futures = [
            self._link.client.submit(
                task.prepare, self._make, phase, self._link.ears.topic, call,
                key=f"mcwbuild_prepare-{call}-{number}", pure=False, workers=[address], allow_other_workers=False,
            )
            for number, (address, word) in enumerate(said.items()) if word is not None
        ]  # fmt: skip
        try:
            while not all(future.done() for future in futures):
                with suppress(queue.Empty):
                    _tell(words.get(timeout=TICK), emit)
            for future in futures:
                if error := self._outcome(future):
                    raise errors.from_dict(error)
            _tell_rest(words, emit)
        finally:
            self._link.client.cancel(futures)
            self._link.ears.forget(call)

    def identity(self, phase: Phase) -> dict[str, str]:
        """What all workers say of the phase alike. Raises EnvironmentLacking where they do not."""
        if phase.name not in self._identities:
            said = self._link.answers(self._make, "identity", phase, self._emit)
            for address, word in said.items():
                if "error" in word:
                    raise errors.from_dict(word["error"])
                first = next(iter(said))
                if word != said[first]:
                    raise task.disagreement(phase, {f"the worker {first}": said[first], f"the worker {address}": word})
            self._identities[phase.name] = dict(next(iter(said.values())))
        return dict(self._identities[phase.name])

    def run(self, call: StageCall, emit: Emit) -> int:
        """Runs the stage; see `Engine.run`."""
        self._link.awaited(emit)
        order = self._order(call)
        shared = self._link.objects.call(order.call)
        failed: set[str] = set()
        try:
            for number in range(1, TRIES + 1):
                report = _Attempt(self._link, order, call, emit, number, frozenset(failed)).run()
                failed.add(report.worker)
                try:
                    results.admit(report, shared / report.attempt, call.staging, call.log)
                    if report.error is None:
                        return int(report.code or 0)
                    raise errors.from_dict(report.error)
                except McwbuildError as error:
                    if error.kind not in _OF_THE_MACHINE or number == TRIES:
                        raise
                    emit(Noted(f"The step begins anew: {error.what} {error.found}", "warning"))
                    if error.kind == COPY:
                        tree.store(tree.of(call), self._link.objects, again=True)
        finally:
            with suppress(OSError):  # swept later
                disk.remove_tree(shared)
        raise AssertionError("the last attempt returns or raises")

    def _order(self, call: StageCall) -> Order:
        try:
            identity = self.identity(call.phase)
        except EnvironmentLacking:
            identity = {}  # the phase is not ready: the worker tells it better
        return Order(
            call=secrets.token_hex(8),
            topic=self._link.ears.topic,
            shared=str(self._link.objects.shared),
            tree=tree.store(tree.of(call), self._link.objects),
            make=self._make,
            version=versions.own(),
            identity=identity,
            prepare=call.phase.name in self._prepared,
            phase=call.phase,
            inputs=tuple((flag, str(path)) for flag, path in call.inputs),
            options=call.options,
            program=call.program,
            timeout=call.timeout,
            nonce=call.nonce,
        )

    def _outcome(self, future: Future) -> Any:
        return outcome(future, self._cluster)


def outcome(future: Future, cluster: Cluster) -> Any:
    """What the task returned. Raises EnvironmentLacking where its workers or the scheduler are lost."""
    try:
        return future.result()
    except KilledWorker as error:
        raise EnvironmentLacking(
            "The workers that ran this stage were lost, one after the other.",
            f"{error.allowed_failures + 1} of them; the last was {error.last_worker.address}.",
            "Look into its log: too little memory is the usual cause. Run again with fewer slots on a machine.",
            kind="workers-lost",
        ) from error
    except (CancelledError, OSError, TimeoutError) as error:
        raise lost(cluster, str(error)) from error


@dataclass
class _Attempt:
    """A task for the call, followed to its end; Dask gives it to another worker where one is lost."""

    link: Link
    order: Order
    call: StageCall
    emit: Emit
    number: int
    avoid: frozenset[str] = frozenset()  # workers that have failed, as long as there are others
    newest: str = ""
    heard: int = 0

    def run(self) -> Report:
        """The report of the newest attempt. Whatever ends this, no stage of it is left where its worker answers."""
        words = self.link.ears.listen(self.order.call)
        others = sorted(set(self.link.workers()) - self.avoid) if self.avoid else []
        future = self.link.client.submit(
            task.run,
            self.order,
            key=f"mcwbuild_{self.order.phase.name}-{self.order.call}-{self.number}",
            pure=False,
            resources=self.link.cluster.resources,
            workers=others or None,
            allow_other_workers=bool(others),
        )
        future.add_done_callback(lambda _: words.put(None))
        try:
            self._follow(words)
            report = results.from_data(outcome(future, self.link.cluster))
            self._drain(words, report)
            return report
        finally:
            if not future.done():
                self._end(future)
            self.link.ears.forget(self.order.call)

    def _follow(self, words: Words) -> None:
        """Tells what the attempt says until the task is over."""
        begin, told = time.monotonic(), ""
        while True:
            if self.call.stop is not None and self.call.stop.is_set():
                raise invocation.cut_short(self.call, Stopped())
            try:
                word = words.get(timeout=TICK)
            except queue.Empty:
                if not self.newest and time.monotonic() - begin > SAID_AFTER and (why := self._waiting()) != told:
                    self.emit(Noted(why, "warning"))
                    told = why
                continue
            if word is None:
                return
            self._take(word)

    def _waiting(self) -> str:
        found = self.link.workers()
        if not found:
            return f"Waiting. {self.link.lacking()}"
        return f"Waiting: {f'all {len(found)} workers are' if len(found) > 1 else 'the only worker is'} busy."

    def _take(self, word: Word) -> None:
        if not word.line and word.attempt != self.newest:
            if self.newest:
                self.emit(Noted(f"A worker was lost; the step begins anew on {word.worker}.", "warning"))
            self.newest, self.heard = word.attempt, 0
        if word.attempt == self.newest:
            self.heard += 1
            _tell(word, self.emit)

    def _drain(self, words: Words, report: Report) -> None:
        """The last words may come after the result; those of an attempt that counts are all told."""
        deadline = time.monotonic() + DRAIN
        while (self.newest != report.attempt or self.heard < report.said) and time.monotonic() < deadline:
            with suppress(queue.Empty):
                if (word := words.get(timeout=TICK)) is not None:
                    self._take(word)

    def _end(self, future: Future) -> None:
        """Cancels the task, and takes what its stage leaves when it ends: long work goes on from there."""
        future.cancel()
        folder = self.link.objects.call(self.order.call)
        begin = time.monotonic()
        while time.monotonic() - begin < (FAREWELL if _attempts(folder) else 1.0):
            for attempt in _attempts(folder):
                if attempt.name == (self.newest or attempt.name) and (report := results.read(attempt)) is not None:
                    with suppress(McwbuildError):
                        results.admit(report, attempt, self.call.staging, self.call.log)
                    return
            time.sleep(TICK / 2)


def _attempts(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _tell(word: Word | None, emit: Emit) -> None:
    event = from_line(word.line) if word is not None and word.line else None
    if event is not None:
        emit(event)


def _tell_rest(words: Words, emit: Emit) -> None:
    while not words.empty():
        _tell(words.get(), emit)
