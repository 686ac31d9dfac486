"""Where the state of long work lies that a later run goes on with after a kill."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Resumable:
    """One kind of work: `folder` is in the output folder, or in the package's where a stage runs alone; `staged` is the
    same in the stage's staging folder, beside its outcome; `file` is the state's name in either, `flag` gives it to a
    stage of the `phase`, the only one that leaves it.
    """

    phase: str
    folder: str
    staged: str
    file: str
    flag: str


def _evaluation(phase: str, name: str, flag: str) -> Resumable:
    return Resumable(phase, f".evaluation-{name}", f"evaluation-{name}", f"{name}.npz", flag)


TRAINING = Resumable("pt", ".training", "training", "state.pt", "--resume")
TUNING = Resumable("rknn", ".tuning", "tuning", "tries.json", "--resume")
# Two variants are built at the same time, so each has its own.
EVALUATIONS = {
    "pt": _evaluation("pt", "pt", "--resume-evaluation"),
    "onnx": _evaluation("onnx", "onnx", "--resume-evaluation"),
    "fp16": _evaluation("rknn", "fp16", "--resume-fp16"),
    "int8": _evaluation("rknn", "int8", "--resume-int8"),
}
KINDS = (TRAINING, TUNING, *EVALUATIONS.values())
