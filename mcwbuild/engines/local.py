"""The local engine: each stage in a Python environment of its own on this machine, no container."""

from __future__ import annotations

import os
from pathlib import Path

from mcwbuild.contract.errors import EnvironmentLacking
from mcwbuild.contract.events import Emit
from mcwbuild.contract.phases import Phase
from mcwbuild.engines import StageCall, code, environments, invocation, machine, supervised
from mcwbuild.engines.environments import cache_folder

__all__ = ["LocalEngine", "cache_folder"]

# Passed on where they are set: which GPUs, and where a Python of one's own has its library.
_PASSED = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "TZ")


class LocalEngine:
    """Environments made with uv from hashed locks, a clean process environment, and no process left behind."""

    name = "local"

    def __init__(self, source: Path | None = None) -> None:
        """`source` is a code folder to run instead of the shipped stages'."""
        self._source = source

    def health(self, phase: Phase) -> str | None:
        """None, or what is missing."""
        if reason := machine.unsuitable():
            return reason
        return None if environments.find(phase) else "its environment is made at the first run"

    def can_prepare(self, phase: Phase) -> str | None:
        """None, or why no environment can be made on this machine."""
        return machine.unsuitable()

    def prepare(self, phase: Phase, emit: Emit) -> None:
        """Makes the phase's environment unless it is there. Raises EnvironmentLacking."""
        environments.make(phase, emit)

    def identity(self, phase: Phase) -> dict[str, str]:
        """The SHA-256 of the locks and of the stages' code."""
        return {**environments.intended(phase).locks.identity(), "code": code.sha256()}

    def python(self, phase: Phase) -> Path:
        """The interpreter of the phase's environment. Raises EnvironmentLacking where it is not made."""
        found = environments.find(phase)
        if found is None:
            raise EnvironmentLacking(
                f"The {phase.name} stage cannot run.", f"{self.health(phase)}.", "Prepare it first.", kind="health"
            )
        return found.python

    def run(self, call: StageCall, emit: Emit) -> int:
        """Runs the stage; see `Engine.run`."""
        python = self.python(call.phase)
        folders = {name: call.staging / name for name in ("home", "tmp", "work")}
        try:
            source = self._source or code.folder(cache_folder())
            for folder in folders.values():
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentLacking(
                f"The {call.phase.name} stage cannot be started.", f"{error}.", "Free disk space.", kind="disk"
            ) from error

        try:
            return supervised.run(
                command(python, call),
                environment(python, source, folders, invocation.threads(call.options) or len(os.sched_getaffinity(0))),
                folders["work"],
                call.log,
                emit,
                call.timeout,
            )
        except supervised.TimedOut as error:
            raise invocation.timed_out(call) from error


def command(python: Path, call: StageCall) -> list[str]:
    """The same words as in a container: `python -m stages.<phase> ...`."""
    return [str(python), *invocation.words(call, lambda _flag, path: str(path), str(call.staging))]


def environment(python: Path, source: Path, folders: dict[str, Path], count: int) -> dict[str, str]:
    """All that the stage's environment holds: nothing of the caller's leaks into it, or into a `.rknn`."""
    return {
        "PATH": f"{python.parent}:/usr/bin:/bin",
        "PYTHONPATH": str(source),
        **invocation.environment(str(folders["home"]), str(folders["tmp"]), count),
        **invocation.passed(*_PASSED),
    }
