"""Engines run stages. Callers never ask which engine it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

from mcwbuild.contract.errors import InputError
from mcwbuild.contract.events import Emit, Noted
from mcwbuild.contract.phases import PHASES, Phase

EngineName = Literal["auto", "docker", "local"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)


@dataclass(frozen=True)
class StageCall:
    """One run of one stage, as an engine gets it. All paths are absolute.

    The stage writes its package into `staging/out` and its outcome, with `nonce` in it, into
    `staging/result.json`; `staging` is private to the call and on the output's file system.
    """

    phase: Phase
    inputs: tuple[tuple[str, Path], ...]  # (flag, file): read, never written
    options: tuple[str, ...]  # the stage's further flags, as they are
    staging: Path
    log: Path  # gets what libraries print; bounded, written anew
    nonce: str
    timeout: float | None = None  # seconds; None: as long as it takes


class Engine(Protocol):
    """Six members, and one that `doctor` asks; one conformance suite runs every engine."""

    @property
    def name(self) -> str:
        """What people call it: `local`, `docker`."""

    def health(self, phase: Phase) -> str | None:
        """None: ready to run the phase now; else the reason in a few words. Changes nothing, asks no network."""

    def can_prepare(self, phase: Phase) -> str | None:
        """None: `prepare` may be tried on this machine; else the reason. Changes nothing, asks no network."""

    def prepare(self, phase: Phase, emit: Emit) -> None:
        """Makes it ready; at once where it is. Says how much it downloads before it does. Raises EnvironmentLacking."""

    def identity(self, phase: Phase) -> dict[str, str]:
        """What the phase's result depends on beside its inputs (lock, code), for step keys and the manifest.

        Makes nothing; the same before and after `prepare`.
        """

    def run(self, call: StageCall, emit: Emit) -> int:
        """Runs the stage to its end and gives its exit code; 128 + n where signal n ended it.

        When it returns or raises, no process of the stage is left. Raises EnvironmentLacking where the
        phase is not ready, StageFailed (kind `timeout`), and whatever `emit` raises.
        """


def choose(name: str, memory: int | None = None, emit: Emit | None = None) -> Engine:
    """The engine of this name; `auto` takes docker where it is ready, else local, and says so in one line.

    `memory` is a container's limit in bytes. Raises InputError, EnvironmentLacking where docker does not answer.
    """
    if name not in ENGINES:
        raise InputError(f"There is no engine {name!r}.", remedy=f"Take one of {', '.join(ENGINES)}.")
    if name == "docker" or (name == "auto" and _docker_is_ready(emit or (lambda _event: None))):
        from mcwbuild.engines.docker.engine import DockerEngine

        return DockerEngine(memory)
    from mcwbuild.engines.local import LocalEngine

    return LocalEngine()


def _docker_is_ready(emit: Emit) -> bool:
    """Whether a daemon answers and has an image for every phase; asked only where a daemon may be."""
    places = [Path("/var/run/docker.sock")]
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        places += [Path(runtime, "docker.sock"), Path(runtime, "podman", "podman.sock")]
    named = "DOCKER_HOST" in os.environ or "DOCKER_CONTEXT" in os.environ
    if not named and not any(place.exists() for place in places):
        emit(Noted("Engine: local. No Docker is here."))
        return False
    from mcwbuild.engines.docker.engine import DockerEngine

    engine = DockerEngine()
    for phase in PHASES.values():
        if reason := engine.health(phase):
            emit(Noted(f"Engine: local. Docker is not ready: {reason}. `mcwbuild images build` makes it so."))
            return False
    emit(Noted("Engine: docker."))
    return True
