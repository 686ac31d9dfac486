"""Run the steps of a plan: check what goes in, run the stage, gate what comes out, publish, tell."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from mcwbuild import editors, freshness, gate, inspection
from mcwbuild.contract import documents, errors, look, manifest
from mcwbuild.contract.errors import ExitCode, GateFailed, InputError, McwbuildError, Problem, StageFailed
from mcwbuild.contract.events import Event
from mcwbuild.contract.performance import missed_gate
from mcwbuild.contract.phases import RKNN
from mcwbuild.engines import Engine, StageCall
from mcwbuild.package import Workspace, publish, require_own
from mcwbuild.plan import Step
from mcwbuild.process import git_commit
from mcwbuild.store import Store

State = Literal["made", "fresh", "stored"]


@dataclass(frozen=True)
class Outcome:
    """What became of a step: `fresh` packages were left alone, `stored` ones were taken from the store; `missed` is the
    gate that was not passed.
    """

    step: Step
    state: State
    seconds: float
    performance: dict[str, Any]
    missed: GateFailed | None


class Reporter(Protocol):
    """Who is told: the console, or a test."""

    def begin(self, step: Step, log: Path) -> None:
        """A step begins."""

    def emit(self, event: Event) -> None:
        """The stage of the present step says something."""

    def end(self, outcome: Outcome) -> None:
        """The step is done."""

    def beside(self) -> Reporter:
        """Who is told of steps that run while others do, from a thread of their own."""


@dataclass(frozen=True)
class _Run:
    """What all steps of a run have in common; `halt` is set when it is to end."""

    engine: Engine
    workspace: Workspace
    store: Store | None
    strict: bool
    halt: threading.Event
    share: int = 1  # so many of its stages are at work at the same time

    def take(self, steps: Sequence[Step], reporter: Reporter) -> list[Outcome]:
        """Run the steps one after the other, up to one whose gate ends the way."""
        outcomes: list[Outcome] = []
        for step in steps:
            if self.halt.is_set():
                raise StageFailed("The run was stopped before this step.", kind="stopped")
            outcome = _take(step.with_kept(), self, reporter)
            outcome = replace(outcome, missed=missed_gate(outcome.performance, step.phase, strict=self.strict))
            outcomes.append(outcome)
            reporter.end(outcome)
            if outcome.missed is not None and step.phase is not RKNN:
                break
        return outcomes


def execute(
    steps: Sequence[Step],
    engine: Engine,
    out: Path,
    reporter: Reporter,
    *,
    strict: bool = False,
    store: Store | None = None,
    at_once: int = 1,
) -> list[Outcome]:
    """Run the steps in order. A missed gate ends the way for the phases that would build on it.

    `store`: where packages of the same key are taken from, and kept. `strict`: a gate that is undecided counts as
    missed; the packages are the same, so nothing is made anew for it. `at_once`: as many builds for different targets
    run at the same time; where one fails the others end their work before its error is raised.
    """
    names = [step.name for step in steps]
    chains = _chains([step for step in steps if step.phase is RKNN])
    with Workspace(out) as workspace:
        run = _Run(engine, workspace, store, strict, threading.Event())
        if at_once < 2 or len(chains) < 2:
            return run.take(steps, reporter)
        first = [step for step in steps if step.phase is not RKNN]
        outcomes = run.take(first, reporter)
        if len(outcomes) < len(first) or any(outcome.missed is not None for outcome in outcomes):
            return outcomes
        made = _side_by_side(chains, run, reporter, min(at_once, len(chains)))
        return outcomes + sorted(made, key=lambda outcome: names.index(outcome.step.name))


def _chains(steps: Sequence[Step]) -> list[list[Step]]:
    """The steps for targets, in groups that know nothing of each other: what takes another's build comes behind it."""
    chains: dict[Path, list[Step]] = {}
    for step in steps:
        chains.setdefault(dict(step.inputs).get("--shared", step.package), []).append(step)
    return list(chains.values())


