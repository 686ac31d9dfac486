"""Each layer beside ONNX Runtime: the simulator's tensors for one image, held against the ONNX file's own.

The toolkit's analysis compares its simulator with its own float network, fusions and all; this is the other half: a
tensor that the toolkit kept under its name is compared with what ONNX Runtime computes from the file itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from stages.common.agreement import cosine, snr_db
from stages.rknn.layer_errors import Beside
from stages.rknn.reference import BROKEN


def beside_onnx(model: Path, feed: NDArray[np.float32], dumped: Mapping[str, Path]) -> dict[str, Beside]:
    """The agreement of every dumped tensor that the ONNX file has too, by its name.

    `feed` is the network's input, float32 [1, C, H, W]; `dumped` gives the NumPy file of each tensor. Tensors of
    another shape are left out: the toolkit has laid them out anew. Nothing where ONNX Runtime cannot run the graph.
    """
    graph = onnx.load(str(model))
    made = {name for node in graph.graph.node for name in node.output}
    names = [name for name in dumped if name in made]
    try:
        reference = _run(graph, names, feed)
    except BROKEN:
        return {}
    found = {}
    for name, wanted in zip(names, reference, strict=True):
        simulated = np.load(dumped[name], allow_pickle=False)
        if wanted.shape == simulated.shape:
            found[name] = Beside(_finite(cosine(wanted, simulated)), _finite(snr_db(wanted, simulated)))
    return found


def _run(graph: onnx.ModelProto, names: Sequence[str], feed: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The tensors called `names`, all of them for one image: as much memory as the toolkit's own dump on disk."""
    del graph.graph.output[:]
    graph.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the toolkit beside it has the others
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs: list[NDArray[np.float32]] = session.run(list(names), {session.get_inputs()[0].name: feed})
    return outputs


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
