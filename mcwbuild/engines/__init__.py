"""Engines run stages. Callers never ask which engine it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mcwbuild.contract.errors import InputError
from mcwbuild.contract.events import Emit
from mcwbuild.contract.phases import Phase


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
    reads: tuple[Path, ...] = ()  # folders that the stage reads beside its inputs: the dataset's
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


def _local() -> Engine:
    from mcwbuild.engines.local import LocalEngine

    return LocalEngine()


_ENGINES: dict[str, Callable[[], Engine]] = {"auto": _local, "local": _local}


def choose(name: str) -> Engine:
    """The engine of this name; `auto` takes the best one that answers. Raises InputError."""
    if name not in _ENGINES:
        raise InputError(f"There is no engine {name!r}.", remedy=f"Take one of {', '.join(_ENGINES)}.")
    return _ENGINES[name]()
