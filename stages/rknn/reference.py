"""The ONNX model in ONNX Runtime: what the built models are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from stages.common.device import cpu_model
from stages.common.images import normalise

BROKEN: tuple[type[Exception], ...] = (  # what ONNX Runtime raises for a graph that it cannot run
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NotImplemented,
    failures.RuntimeException,
)


class OnnxRunner:
    """ONNX Runtime on the CPU; the outputs come in the order of `names`."""

    def __init__(self, model: Path, contract: Mapping[str, Any], names: list[str], threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._contract, self._names = contract, names
        self._input = self._session.get_inputs()[0].name

    @property
    def device(self) -> Mapping[str, Any]:
        """What it runs on."""
        versions = {"onnxruntime": onnxruntime.__version__}
        return {"kind": "CPU", "model": cpu_model(), "backend": "onnxruntime", "versions": versions}

    def feed(self, prepared: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Normalised float32 [1, C, H, W] from uint8 [H, W, C]."""
        planes: NDArray[np.float32] = normalise(prepared, self._contract)
        return planes

    def run(self, feed: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """The outputs, float32, for one image."""
        outputs: list[NDArray[np.float32]] = self._session.run(self._names, {self._input: feed})
        return outputs
