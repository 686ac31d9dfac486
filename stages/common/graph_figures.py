"""What a graph takes to compute: its trained values and its floating point operations, from its shapes alone.

`model` is an `onnx.ModelProto` with inferred shapes; it is only read, so that this room needs no onnx.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_FLOAT = 1  # onnx.TensorProto.FLOAT
_RECURRENT = ("LSTM", "GRU", "RNN")
# Operators that may multiply and add, and whose products are not counted here.
_UNKNOWN = frozenset({"Einsum", "DeformConv", "Loop", "If", "Scan", "ConvInteger", "MatMulInteger", "Attention"})
Shape = tuple[int, ...]


def parameters(model: Any) -> int:
    """How many floating point values the weights have."""
    return sum(math.prod(part.dims) for part in model.graph.initializer if part.data_type == _FLOAT and len(part.dims))


def flops(model: Any) -> tuple[int | None, str]:
    """Floating point operations for one run, and why they are None where they cannot be counted.

    Two for each multiply-accumulate of convolutions, matrix products and recurrent layers, as PyTorch's own counter
    (torch.utils.flop_counter) has it; biases, activations, pooling and the like are not counted.
    """
    shapes = _shapes(model)
    products = 0
    for node in model.graph.node:
        if node.op_type in _UNKNOWN or node.domain not in ("", "ai.onnx"):
            return None, f"The products of the operator {node.op_type} are not counted."
        try:
            products += _products(node, shapes)
        except KeyError as missing:
            return None, f"The shape of {missing.args[0]!a} is not known."
    return 2 * products, ""


def _products(node: Any, shapes: Mapping[str, Shape]) -> int:
    """Multiply-accumulates of one node. Raises KeyError for a tensor whose shape is not known."""
    if node.op_type == "Conv":  # every value that comes out takes one filter's weights
        weights = shapes[node.input[1]]
        return math.prod(shapes[node.output[0]]) * math.prod(weights[1:])
    if node.op_type == "ConvTranspose":  # every value that goes in meets one filter's weights
        weights = shapes[node.input[1]]
        return math.prod(shapes[node.input[0]]) * math.prod(weights[1:])
    if node.op_type == "MatMul":
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    if node.op_type == "Gemm":
        made = shapes[node.output[0]]
        return made[0] * math.prod(shapes[node.input[1]])
    if node.op_type in _RECURRENT:
        steps, batch, _ = shapes[node.input[0]]
        return steps * batch * sum(math.prod(shapes[name]) for name in node.input[1:3])
    return 0


def _shapes(model: Any) -> dict[str, Shape]:
    """The shape of each tensor whose lengths are all known."""
    found: dict[str, Shape] = {part.name: tuple(part.dims) for part in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        kind = value.type.tensor_type
        lengths = tuple(int(dim.dim_value) for dim in kind.shape.dim if dim.HasField("dim_value"))
        if kind.HasField("shape") and len(lengths) == len(kind.shape.dim):
            found.setdefault(value.name, lengths)
    return found
