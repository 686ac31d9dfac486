"""An evaluation that is killed goes on where it was: what it has found is kept now and then, and taken up again.

Kept are the results of the images behind the timed ones; those are run each time, because their time is what is
measured. Labels are not kept: what results are judged by is made anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np

from mcwbuild.contract import disk
from mcwbuild.contract.resumable import Resumable
from stages.common import evaluation_state
from stages.common.evaluation_state import MAX_BYTES, Found

EVERY = 5.0  # seconds that a kill may cost
_SHARE = 100  # times as long as it took to keep the last state, before the next one is kept: 1 % of the time


@dataclass(frozen=True)
class Place:
    """Where an evaluation's state is kept, where an earlier run left one (or None); `own`: nobody else removes it."""

    path: Path
    earlier: Path | None
    own: bool

    def forget(self) -> None:
        """The package is there: the state is of no use any more."""
        if self.own:
            with suppress(OSError):
                disk.remove_tree(self.path.parent)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flag of a phase that evaluates once."""
    told = "the state of an evaluation that was stopped"
    parser.add_argument("--resume-evaluation", type=Path, metavar="STATE", help=told)


def place_of(args: argparse.Namespace, kind: Resumable) -> Place:
    """Where the state is: in the staging folder, or in the package's where the stage runs alone."""
    own = args.result is None
    path = (args.out / kind.folder if own else args.result.parent / kind.staged) / kind.file
    given: Path | None = getattr(args, kind.flag.removeprefix("--").replace("-", "_"))
    return Place(path, given or (path if own and path.is_file() else None), own)


@dataclass(frozen=True)
class Keeping:
    """That an evaluation is kept: where, `about` all that its results depend on beside what the evaluator knows
    (JSON data; a function, because to gather it takes time and most evaluations end before), and who is told.
    """

    place: Place
    about: Callable[[], Mapping[str, Any]]
    note: Callable[[str], None]


@dataclass
class Keeper:
    """One evaluation under way, of the `task` with so many `classes`; `known`: what the evaluator knows of it.

    `images` are all of them, of which the first `timed` are not kept.
    """

    keeping: Keeping
    task: str
    classes: int
    known: Mapping[str, Any]
    images: Sequence[Path | np.ndarray]
    timed: int
    _found: list[Found] = field(default_factory=list)
    _key: str = ""
    _bytes: int = 0
    _next: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._next += EVERY

    def earlier(self) -> list[Found]:
        """What an earlier run has found in the first images behind the timed ones; it is told."""
        left = self.keeping.place.earlier
        if left is None or self.timed >= len(self.images):
            return []
        found = evaluation_state.read(left, self.task, self._own_key(), self.classes)
        if not found or self.timed + len(found) > len(self.images):
            return []
        at, total = self.timed + len(found), len(self.images)
        self.keeping.note(f"The evaluation goes on at image {at} of {total}: an earlier run was stopped there.")
        return found

    def add(self, found: Found) -> None:
        """The next image's, which is kept where it is time for that."""
        self._found.append(found)
        self._bytes += evaluation_state.size_of(found.result)
        if time.monotonic() >= self._next:
            self._save()

    def end(self) -> None:
        """All images are through: where it took long, the rest of the phase may be killed without a loss."""
        if time.monotonic() >= self._next or self.keeping.place.path.is_file():
            self._save()

    def _save(self) -> None:
        """Write the state, whole or not at all. What is too large or of a form that is not known is not kept."""
        key, began = self._own_key(), time.monotonic()
        if self._found and self._bytes <= MAX_BYTES:
            with suppress(OSError, ValueError):
                data = evaluation_state.encode(self.task, key, self._found)
                if len(data) <= MAX_BYTES:
                    self.keeping.place.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    disk.write_atomic(self.keeping.place.path, data)
        ended = time.monotonic()
        self._next = ended + max(EVERY, _SHARE * (ended - began))

    def _own_key(self) -> str:
        """SHA-256 of all that the results depend on: a state with another key is of another evaluation."""
        if not self._key:
            parts = {
                "about": self.keeping.about(),
                "known": self.known,
                "images": [_image(image) for image in self.images],
                "code": _code(),
                "tools": sorted((found.name, found.version) for found in distributions()),
            }
            self._key = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
        return self._key


def _image(image: Path | np.ndarray) -> str:
    """SHA-256 of an image; empty for a file that cannot be read, which the evaluator says."""
    if not isinstance(image, Path):
        return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()
    try:
        return disk.sha256_of(image)
    except OSError:
        return ""


def _code() -> str:
    """SHA-256 of the stages' programs."""
    root, whole = Path(__file__).parents[1], hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        whole.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return whole.hexdigest()
