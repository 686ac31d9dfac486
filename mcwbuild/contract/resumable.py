"""Where the state of long work lies that a later run goes on with after a kill."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Resumable:
    """One kind of work: `folder` is in the output folder, or in the package's where a stage runs alone; `staged` is the
    same in the stage's staging folder, beside its outcome; `file` is the state's name in either.
    """

    folder: str
    staged: str
    file: str


TRAINING = Resumable(".training", "training", "state.pt")
TUNING = Resumable(".tuning", "tuning", "tries.json")
KINDS = (TRAINING, TUNING)
