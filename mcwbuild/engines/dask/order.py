"""What crosses between driver and worker: the order of one call, and the report on one attempt at it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mcwbuild.contract.phases import PHASES, Phase
from mcwbuild.engines import Engine

Make = Callable[[], Engine]  # called on the worker: its own engine, a new one for each task


@dataclass(frozen=True)
class Order:
    """One call, as every attempt at it gets it. `tree` is the SHA-256 of the object that lists its files.

    `program` to `nonce` are the `StageCall`'s. `version` and `identity` must be the worker's own; `prepare` says that
    a phase that is not ready may be made so.
    """

    call: str
    topic: str
    shared: str
    tree: str
    make: Make
    version: str
    identity: Mapping[str, str]
    prepare: bool
    phase: Phase
    inputs: tuple[tuple[str, str], ...]
    options: tuple[str, ...]
    program: str
    timeout: float | None
    nonce: str


def here(phase: Phase) -> Phase:
    """This process's own object of a phase that came from another one: engines ask `phase is PT`."""
    return next((own for own in PHASES.values() if own == phase), phase)


@dataclass(frozen=True)
class Kept:
    """A file that the attempt left: its place in the staging folder, its name in the attempt's folder, its hash."""

    place: str
    name: str
    sha256: str


@dataclass(frozen=True)
class Odd:
    """What the stage left in a file's place: told, never copied. `kind` is `link`, `large` or `other`."""

    place: str
    kind: str
    size: int = 0


@dataclass(frozen=True)
class Report:
    """What became of an attempt: the exit code, or the typed error as data; the files; how many events were told.

    `prefix` is the folder below which the worker had laid out the files.
    """

    attempt: str
    worker: str
    code: int | None
    error: Mapping[str, Any] | None
    files: tuple[Kept, ...]
    odd: tuple[Odd, ...]
    said: int
    prefix: str
