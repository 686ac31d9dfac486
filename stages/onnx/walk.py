"""Walking an ONNX graph backwards, from a tensor to the operators that it is made of."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import onnx
from mcwbuild.contract.errors import StageFailed
from stages.onnx.ort_runner import OrtRunner, native_errors

# What stands between a head's convolutions and its arithmetic, and the arithmetic itself.
RESHAPING = frozenset(
    ("Concat", "Reshape", "Transpose", "Slice", "Split", "Squeeze", "Unsqueeze", "Flatten", "Identity")
)
ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "MatMul", "ReduceSum"})


@dataclass(frozen=True)
class Trail:
    """What a walk ended at: the operators that were looked for, in the order of inputs; what kinds were in the way."""

    found: tuple[Any, ...]
    strange: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """A model's graph with the maker of each tensor."""

    model: Any
    makers: dict[str, Any] = field(repr=False)

    def back(self, tensor: str, through: Collection[str], target: str) -> Trail:
        """Walk from `tensor` back to every operator `target`, through operators of the kinds `through` only.

        Weights and constants end a way silently. Reshape, Slice and their like are followed along their data,
        not along the numbers that say how.
        """
        found: list[Any] = []
        strange: list[str] = []
        seen: set[str] = set()
        waiting = [tensor]
        while waiting:
            name = waiting.pop()
            node = self.makers.get(name)
            if node is None or name in seen or node.op_type == "Constant":
                continue
            seen.update(node.output)
            if node.op_type == target:
                found.append(node)
            elif node.op_type in through:
                waiting += reversed(node.input if node.op_type in _ALL_INPUTS else node.input[:1])
            else:
                strange.append(node.op_type)
        return Trail(tuple(found), tuple(dict.fromkeys(strange)))

    def needed(self, tensors: Collection[str]) -> Iterator[Any]:
        """The nodes that `tensors` are computed by, in the graph's order."""
        wanted, waiting = set(), list(tensors)
        while waiting:
            node = self.makers.get(waiting.pop())
            if node is not None and id(node) not in wanted:
                wanted.add(id(node))
                waiting += node.input
        return (node for node in self.model.graph.node if id(node) in wanted)


_ALL_INPUTS = frozenset({"Concat", "Add", "Sub", "Mul", "Div"})


def graph_of(model: Any) -> Graph:
    """The graph of a loaded model."""
    return Graph(model, {name: node for node in model.graph.node for name in node.output})


def constant(graph: Graph, name: str) -> NDArray[Any] | None:
    """The numbers of a weight or constant, None where `name` is computed."""
    node = graph.makers.get(name)
    while node is not None and node.op_type == "Identity":  # the exporter shares equal weights by it
        name = node.input[0]
        node = graph.makers.get(name)
    if node is not None:
        tensors = [attribute.t for attribute in node.attribute if attribute.name == "value"]
        return onnx.numpy_helper.to_array(tensors[0]) if node.op_type == "Constant" and tensors else None
    weights = (weight for weight in graph.model.graph.initializer if weight.name == name)
    return next((onnx.numpy_helper.to_array(weight) for weight in weights), None)


def measured(model: Any, tensors: Sequence[str], shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The shapes of `tensors` in a run of the model on zeros of `shape`.

    Inference of shapes gives up on unsimplified graphs that compute their own sizes, YOLO11's attention does.
    Raises StageFailed where ONNX Runtime does not load or run the model.
    """
    return {name: value.shape for name, value in values(model, tensors, np.zeros(shape, np.float32)).items()}


def values(model: Any, tensors: Sequence[str], feed: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """`tensors` as they are in a run of the model on `feed`. Raises StageFailed where it cannot be run."""
    names = list(dict.fromkeys(tensors))
    runner = OrtRunner(exposed(model, names), {}, names, 1)
    failures: tuple[type[Exception], ...] = (RuntimeError, *native_errors())
    try:
        found = runner.run(feed)
    except failures as error:
        said = str(error).strip().splitlines()[0][:300]
        raise StageFailed("ONNX Runtime cannot run the model.", f"It says: {said}.", kind="load") from error
    return dict(zip(names, found, strict=True))


def exposed(model: Any, tensors: Sequence[str]) -> bytes:
    """The model with `tensors` among its outputs."""
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    own = {output.name for output in seen.graph.output}
    seen.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in own)
    data: bytes = seen.SerializeToString()
    return data
