"""A graph of somebody else's, cut at the convolutions of its head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import onnx
from stages.families.shapes import output_shapes
from stages.onnx.head import Head, Part, maker, unknown
from stages.onnx.walk import Graph, constant, graph_of

INPUT = "images"  # what the network's input is called from here on, as Ultralytics calls it
_IR_VERSION = 10  # what PyTorch writes today; the rknn phase's onnx 1.18 reads 11 at most


@dataclass
class _Made:
    """What is made for the parts: where the graph ends, operators and weights behind it, tensors with new names."""

    roots: list[str] = field(default_factory=list)
    nodes: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)


def cut(data: bytes, head: Head, channels: int, size: Sequence[int], file: str) -> bytes:
    """The model up to the head's convolutions, its outputs those that this project's own export has.

    float32 images [1, C, H, W] in; out what `head.described["outputs"]` names, in that order. Raises InputError where
    a tensor has one of these names.
    """
    graph = graph_of(onnx.load_from_string(data))
    made = _Made(names={head.input: INPUT})
    for part in head.parts:
        _make(graph, part, made, file)
    nodes = list(graph.needed(made.roots))
    taken = ({INPUT, *(part.name for part in head.parts)} - {head.input}) & _tensors(nodes, graph)
    if taken:
        raise unknown(file, f"A tensor inside of it is called {min(taken)}, as an output will be.")
    for node in (*nodes, *made.nodes):
        node.input[:] = [made.names.get(name, name) for name in node.input]
        node.output[:] = [made.names.get(name, name) for name in node.output]
    return _model(graph, head, [*nodes, *made.nodes], made.weights, channels, size)


def _tensors(nodes: Sequence[Any], graph: Graph) -> set[str]:
    """The names inside of the graph."""
    return {name for node in nodes for name in (*node.input, *node.output)} | {
        weight.name for weight in graph.model.graph.initializer
    }


def _make(graph: Graph, part: Part, made: _Made, file: str) -> None:
    """What one output needs."""
    if part.linear:
        made.roots.append(part.tensor)
        made.nodes += _convolved(graph, part, made, file)
        return
    if not part.rows:
        made.roots.append(part.tensor)
        if part.sigmoid:
            made.nodes.append(onnx.helper.make_node("Sigmoid", [part.tensor], [part.name], name=part.name))
        else:
            made.names[part.tensor] = part.name
        return
    conv = maker(graph, part.tensor)
    made.roots.append(conv.input[0])
    taken = [constant(graph, name) for name in conv.input[1:]]
    if any(weights is None for weights in taken):
        raise unknown(file, f"The weights of the convolution before {part.name} are computed.")
    inputs = [conv.input[0]]
    for name, weights in zip(("weight", "bias"), taken, strict=False):
        inputs.append(f"{part.name}.{name}")
        made.weights.append(_weight(inputs[-1], np.asarray(weights)[list(part.rows)]))
    node = onnx.NodeProto()
    node.CopyFrom(conv)
    node.name = f"{part.name}.conv"
    node.input[:], node.output[:] = inputs, [f"{part.name}.raw" if part.sigmoid else part.name]
    made.nodes.append(node)
    if part.sigmoid:
        made.nodes.append(onnx.helper.make_node("Sigmoid", node.output[:], [part.name], name=part.name))


def _convolved(graph: Graph, part: Part, made: _Made, file: str) -> Iterator[Any]:
    """The linear layer as the convolution that it is: the NPU flattens nothing."""
    linear = maker(graph, part.linear)
    bias = None
    if linear.op_type == "Add":
        sides = [constant(graph, name) for name in linear.input]
        bias = next((side for side in sides if side is not None), None)
        linear = next(node for name in linear.input if (node := maker(graph, name)) is not None)
    weights = constant(graph, linear.input[1])
    settings = {one.name: onnx.helper.get_attribute_value(one) for one in linear.attribute}
    if len(linear.input) > 2:
        bias = constant(graph, linear.input[2])
    plain = all(settings.get(name, wanted) == wanted for name, wanted in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)))
    if weights is None or not plain:
        raise unknown(file, "The weights of its linear layer are computed, or scaled.")
    rows = weights if settings.get("transB", 0) else weights.T
    bias = np.zeros(len(rows), np.float32) if bias is None else bias.reshape(-1)
    made.weights += [_weight("logits.weight", rows[:, :, None, None]), _weight("logits.bias", bias)]
    inputs = [part.tensor, "logits.weight", "logits.bias"]
    yield onnx.helper.make_node("Conv", inputs, [part.name], name=part.name, kernel_shape=[1, 1])


def _weight(name: str, numbers: Any) -> Any:
    return onnx.numpy_helper.from_array(np.ascontiguousarray(numbers), name)


def _model(
    graph: Graph, head: Head, nodes: list[Any], weights: Sequence[Any], channels: int, size: Sequence[int]
) -> bytes:
    """A model of `nodes` with the weights that they use."""
    used = {name for node in nodes for name in node.input}
    of_float = onnx.TensorProto.FLOAT
    made = onnx.helper.make_graph(
        nodes,
        graph.model.graph.name or "graph",
        [onnx.helper.make_tensor_value_info(INPUT, of_float, [1, channels, *size])],
        [
            onnx.helper.make_tensor_value_info(name, of_float, shape)
            for name, shape in zip(head.described["outputs"], output_shapes(head.described, size), strict=True)
        ],
        [*(weight for weight in graph.model.graph.initializer if weight.name in used), *weights],
    )
    model = onnx.helper.make_model(made, opset_imports=graph.model.opset_import, functions=graph.model.functions)
    model.ir_version = min(graph.model.ir_version, _IR_VERSION)
    model.producer_name, model.producer_version = graph.model.producer_name, graph.model.producer_version
    data: bytes = model.SerializeToString(deterministic=True)
    return data
