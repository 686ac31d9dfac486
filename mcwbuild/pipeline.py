"""Run the steps of a plan: check what goes in, run the stage, gate what comes out, publish, tell."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from mcwbuild import freshness, gate, inspection
from mcwbuild.contract import documents, errors, look, manifest
from mcwbuild.contract.errors import ExitCode, GateFailed, InputError, Problem, StageFailed
from mcwbuild.contract.events import Event
from mcwbuild.contract.performance import missed_gate
from mcwbuild.contract.phases import RKNN
from mcwbuild.contract.resumable import TRAINING
from mcwbuild.engines import Engine, StageCall
from mcwbuild.package import Workspace, publish, require_own
from mcwbuild.plan import Step
from mcwbuild.process import git_commit


@dataclass(frozen=True)
class Outcome:
    """What became of a step: `fresh` packages were left alone; `missed` is the gate that was not passed."""

    step: Step
    state: Literal["made", "fresh"]
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


def execute(
    steps: Sequence[Step], engine: Engine, out: Path, reporter: Reporter, *, strict: bool = False
) -> list[Outcome]:
    """Run the steps in order. A missed gate ends the way for the phases that would build on it.

    `strict`: a gate that is undecided counts as missed; the packages are the same, so nothing is made anew for it.
    """
    outcomes: list[Outcome] = []
    with Workspace(out) as workspace:
        for step in steps:
            outcome = _take(_with_evaluation(step), engine, workspace, reporter)
            outcome = replace(outcome, missed=missed_gate(outcome.performance, step.phase, strict=strict))
            outcomes.append(outcome)
            reporter.end(outcome)
            if outcome.missed is not None and step.phase is not RKNN:
                break
    return outcomes


def missed_gates(outcomes: Iterable[Outcome]) -> GateFailed | None:
    """One error for all gates that were missed, or None."""
    missed = [outcome.missed for outcome in outcomes if outcome.missed is not None]
    if len(missed) < 2:
        return missed[0] if missed else None
    return GateFailed(
        "Gates were missed.", " ".join(f"{error.what} {error.found}" for error in missed), missed[0].remedy, kind="gate"
    )


def _take(step: Step, engine: Engine, workspace: Workspace, reporter: Reporter) -> Outcome:
    start = time.monotonic()
    log = workspace.log(step.name)
    reporter.begin(step, log)
    _require_files(step)
    require_own(step.package)
    hashes = freshness.input_hashes(step)
    key = freshness.key(step, engine.identity(step.phase), hashes)
    if not step.anew and freshness.is_fresh(step.package, key):
        if step.trains:
            workspace.forget(TRAINING)
        return _outcome(step, "fresh", start)
    staging = workspace.staging(step.phase)
    _run(_resumed(step, workspace), engine, staging, log, reporter)
    if freshness.input_hashes(step) != hashes:
        raise StageFailed(
            f"An input of the {step.phase.name} phase changed while it was read.",
            remedy="Run again when nothing writes to the inputs.",
            kind="inputs-changed",
        )
    package = workspace.staging(step.phase)
    gate.admit(staging / "out", step.phase, package)
    wrong = inspection.inspect(package, step.phase)
    if wrong:
        raise errors.gravest(wrong)
    if given := dict(step.inputs).get("--source"):
        inspection.inherits(package, step.phase, given)
    provenance = {
        "key": key,
        "engine": engine.name,
        "environment": dict(engine.identity(step.phase)),
        "git_commit": git_commit(step.inputs[0][1].parent),
    }
    manifest.amend(package, provenance)
    publish(package, step.package)
    if step.resumes is not None:
        workspace.forget(step.resumes)
    return _outcome(step, "made", start)


def _with_evaluation(step: Step) -> Step:
    """The step without an evaluation that the phase before did not keep: nothing was labelled there."""
    kept = (item for item in step.inputs if item[0] != "--evaluation" or look.is_file(item[1]))
    return replace(step, inputs=tuple(kept))


def _resumed(step: Step, workspace: Workspace) -> Step:
    """The step with the state of the work that it goes on with; the state is no part of the step's key."""
    if step.resumes is None:
        return step
    if step.anew:
        workspace.forget(step.resumes)
    state = workspace.state(step.resumes)
    return replace(step, inputs=(*step.inputs, ("--resume", state))) if state else step


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


def _run(step: Step, engine: Engine, staging: Path, log: Path, reporter: Reporter) -> None:
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
    )
    _judge(engine.run(call, reporter.emit), call)


def _outcome(step: Step, state: Literal["made", "fresh"], start: float) -> Outcome:
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
    if code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
        raise KeyboardInterrupt
    if not isinstance(outcome, dict) or outcome.get("nonce") != call.nonce or outcome.get("code") != code:
        raise StageFailed(
            f"The {call.phase.name} stage ended without an outcome.",
            f"Its exit code was {code}.",
            f"Its log is {call.log}; out of memory is the usual cause of code 137 or -9.",
            kind="no-outcome",
        )
    if outcome["status"] == "failed":
        raise errors.from_dict(outcome["error"])
