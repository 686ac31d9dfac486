"""The head of Ultralytics' classifiers, found in a graph of somebody else's by its structure.

`Classify` in export ends in output0 [1, nc] = Softmax(Gemm(Flatten(pooled))). The cut gives the logits [1, nc, 1, 1].
"""

from __future__ import annotations

from typing import Any

from stages.onnx.head import Head, Part, maker, shown, unknown
from stages.onnx.walk import RESHAPING, Graph, constant, measured


def softmax(graph: Graph) -> Any:
    """The Softmax that the only output comes from, None where there is none."""
    outputs = graph.model.graph.output
    last = maker(graph, outputs[0].name) if len(outputs) == 1 else None
    return last if last is not None and last.op_type == "Softmax" else None


def find(graph: Graph, shape: tuple[int, ...], file: str) -> Head:
    """The head; `shape` is the input's. Raises InputError, saying what was found instead."""
    output = graph.model.graph.output[0].name
    linear = maker(graph, softmax(graph).input[0])
    if linear is not None and linear.op_type == "Add":
        linear = next((node for name in linear.input if (node := maker(graph, name)) is not None), None)
    if linear is None or linear.op_type not in ("Gemm", "MatMul"):
        kind = linear.op_type if linear is not None else "nothing"
        raise unknown(file, f"The Softmax of its output {shown(output)} is behind {kind}, not behind a linear layer.")
    pooled = linear.input[0]
    node = maker(graph, pooled)
    while node is not None and node.op_type in RESHAPING:
        pooled = node.input[0]
        node = maker(graph, pooled)
    weights = constant(graph, linear.input[1])
    shapes = measured(graph.model, [pooled, output], shape)
    if len(shapes[pooled]) != 4 or shapes[pooled][2:] != (1, 1) or weights is None or weights.ndim != 2:
        raise unknown(file, f"Its linear layer takes {list(shapes[pooled])}, where [1, channels, 1, 1] is known.")
    if len(shapes[output]) != 2 or shapes[output][1] not in weights.shape:
        raise unknown(file, f"Its output is {list(shapes[output])}, where its linear layer has {list(weights.shape)}.")
    described = {
        "family": "yolo_classes",
        "num_classes": shapes[output][1],
        "outputs": ["logits"],
        "score_activation": "softmax",
    }
    part = Part("logits", pooled, linear=softmax(graph).input[0])
    return Head(graph.model.graph.input[0].name, "classes", described, (part,), (output,))
