"""How many calibration images are enough: the activations' ranges over 8, 16, 32, ... images, until they stand still.

The toolkit's `normal` algorithm takes the ranges as they are; here ONNX Runtime gives the same without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from stages.common.images import normalise
from stages.rknn.reference import BROKEN

SIZES = (8, 16, 32, 64, 128)
LEAST = 32  # of them: Rockchip advises 20 to 100 images
STILL = 2.0  # percent: the eighth part of an eight-bit step of a range is 0.05 %, and INT8's own errors are above 1 %
WITHOUT = 50  # images where there is no curve: the middle of what Rockchip advises
LARGE = 256 << 20  # bytes of an ONNX file: another session of it would take its size in memory twice
_WITH_WEIGHTS = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))


@dataclass(frozen=True)
class Point:
    """One size, and by how many percent of its ranges they were still narrower at half of it; None for the first."""

    images: int
    moved: float | None


class SizeCurve:
    """The curve so far. `take` is called with one prepared image after the other, and says when it is enough.

    A graph that ONNX Runtime cannot run has no curve: `reason` says why, and `WITHOUT` images are enough.
    """

    def __init__(self, model: Path, contract: Mapping[str, Any], threads: int) -> None:
        self.points: list[Point] = []
        self.reason = ""
        self._contract, self._taken = contract, 0
        self._session: onnxruntime.InferenceSession | None = None
        self._low: NDArray[np.float64] | None = None
        self._high: NDArray[np.float64] | None = None
        self._before: NDArray[np.float64] | None = None
        if model.stat().st_size > LARGE:
            self.reason = f"the ONNX file is larger than {LARGE >> 20} MB"
            return
        try:
            self._session = _session(model, threads)
        except BROKEN as error:
            self.reason = f"ONNX Runtime cannot run the graph: {_first_line(error)}"

    def take(self, prepared: NDArray[np.uint8]) -> bool:
        """Add an image uint8 [H, W, C]; True when no more are needed."""
        self._taken += 1
        if self._session is not None:
            try:
                self._widen(self._of_one(prepared))
            except BROKEN as error:
                self._session, self.reason = None, f"ONNX Runtime failed: {_first_line(error)}"
        if self._session is None:
            return self._taken >= WITHOUT
        if self._taken not in SIZES:
            return False
        self._mark()
        moved = self.points[-1].moved
        still = moved is not None and moved <= STILL and self._taken >= LEAST
        return still or self._taken == SIZES[-1]

    @property
    def limit(self) -> float:
        """By how many percent the ranges may still move."""
        return STILL

    def in_words(self, taken: int, there: int) -> str:
        """Why `taken` images of those that are `there` were enough."""
        if self.reason:
            return f"{taken} images: {self.reason}"
        last = self.points[-1] if self.points else None
        if last is None or last.images != taken or last.moved is None:
            return f"all {there} images that there are"
        half = f"the ranges of {taken // 2} images were {last.moved:g} % narrower"
        if last.moved > STILL:
            return f"{half}, and {taken} are the most that are taken"
        return f"{half}, and {STILL:g} % is taken for standing still"

    @property
    def ranges(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Least and greatest values so far: of the input's channels, then of each tensor that is watched."""
        assert self._low is not None
        assert self._high is not None
        return self._low, self._high

    def _of_one(self, prepared: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The ranges of one image."""
        assert self._session is not None
        (name,) = (given.name for given in self._session.get_inputs())
        found = np.array(self._session.run(None, {name: normalise(prepared, self._contract)}), np.float64)
        low, high = prepared.min(axis=(0, 1)), prepared.max(axis=(0, 1))
        return np.concatenate([low, found[0::2]]), np.concatenate([high, found[1::2]])

    def _widen(self, ranges: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
        low, high = ranges
        self._low = low if self._low is None else np.minimum(self._low, low)
        self._high = high if self._high is None else np.maximum(self._high, high)

    def _mark(self) -> None:
        low, high = self.ranges
        now = high - low
        moved = None
        if self._before is not None:
            wide = now > 0
            moved = round(float((1 - self._before[wide] / now[wide]).mean() * 100), 2) if wide.any() else 0.0
        self._before = now
        self.points.append(Point(self._taken, moved))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]


def _session(model: Path, threads: int) -> onnxruntime.InferenceSession:
    """A session whose outputs are least and greatest value of one tensor after the other."""
    graph = onnx.load(str(model))
    watched = {name: None for node in graph.graph.node if node.op_type in _WITH_WEIGHTS for name in node.output}
    watched |= {output.name: None for output in graph.graph.output}
    del graph.graph.output[:]
    for place, name in enumerate(watched):
        for kind in ("ReduceMin", "ReduceMax"):
            made = f"mcwbuild:{kind}:{place}"
            graph.graph.node.append(helper.make_node(kind, [name], [made], keepdims=0))
            graph.graph.output.append(helper.make_tensor_value_info(made, TensorProto.FLOAT, []))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
