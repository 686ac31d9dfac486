"""Where the stand-in's outputs come from: recorded ones, or ONNX Runtime on the model before its conversion.

ONNX Runtime computes in float32 whatever the `.rknn` is: of FP16 and INT8 it shows nothing. Recorded outputs, of the
toolkit's simulator for instance, do.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from mcwbuild.contract.artefacts import RknnFacts

RECORDED = "recorded"  # folder of <SHA-256 of the input's bytes>.npz
FOR_ALL = "outputs.npz"


class Nothing(Exception):
    """There is nothing that could compute this."""


def hash_of(given: np.ndarray) -> str:
    """Under which name the outputs for uint8 [1, H, W, C] are recorded."""
    return hashlib.sha256(np.ascontiguousarray(given).tobytes()).hexdigest()


def record(folder: Path, given: np.ndarray, outputs: list[np.ndarray]) -> None:
    """Record the outputs for one input, in the folder of the stand-in's settings."""
    (folder / RECORDED).mkdir(parents=True, exist_ok=True)
    write(folder / RECORDED / f"{hash_of(given)}.npz", outputs)


def write(file: Path, outputs: list[np.ndarray]) -> None:
    """Write outputs so that they keep their order."""
    np.savez(str(file), **{f"{number:03d}": output for number, output in enumerate(outputs)})  # type: ignore[arg-type]


class Computer:
    """Outputs float32 for uint8 [1, H, W, C]: those recorded for this input, else for all, else ONNX Runtime's."""

    def __init__(self, folder: Path, facts: RknnFacts, onnx: Path | None) -> None:
        self._recorded, self._facts = folder / RECORDED, facts
        self._for_all = _read(folder / FOR_ALL)
        self._session: Any = None if self._for_all is not None or onnx is None else _session(onnx)

    def run(self, given: np.ndarray) -> list[np.ndarray]:
        """The outputs. Raises Nothing where nothing is recorded and no ONNX model is there."""
        if self._recorded.is_dir():
            recorded = _read(self._recorded / f"{hash_of(given)}.npz")
            if recorded is not None:
                return recorded
        if self._for_all is not None:
            return self._for_all
        if self._session is None:
            raise Nothing("no outputs are recorded for this input, and no best.onnx is there to compute them")
        facts = self._facts
        planes = given[..., ::-1] if facts.rgb2bgr else given
        mean, std = (np.array(values, np.float32) for values in (facts.mean, facts.std))
        planes = np.ascontiguousarray(((planes.astype(np.float32) - mean) / std).transpose(0, 3, 1, 2))
        outputs = self._session.run([tensor.name for tensor in facts.outputs], {facts.inputs[0].name: planes})
        return [np.asarray(output, np.float32) for output in outputs]


def _read(file: Path) -> list[np.ndarray] | None:
    if not file.is_file():
        return None
    with np.load(file) as held:
        return [held[name] for name in sorted(held.files)]


def _session(onnx: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
