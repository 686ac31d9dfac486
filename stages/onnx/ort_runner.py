"""The exported model in ONNX Runtime on the CPU, as the evaluator wants it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from mcwbuild.contract.errors import StageFailed
from stages.common.device import cpu_model, versions
from stages.common.images import normalise

_ERRORS_ONLY = 3  # ONNX Runtime's severities: 2 is warning, 3 is error


class OrtRunner:
    """Runs a serialised model; the outputs come in the order of `names`. Raises StageFailed if it does not load."""

    def __init__(self, model: bytes, contract: Mapping[str, Any], names: Sequence[str], threads: int) -> None:
        failures: tuple[type[Exception], ...] = (RuntimeError, *native_errors())
        try:
            self._session = _session(model, threads)
        except failures as error:
            raise StageFailed(
                "ONNX Runtime does not load the exported model.",
                f"It says: {str(error).strip().splitlines()[0][:300]}.",
                "Try another --opset, or --no-simplify.",
                kind="load",
            ) from error
        self._model, self._contract, self._names = model, contract, list(names)
        self._input = self._session.get_inputs()[0].name

    def under(self, contract: Mapping[str, Any]) -> OrtRunner:
        """The same session, fed as another contract says."""
        other = copy.copy(self)
        other._contract = contract
        return other

    @property
    def device(self) -> dict[str, Any]:
        """`device` of the performance record."""
        installed = versions("onnxruntime", "onnx")
        return {"kind": "CPU", "model": cpu_model(), "backend": "ONNX Runtime", "versions": installed}

    @property
    def declared(self) -> dict[str, list[int]]:
        """The shape that the model declares for each output."""
        return {output.name: output.shape for output in self._session.get_outputs()}

    def feed(self, prepared: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The normalised tensor [1, C, H, W]."""
        planes: NDArray[np.float32] = normalise(prepared, self._contract)
        return planes

    def run(self, feed: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """The outputs, float32."""
        outputs: list[NDArray[np.float32]] = self._session.run(self._names, {self._input: feed})
        return outputs

    def alone(self) -> OrtRunner:
        """Another session with one thread: of this one's threads none is in a copy of the process."""
        other = copy.copy(self)
        other._session = _session(self._model, 1)
        return other


def _session(model: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def native_errors() -> tuple[type[Exception], ...]:
    """ONNX Runtime's own exceptions; they share no base but Exception."""
    state = onnxruntime.capi.onnxruntime_pybind11_state
    return tuple(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))
