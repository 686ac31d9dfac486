"""One build by the toolkit's process: given its job, listened to, and no way to fail unseen."""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from mcwbuild.contract import errors
from mcwbuild.contract.events import Emit, Noted, Started, from_line
from stages.rknn import compiler_log, failures
from stages.rknn.children import Child, Children
from stages.rknn.compiler_log import CompilerLog
from stages.rknn.job import ANSWER, Job, Measured

SILENCE = 1800.0  # seconds; mmse works for minutes on one layer of a large model without a word
MOST_RULES = 8  # rules that are turned off: each costs a build, and a graph that needs more is one for a person
_POLL = 0.2  # seconds between two looks at the process


@dataclass(frozen=True)
class Built:
    """A variant that was built and measured: the file, what the child measured, what the compiler said.

    disabled_rules: the toolkit's fusion rules that failed on this graph, and were turned off.
    """

    file: Path
    measured: Measured
    log: CompilerLog
    disabled_rules: tuple[str, ...] = ()


def run(job: Job, child: Child, emit: Emit, silence: float = SILENCE) -> Built:
    """Have `child` do `job`, and return what came of it; it is ended then.

    Raises StageFailed for every way in which the toolkit fails: a refusal, a crash, out of memory, a hang,
    and a success that no board can run; EnvironmentLacking where the toolkit is not there; what the evaluator
    raises as it is.
    """
    watch = _Watch(emit)
    answer_file = child.folder / ANSWER
    try:
        child.give(job)
        code = _wait(child, watch, silence)
    finally:
        child.end()
        log = _publish(child.log)
    if code is None:
        raise failures.hung(job.variant, watch.step, silence)
    if not answer_file.is_file():
        if code < 0:
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            raise failures.killed(job.variant, watch.step, -code, peak, log)
        raise failures.vanished(job.variant, watch.step, code, log)
    answer = json.loads(answer_file.read_text("ascii"))
    if "error" in answer:
        raise errors.from_dict(answer["error"])
    if "failure" in answer:
        raise failures.refused(job.variant, answer["failure"]["step"], answer["failure"]["cause"], log)
    if log.unsupported:
        raise failures.unsupported(job.variant, log.unsupported, job.platform)
    return Built(Path(job.export), Measured(**answer["measured"]), log)


def run_without_failing_rules(job: Job, children: Children, emit: Emit) -> Built:
    """`run` by the build's child; where a fusion rule of the toolkit fails, again with that rule off, and told.

    A rule that failed stays off for all builds of these children. Raises what `run` raises.
    """
    child = children.of(job.name)
    while True:
        job = replace(job, disabled_rules=children.failing_rules)
        try:
            return replace(run(job, child, emit), disabled_rules=job.disabled_rules)
        except failures.RuleFailed as failed:
            if failed.rule in job.disabled_rules or len(job.disabled_rules) == MOST_RULES:
                raise
            text = f"The toolkit's fusion rule {failed.rule} fails on this graph: the {job.name} build begins again"
            emit(Noted(f"{text} without it.", "warning"))
            child = children.without_rule(job.name, failed.rule)


class _Watch:
    """The child's reports: passed on, with the name of the last part that began."""

    def __init__(self, emit: Emit) -> None:
        self.step = "its start"
        self._emit, self._rest = emit, b""

    def take(self, data: bytes) -> None:
        """Pass on the events in the bytes that came from the pipe."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            event = from_line(line.decode("ascii", "replace"))
            if event is not None:
                self.step = event.name if isinstance(event, Started) else self.step
                self._emit(event)


def _wait(child: Child, watch: _Watch, silence: float) -> int | None:
    """Pass on reports until the process ends; a sign of life is a report or a longer log.

    Returns its exit code, negative for a signal, or None where it hung.
    """
    if not child.begins(silence):
        return None
    if child.process is None:
        return child.returncode
    process, reader = child.process, child.reader
    alive, size, open_pipe = time.monotonic(), 0, True
    ended = os.pidfd_open(process.pid)
    try:
        while process.poll() is None:
            ready = select.select([ended, *[reader][:open_pipe]], [], [], _POLL)[0]
            if reader in ready:
                data = os.read(reader, 1 << 16)
                open_pipe = bool(data)
                watch.take(data)
                alive = time.monotonic()
            length = child.log.stat().st_size
            if length != size:
                size, alive = length, time.monotonic()
            if time.monotonic() - alive > silence:
                return None
    finally:
        os.close(ended)
    while open_pipe and select.select([reader], [], [], 0)[0]:
        data = os.read(reader, 1 << 16)
        open_pipe = bool(data)
        watch.take(data)
    return process.returncode


def _publish(log: Path) -> CompilerLog:
    """Read the log; it goes to standard error too, which the orchestrator keeps (a terminal is spared it)."""
    text = log.read_text("utf-8", "replace") if log.is_file() else ""
    if not sys.stderr.isatty():
        sys.stderr.write(compiler_log.readable(text))
        sys.stderr.flush()
    shutil.rmtree(log.parent / "tmp", ignore_errors=True)
    return compiler_log.parse(text)
