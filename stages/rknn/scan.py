"""The activation scan: a model's tensors in ONNX Runtime over a few images, before the toolkit is given it.

Each tensor's extremes are taken inside of the graph, so that none of them has to be kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from stages.common.findings import Finding
from stages.common.graph_findings import selection
from stages.common.images import normalise
from stages.common.range_findings import Joint, Range, joints, overflow
from stages.rknn.targets import Variant

IMAGES = 4  # an overflow is there for nearly every image, or for none
_LONGEST = 120  # characters of a layer's name
_SAME = frozenset(("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity"))  # their input's values
_CONSTANT = frozenset(("Constant", "ConstantOfShape", "Shape", "Range"))


@dataclass(frozen=True)
class Scan:
    """What was seen: the ranges in the graph's order, what is joined, what selects; over so many images."""

    ranges: tuple[Range, ...]
    joints: tuple[Joint, ...]
    selecting: tuple[tuple[str, str], ...]
    images: int

    def findings(self, variants: Sequence[Variant]) -> list[Finding]:
        """What matters to these variants: overflow to FP16, unequal parts to INT8."""
        found = [selection(self.selecting)]
        found += [overflow(self.ranges, self.images)] if "fp16" in variants else []
        found += joints(self.joints, self.images) if "int8" in variants else []
        return [one for one in found if one is not None]


def scan(path: Path, contract: Mapping[str, Any], images: Iterable[NDArray[np.uint8]], threads: int) -> Scan:
    """Run the model in `path` over the prepared images uint8 [H, W, C]."""
    model = onnx.load(str(path), load_external_data=False)
    makers = {name: node for node in model.graph.node for name in node.output}
    names = list(_computed(model))
    session = _session(_measuring(model, names), threads)
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    count = 0
    with np.errstate(invalid="ignore"):
        for prepared in images:
            count += 1
            values = session.run(None, {session.get_inputs()[0].name: normalise(prepared, contract)})
            flat = np.array([float(value.ravel()[0]) for value in values])
            low, high = np.minimum(low, flat[::2]), np.maximum(high, flat[1::2])
    ranges = {
        name: Range(_plain(name), makers[name].op_type, layer_of(makers[name]), float(low[place]), float(high[place]))
        for place, name in enumerate(names)
    }
    selecting = tuple((node.op_type, layer_of(node)) for node in model.graph.node)
    found = (*_weights(model), *ranges.values())
    return Scan(found, tuple(_joints(model, makers, ranges)), selecting, count)


def layer_of(node: Any) -> str:
    """A node's name, or that of its first output where it has none."""
    return _plain(node.name or node.output[0])


def _plain(name: str) -> str:
    """A name from the file for documents and terminals: ASCII, without control characters, not too long."""
    return ascii(name)[1:-1][:_LONGEST]


def _computed(model: Any) -> Iterator[str]:
    """The float tensors that are computed and hold other values than the tensor before."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    known = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.output)}
    for node in model.graph.node:
        if node.op_type not in _SAME | _CONSTANT:
            yield from (name for name in node.output if known.get(name) == onnx.TensorProto.FLOAT)


def _measuring(model: Any, names: Sequence[str]) -> bytes:
    """The model with the least and the largest value of each tensor as its outputs."""
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    del seen.graph.output[:]
    scalar = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [])
    whole = onnx.helper.make_attribute("keepdims", 0)
    for number, name in enumerate(names):
        for kind in ("ReduceMin", "ReduceMax"):
            made = f"mcwbuild.scan.{number}.{kind}"
            seen.graph.node.add(op_type=kind, input=[name], output=[made], attribute=[whole])
            seen.graph.output.add(name=made, type=scalar)
    data: bytes = seen.SerializeToString()
    return data


def _session(data: bytes, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _weights(model: Any) -> Iterator[Range]:
    """The ranges of the weights that computing nodes take, under their layers' names."""
    users = {name: node for node in reversed(model.graph.node) for name in node.input}
    for weight in model.graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT and weight.name in users:
            values = onnx.numpy_helper.to_array(weight)
            if values.size:
                low, high = float(values.min()), float(values.max())
                yield Range(_plain(weight.name), "Weight", layer_of(users[weight.name]), low, high)


def _joints(model: Any, makers: Mapping[str, Any], ranges: Mapping[str, Range]) -> Iterator[Joint]:
    """Each Concat whose parts' ranges are all known."""
    outputs = {_source(output.name, makers): _plain(output.name) for output in model.graph.output}
    for node in model.graph.node:
        parts = [ranges.get(_source(name, makers)) for name in node.input]
        if node.op_type == "Concat" and all(parts):
            known = tuple(part for part in parts if part)
            yield Joint(_plain(node.output[0]), layer_of(node), known, outputs.get(node.output[0], ""))


def _source(name: str, makers: Mapping[str, Any]) -> str:
    """The tensor whose values `name` holds in another form."""
    while name in makers and makers[name].op_type in _SAME:
        name = makers[name].input[0]
    return name
