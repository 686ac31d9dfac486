"""The three phases: the only table of their names and files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PhaseName = Literal["pt", "onnx", "rknn"]

MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Phase:
    """One phase: what its package is called and what lies in it.

    `artefacts` are always there unless listed in `optional`; the documents, the manifest and the
    sums always are. `evaluation` is what the next phase draws intervals from; it is there where accuracy was measured.
    `results` is what was found in some of the images, for people to see.
    `board` is what a board measured of the package; it comes later, by `mcwbuild board merge`.
    """

    name: PhaseName
    title: str
    previous: PhaseName | None
    artefacts: tuple[str, ...]
    optional: tuple[str, ...]
    source: str
    performance: str
    evaluation: str = ""
    results: str = ""
    board: str = ""

    @property
    def package(self) -> str:
        """The package's folder name."""
        return f"{self.name}_package"

    @property
    def source_schema(self) -> str:
        """The schema of the source document: its file name without the suffix."""
        return self.source.removesuffix(".yaml")

    @property
    def performance_schema(self) -> str:
        """The schema of the performance record: its file name without the suffix."""
        return self.performance.removesuffix(".json")

    @property
    def board_schema(self) -> str:
        """The schema of the board's record: its file name without the suffix."""
        return self.board.removesuffix(".json")

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that the package may hold."""
        later = tuple(name for name in (self.evaluation, self.results, self.board) if name)
        return (*self.artefacts, self.source, self.performance, *later, MANIFEST, SUMS)


_EVALUATIONS = ("evaluation_pt.npz", "evaluation_onnx.npz")
_RESULTS = ("results_pt.json", "results_onnx.json", "results_rknn.json")
PT = Phase(
    "pt",
    "baseline",
    None,
    ("best.pt",),
    (_EVALUATIONS[0], _RESULTS[0]),
    "training_source.yaml",
    "performance_pt.json",
    _EVALUATIONS[0],
    _RESULTS[0],
)
ONNX = Phase(
    "onnx",
    "export",
    "pt",
    ("best.onnx",),
    (_EVALUATIONS[1], _RESULTS[1]),
    "onnx_source.yaml",
    "performance_onnx.json",
    _EVALUATIONS[1],
    _RESULTS[1],
)
RKNN = Phase(
    "rknn",
    "conversion",
    "onnx",
    ("best_fp16.rknn", "best_int8.rknn", "npu_inference.py", "expected_fp16.npz", "expected_int8.npz"),
    (
        "best_fp16.rknn",
        "best_int8.rknn",
        "expected_fp16.npz",
        "expected_int8.npz",
        _RESULTS[2],
        "performance_rknn.device.json",
    ),
    "rknn_source.yaml",
    "performance_rknn.json",
    results=_RESULTS[2],
    board="performance_rknn.device.json",
)
PHASES: dict[PhaseName, Phase] = {phase.name: phase for phase in (PT, ONNX, RKNN)}
