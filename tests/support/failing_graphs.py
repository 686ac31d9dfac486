"""Small ONNX graphs that RKNN-Toolkit2 2.3.2 fails on, each in its own way: a convolution, and one step after it.

Needs onnx: for tests that run in a stage's environment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
SIDE, CHANNELS = 32, 8  # of what the convolution gives: [1, 8, 32, 32]


def behind_conv(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str] = (1, CHANNELS, SIDE, SIDE),
    opset: int = 17,
    input_type: int = FLOAT,
    output_type: int = FLOAT,
    **constants: Any,
) -> onnx.ModelProto:
    """A graph `x` -> Conv -> `c` -> nodes -> `y`; `shape` is that of `y`."""
    random = np.random.default_rng(0)
    weights = random.normal(0, 0.2, (CHANNELS, 3, 3, 3)).astype(np.float32)
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in {"w": weights, **constants}.items()]
    first = helper.make_node("Conv", ["x", "w"], ["c"], name="/stem/Conv", pads=[1, 1, 1, 1])
    if input_type != FLOAT:
        first.input[0] = "as_float"
        nodes = [helper.make_node("Cast", ["x"], ["as_float"], to=FLOAT), first, *nodes]
    else:
        nodes = [first, *nodes]
    inputs = [helper.make_tensor_value_info("x", input_type, [1, 3, SIDE, SIDE])]
    outputs = [helper.make_tensor_value_info("y", output_type, shape)]
    graph = helper.make_graph(nodes, "failing", inputs, outputs, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def step(op: str, *inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    """One node, called after its operator."""
    return helper.make_node(op, inputs or ["c"], [output], name=f"/last/{op}", **attributes)


def floats(*shape: int, value: float = 1.0) -> NDArray[np.float32]:
    """A constant tensor."""
    return np.full(shape, value, np.float32)


def with_branches() -> onnx.ModelProto:
    """An If whose condition depends on the image."""
    shape = [1, CHANNELS, SIDE, SIDE]
    branches = {}
    for name, op in (("then_branch", "Relu"), ("else_branch", "Sigmoid")):
        made = helper.make_tensor_value_info(name, FLOAT, shape)
        branches[name] = helper.make_graph([helper.make_node(op, ["c"], [name])], name, [], [made])
    nodes = [
        step("ReduceMax", output="most", keepdims=0),
        step("Greater", "most", "zero", output="condition"),
        step("If", "condition", **branches),
    ]
    return behind_conv(nodes, zero=np.float32(0))


def rules() -> dict[str, onnx.ModelProto]:
    """By its name: graphs that a fusion rule fails on. The first is what `features[:, 0]` becomes."""
    return {
        "fuse_conv_gather": behind_conv([step("Gather", "c", "zero", axis=1)], (1, SIDE, SIDE), zero=np.array(0)),
        "remove_invalid_scatternd": behind_conv(
            [step("ScatterND", "c", "all", "all_of_it")], all=np.array([[0]]), all_of_it=floats(1, CHANNELS, SIDE, SIDE)
        ),
        "reduce_reshape_op_around_concat": behind_conv(
            [
                step("Unsqueeze", "c", "axis", output="u"),
                step("MatMul", "u", "weights", output="m"),
                step("Concat", "m", "m", axis=1),
            ],
            (1, 2, CHANNELS, SIDE, 4),
            axis=np.array([1]),
            weights=floats(SIDE, 4, value=0.1),
        ),
    }


def quantized() -> onnx.ModelProto:
    """A graph with quantization of its own."""
    nodes = [step("QuantizeLinear", "c", "scale", "zero", output="q"), step("DequantizeLinear", "q", "scale", "zero")]
    return behind_conv(nodes, scale=np.float32(0.1), zero=np.int8(0))


def overflowing() -> onnx.ModelProto:
    """A graph whose values leave the range of float16 inside."""
    nodes = [step("Abs", output="a"), step("Mul", "a", "much", output="m"), step("Sqrt", "m")]
    return behind_conv(nodes, much=np.float32(1e6))


def constant() -> onnx.ModelProto:
    """A graph whose output is the same for every image."""
    return behind_conv([step("Shape", output="s"), step("Cast", "s", to=FLOAT)], (4,))


def by_its_own_transpose() -> onnx.ModelProto:
    """A product that crashes the compiler."""
    nodes = [step("Transpose", output="t", perm=[0, 1, 3, 2]), step("MatMul", "c", "t")]
    return behind_conv(nodes)


def wide(channels: int = 2048) -> onnx.ModelProto:
    """A graph with 64 MB of weights."""
    flat = CHANNELS * SIDE * SIDE
    nodes = [step("Reshape", "c", "sides", output="r"), step("Gemm", "r", "weights")]
    return behind_conv(nodes, (1, channels), sides=np.array([1, flat]), weights=floats(flat, channels, value=0.01))


def with_failing_rule(detector: onnx.ModelProto) -> onnx.ModelProto:
    """A toy detector whose scores the rule `fuse_conv_gather` fails on: both classes have the first one's."""
    nodes = detector.graph.node
    place = next(number for number, node in enumerate(nodes) if node.name == "/score/Sigmoid")
    nodes[place].input[0] = "both"
    added = [step("Gather", "s", "first", output="one", axis=1), step("Unsqueeze", "one", "axis", output="four")]
    for node in (step("Concat", "four", "four", output="both", axis=1), *reversed(added)):
        nodes.insert(place, node)
    constants = {"first": np.array(0), "axis": np.array([1])}
    detector.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    return detector