def _side_by_side(chains: Sequence[list[Step]], run: _Run, reporter: Reporter, at_once: int) -> list[Outcome]:
    """Run the groups at the same time, each in a thread, with its share of the processor's threads.

    The workspace is held by this process for all of them; their packages, staging folders and states lie in folders of
    their own. An interruption stops all stages, and is raised when they are gone.
    """
    shared = list(chains)
    if not run.engine.elsewhere:
        shared = [[step.sharing(at_once, len(os.sched_getaffinity(0))) for step in chain] for chain in chains]
    alone = 0 if run.engine.health(RKNN) is None else 1  # the first one makes what the engine needs
    outcomes = [outcome for chain in shared[:alone] for outcome in run.take(chain, reporter)]
    with ThreadPoolExecutor(at_once) as pool, ExitStack() as unless_done:
        unless_done.callback(run.halt.set)
        parts = replace(run, share=at_once)
        futures = [pool.submit(parts.take, chain, reporter.beside()) for chain in shared[alone:]]
        left = set(futures)
        while left:  # in short waits, between which ^C and SIGTERM arrive
            _, left = wait(left, timeout=0.5)
        unless_done.pop_all()
    return outcomes + [outcome for future in futures for outcome in future.result()]


def missed_gates(outcomes: Iterable[Outcome]) -> GateFailed | None:
    """One error for all gates that were missed, or None."""
    missed = [outcome.missed for outcome in outcomes if outcome.missed is not None]
    if len(missed) < 2:
        return missed[0] if missed else None
    return GateFailed(
        "Gates were missed.", " ".join(f"{error.what} {error.found}" for error in missed), missed[0].remedy, kind="gate"
    )


def _take(step: Step, run: _Run, reporter: Reporter) -> Outcome:
    engine, workspace, store = run.engine, run.workspace, run.store
    start = time.monotonic()
    log = workspace.log(step.name)
    reporter.begin(step, log)
    _require_files(step)
    require_own(step.package)
    hashes = freshness.input_hashes(step)
    parts = freshness.ingredients(step, engine.identity(step.phase), hashes)
    key = freshness.key_of(parts)
    if not step.anew and freshness.is_fresh(step.package, key):
        return _ended(step, "fresh", workspace, start)
    if not step.anew and store is not None and key in store:
        package = workspace.staging(step.phase, step.package.parent)
        if store.take(key, step.phase, package, reporter.emit):
            manifest.amend(package, {"places": freshness.places(step)})  # it was made of the same elsewhere
            _publish(package, step)
            return _ended(step, "stored", workspace, start)
    staging = workspace.staging(step.phase, step.package.parent)
    _run(_resumed(step, workspace), engine, staging, log, reporter, run.halt, run.share)
    if freshness.input_hashes(step) != hashes:
        raise StageFailed(
            f"An input of the {step.phase.name} phase changed while it was read.",
            remedy="Run again when nothing writes to the inputs.",
            kind="inputs-changed",
        )
    package = workspace.staging(step.phase, step.package.parent)
    gate.admit(staging / "out", step.phase, package)
    wrong = inspection.inspect(package, step.phase)
    if wrong:
        raise errors.gravest(wrong)
    if given := dict(step.inputs).get("--source"):
        inspection.inherits(package, step.phase, given)
    provenance = {
        "key": key,
        "ingredients": parts,
        "places": freshness.places(step),
        "engine": engine.name,
        "environment": dict(engine.identity(step.phase)),
        "git_commit": git_commit(step.inputs[0][1].parent),
    }
    manifest.amend(package, provenance)
    _publish(package, step)
    if store is not None:
        store.put(key, step.package)
    return _ended(step, "made", workspace, start)


def _publish(package: Path, step: Step) -> None:
    publish(package, step.package)
    editors.place(step.package.parent)


