"""Engines run stages. Callers never ask which engine it is."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from mcwbuild.contract.errors import EnvironmentLacking, InputError, Refused
from mcwbuild.contract.events import Emit, Noted
from mcwbuild.contract.phases import PHASES, Phase

if TYPE_CHECKING:
    from mcwbuild.engines.dask.cluster import Cluster

EngineName = Literal["auto", "docker", "local", "dask"]
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
    program: str = ""  # another module below `stages` than the phase's own, to run in the phase's environment
    stop: threading.Event | None = None  # set by another thread: the stage is ended (StageFailed, kind `stopped`)
    share: int = 1  # so many stages of the run are at work at the same time: each has that part of the memory
    gpu: str | None = None  # the one GPU that it sees, as CUDA_VISIBLE_DEVICES names it; None: as it is set here


class Engine(Protocol):
    """Seven members, and one that `doctor` asks; one conformance suite runs every engine."""

    @property
    def name(self) -> str:
        """What people call it: `local`, `docker`, `dask`."""

    @property
    def elsewhere(self) -> bool:
        """Whether its stages run on other machines, so that those at the same time share nothing of this one."""

    def health(self, phase: Phase) -> str | None:
        """None: ready to run the phase now; else the reason in a few words. Changes nothing, asks no network."""

    def can_prepare(self, phase: Phase) -> str | None:
        """None: `prepare` may be tried on this machine; else the reason. Changes nothing, asks no network."""

    def prepare(self, phase: Phase, emit: Emit) -> None:
        """Makes it ready; at once where it is. Says how much it downloads before it does. Raises EnvironmentLacking."""

    def identity(self, phase: Phase) -> dict[str, str]:
        """What the phase's result depends on beside its inputs (lock, code), for step keys and the manifest.

        Makes nothing; the same before and after `prepare`. Raises EnvironmentLacking where it cannot be told.
        """

    def run(self, call: StageCall, emit: Emit) -> int:
        """Runs the stage to its end and gives its exit code; 128 + n where signal n ended it.

        When it returns or raises, no process of the stage is left. Raises EnvironmentLacking where the
        phase is not ready, StageFailed (kind `timeout` or `stopped`), and whatever `emit` raises.
        """


@dataclass(frozen=True)
class Wanted:
    """What a run asks of its engine: `memory` in bytes for a stage, RKNN-Toolkit2's version, walls.

    `confined`: the stage runs its input's own code, so only an engine with walls around it will do. `cluster`: where
    the dask engine finds its workers; what is asked of an engine is asked of theirs then.
    """

    memory: int | None = None
    toolkit: str | None = None
    confined: bool = False
    cluster: Cluster | None = None


def choose(name: str, wanted: Wanted | None = None, emit: Emit | None = None) -> Engine:
    """The engine of this name; `auto` takes docker where it is ready, else local, and says so in one line.

    Raises InputError, EnvironmentLacking where docker does not answer, Refused where code would run without walls.
    """
    wanted = wanted or Wanted()
    if name not in ENGINES:
        raise InputError(f"There is no engine {name!r}.", remedy=f"Take one of {', '.join(ENGINES)}.")
    if name == "dask":
        return _dask(wanted, emit)
    if name == "local":
        _require_nothing_of_docker(wanted)
    elif name == "docker" or wanted.confined or wanted.toolkit or _docker_is_ready(emit or (lambda _event: None)):
        from mcwbuild.engines.docker.engine import DockerEngine

        return DockerEngine(wanted.memory, wanted.toolkit)
    from mcwbuild.engines.local import LocalEngine

    return LocalEngine()


def _dask(wanted: Wanted, emit: Emit | None) -> Engine:
    if wanted.cluster is None:
        raise InputError(
            "The dask engine needs a scheduler.",
            "No --scheduler is given.",
            "Give --scheduler tcp://127.0.0.1:8786 or tls://HOST:8786, and --shared-folder DIR; see docs/dask.md.",
        )
    if wanted.cluster.engine == "local":
        _require_nothing_of_docker(wanted)
    try:
        from mcwbuild.engines.dask.engine import DaskEngine
    except ModuleNotFoundError as error:
        raise EnvironmentLacking(
            "The dask engine is not installed.",
            f"There is no module {error.name}.",
            "Install it: pip install 'mcwbuild[dask]'.",
            kind="dask",
        ) from error
    return DaskEngine(wanted.cluster, wanted, emit)


def _require_nothing_of_docker(wanted: Wanted) -> None:
    if wanted.confined:
        raise Refused(
            "The local engine does not run a checkpoint's own code.",
            "--trust-checkpoint or --model-code is given, and nothing would keep that code from this machine.",
            "Use --engine docker.",
            kind="trust",
        )
    if wanted.toolkit:
        raise InputError(
            "The local engine has one version of RKNN-Toolkit2.",
            f"--toolkit-version {wanted.toolkit} is given.",
            "Leave it out, or use --engine docker and `mcwbuild images build --toolkit-version`.",
        )


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
