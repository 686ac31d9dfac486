"""The local engine: each stage in a Python environment of its own on this machine, no container."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcwbuild.contract.errors import EnvironmentLacking
from mcwbuild.contract.events import Emit
from mcwbuild.contract.phases import PHASES, Phase
from mcwbuild.engines import StageCall, code, environments, forked, gpus, invocation, machine, supervised
from mcwbuild.engines.environments import cache_folder
from mcwbuild.engines.forked import Prepared
from mcwbuild.engines.patience import Patience, Stopped, TimedOut

__all__ = ["LocalEngine", "cache_folder"]

# Passed on where they are set: which GPUs, and where a Python of one's own has its library.
_PASSED = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "TZ")


class LocalEngine:
    """Environments made with uv from hashed locks, a clean process environment, and no process left behind."""

    name = "local"
    elsewhere = False

    def __init__(self, source: Path | None = None, loaded: str = "") -> None:
        """`source` is a code folder to run instead of the shipped stages', `loaded` what its fork servers import."""
        self._source, self._loaded = source, loaded

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
        folders = _folders(call.staging)
        try:
            source = self._code()
            for folder in folders.values():
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentLacking(
                f"The {call.phase.name} stage cannot be started.", f"{error}.", "Free disk space.", kind="disk"
            ) from error

        threads = invocation.threads(call.options) or len(os.sched_getaffinity(0))
        try:
            with gpus.held(call, emit) as alone:
                return supervised.run(
                    command(python, alone),
                    {**environment(python, source, folders, threads), **invocation.gpu(alone)},
                    folders["work"],
                    call.log,
                    emit,
                    Patience.begin(call.timeout, call.stop),
                    forked.server_of(self._prepared(call.phase, python, source, threads)),
                )
        except (TimedOut, Stopped) as error:
            raise invocation.cut_short(call, error) from error

    def _code(self) -> Path:
        return self._source or code.folder(cache_folder())

    def _prepared(self, phase: Phase, python: Path, source: Path, threads: int) -> Prepared:
        same = environment(python, source, _folders(Path("/stage")), threads)
        return Prepared(phase.name, python, same, self._loaded or f"stages.{phase.name}.loaded")

    @contextmanager
    def forking(self, threads: int) -> Iterator[dict[str, str]]:
        """Fork servers for stages with so many `threads`, of all phases that are ready; see `forked.servers`."""
        with tempfile.TemporaryDirectory(prefix="mcwbuild-server-", ignore_cleanup_errors=True) as name:
            wanted = []
            for phase in PHASES.values():
                if self.health(phase) is None:
                    folders = _folders(Path(name, phase.name))
                    for folder in folders.values():
                        folder.mkdir(parents=True)
                    python, source = self.python(phase), self._code()
                    own = environment(python, source, folders, threads)
                    wanted.append((self._prepared(phase, python, source, threads), own))
            with forked.servers(wanted) as told:
                yield told


def _folders(staging: Path) -> dict[str, Path]:
    """Folders that a stage has of its own."""
    return {name: staging / name for name in ("home", "tmp", "work")}


def command(python: Path, call: StageCall) -> list[str]:
    """The same words as in a container: `python -m stages.<phase> ...`."""
    return [str(python), *invocation.words(call, lambda _flag, path: str(path), str(call.staging))]


def environment(python: Path, source: Path, folders: dict[str, Path], count: int) -> dict[str, str]:
    """All that the stage's environment holds: nothing of the caller's leaks into it, or into a `.rknn`."""
    return {
        "PATH": f"{python.parent}:/usr/bin:/bin",
        "PYTHONPATH": str(source),
        **invocation.environment(str(folders["home"]), str(folders["tmp"]), count),
        **invocation.bounds(),
        **invocation.passed(*_PASSED),
    }