def _ended(step: Step, state: State, workspace: Workspace, start: float) -> Outcome:
    """The step's package is there: the state of its long work is of no use any more."""
    for kind in step.resumes:
        workspace.forget(kind, step.package.parent)
    return _outcome(step, state, start)


def _resumed(step: Step, workspace: Workspace) -> Step:
    """The step with the state of the work that it goes on with; the state is no part of the step's key."""
    if step.anew:
        for kind in step.resumes:
            workspace.forget(kind, step.package.parent)
    found = ((kind.flag, workspace.state(kind, step.package.parent)) for kind in step.resumes)
    states = tuple((flag, state) for flag, state in found if state is not None)
    return replace(step, inputs=(*step.inputs, *states))


def describe(step: Step, engine: Engine, scratch: Path, reporter: Reporter) -> Path:
    """Run the pt stage's `--describe`; returns the training_source.yaml that it wrote below `scratch`."""
    return one_document(step, engine, scratch, scratch / "pt.log", reporter, step.phase.source)


def one_document(step: Step, engine: Engine, scratch: Path, log: Path, reporter: Reporter, name: str) -> Path:
    """Run a stage that writes the document `name` and no package; returns where it lies below `scratch`."""
    staging, admitted = scratch / "staging", scratch / "admitted"
    staging.mkdir(mode=0o700)
    admitted.mkdir()
    reporter.begin(step, log)
    _require_files(step)
    _run(step, engine, staging, log, reporter)
    gate.admit(staging / "out", step.phase, admitted, only=[name])
    return admitted / name


def _run(
    step: Step,
    engine: Engine,
    staging: Path,
    log: Path,
    reporter: Reporter,
    halt: threading.Event | None = None,
    share: int = 1,
) -> None:
    """Run the step's stage into `staging`. Raises the error that the stage ended with."""
    engine.prepare(step.phase, reporter.emit)
    call = StageCall(
        phase=step.phase,
        inputs=tuple((flag, look.real(path)) for flag, path in step.inputs),
        options=step.options,
        staging=staging,
        log=log,
        nonce=secrets.token_hex(8),
        timeout=None,
        stop=halt,
        share=share,
    )
    try:
        _judge(engine.run(call, reporter.emit), call)
    except McwbuildError as error:
        error.log = str(log)
        raise


def _outcome(step: Step, state: State, start: float) -> Outcome:
    record = documents.read_json(step.package / step.phase.performance).value
    return Outcome(step, state, time.monotonic() - start, record, None)


def _require_files(step: Step) -> None:
    missing = [Problem("there is no such file", file=str(path)) for flag, path in step.inputs if not _there(flag, path)]
    if missing:
        raise InputError(f"The {step.phase.name} phase lacks an input.", problems=missing, kind="missing")


def _there(flag: str, path: Path) -> bool:
    """Whether an input is there; a dataset may be a folder, and so is a checkpoint's own code."""
    return look.is_file(path) or (
        flag in ("--data", "--dataset", "--model-code", "--pack", "--shared") and look.is_folder(path)
    )


def _judge(code: int, call: StageCall) -> None:
    """Success is exit 0 or 3 and an outcome with this run's nonce; all else becomes one typed error."""
    outcome = gate.outcome(call.staging)
    if code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):  # not by this program: it would not look any more
        raise StageFailed(
            f"The {call.phase.name} stage was stopped by somebody else.",
            f"Its exit code was {code}; a Docker daemon that is stopped ends its containers so.",
            f"Run again: what is done stays done. Its log is {call.log}.",
            kind="stopped",
        )
    if not isinstance(outcome, dict) or outcome.get("nonce") != call.nonce or outcome.get("code") != code:
        raise StageFailed(
            f"The {call.phase.name} stage ended without an outcome.",
            f"Its exit code was {code}.",
            f"Its log is {call.log}; out of memory is the usual cause of code 137 or -9.",
            kind="no-outcome",
        )
    if outcome["status"] == "failed":
        raise errors.from_dict(outcome["error"])
