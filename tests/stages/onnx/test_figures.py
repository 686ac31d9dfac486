"""Parameters and operations: by hand, by PyTorch's counter, and from the ONNX graph, all the same."""

from __future__ import annotations

import io
from argparse import Namespace
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from stages.common import graph_figures
from stages.families.opened import open_model
from stages.onnx import graph
from stages.pt import counted
from tests.support import toy_onnx
from tests.support.trained import checkpoint


class Everything(torch.nn.Module):
    """One layer of each kind whose products are counted, and some whose are not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.depthwise = torch.nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.up = torch.nn.ConvTranspose2d(8, 4, 2, 2)
        self.linear = torch.nn.Linear(4, 10)
        self.lstm = torch.nn.LSTM(10, 6, 2, bidirectional=True)
        self.gru = torch.nn.GRU(12, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        wide = self.up(self.depthwise(torch.relu(self.norm(self.conv(images)))))
        steps = self.linear(wide.mean(dim=2).permute(2, 0, 1))  # [20, 1, 10]
        read = self.gru(self.lstm(steps)[0])[0]
        return torch.nn.functional.scaled_dot_product_attention(*[read.transpose(0, 1)] * 3)


# Of an image 16 x 20; `conv` gives 8 x 10, `up` 16 x 20 again, and the text is 20 steps long.
PRODUCTS = {
    "conv": 8 * 8 * 10 * 3 * 9,
    "depthwise": 8 * 8 * 10 * 9,
    "up": 8 * 8 * 10 * 4 * 4,
    "linear": 20 * 4 * 10,
    "lstm": 20 * 2 * 4 * 6 * ((10 + 6) + (12 + 6)),
    "gru": 20 * 3 * 5 * (12 + 5),
    "attention": 2 * 20 * 20 * 5,
}


def exported(network: torch.nn.Module, example: torch.Tensor) -> bytes:
    stream = io.BytesIO()
    torch.onnx.export(network, (example,), stream, opset_version=17, dynamo=False)
    return stream.getvalue()


def test_both_counters_say_what_the_hand_counts() -> None:
    network, example = Everything().eval(), torch.zeros(1, 3, 16, 20)

    def run() -> Any:
        with torch.inference_mode():
            return network(example)

    outputs, by_torch = counted.run(run)
    by_hand = 2 * sum(PRODUCTS.values())
    figures = graph.figures(exported(network, example))
    assert tuple(outputs.shape) == (1, 20, 5)
    assert by_torch == by_hand
    assert figures["flops"] == by_hand
    # The exporter puts the BatchNorm's two values a channel into the convolution before it.
    assert figures["parameters"] == sum(part.numel() for part in network.parameters()) - 16


@pytest.mark.parametrize("name", ["segment", "classify"])
def test_a_checkpoint_and_its_export_take_as_many_operations(name: str) -> None:
    opened = open_model(Namespace(pt=checkpoint(name), model=None, model_code=None, trust_checkpoint=False))
    size = [64, 96]
    network, head = opened.cut(opened.build(), {"input": {"size": size, "channels": 3}})
    _, by_torch = counted.run(lambda: network(torch.zeros(1, 3, *size)))
    figures = graph.figures(graph.export(network, size, 3, head["outputs"], 17))
    assert figures["flops"] == by_torch > 1_000_000


def test_what_cannot_be_counted_is_none_and_says_why() -> None:
    model = toy_onnx.network()
    model.graph.node.append(helper.make_node("Einsum", ["boxes_8", "boxes_8"], ["e"], equation="abcd,abcd->abcd"))
    inferred = onnx.shape_inference.infer_shapes(model)
    assert graph_figures.flops(inferred) == (None, "The products of the operator Einsum are not counted.")
    open_input = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    made = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "g", [open_input], [output])
    assert graph_figures.flops(onnx.helper.make_model(made)) == (None, "The shape of 'y' is not known.")


def test_the_toy_takes_what_its_shapes_say() -> None:
    """A convolution of one filter size gives a product for each of its weights and places."""
    model = toy_onnx.network()
    figures = graph.figures(model.SerializeToString())
    inferred = onnx.shape_inference.infer_shapes(model)
    known = (*inferred.graph.value_info, *inferred.graph.output)
    places = {value.name: value.type.tensor_type.shape for value in known}
    weights = {part.name: list(part.dims) for part in model.graph.initializer}
    by_hand = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            out, channels, rows, columns = weights[node.input[1]]
            height, width = (dim.dim_value for dim in places[node.output[0]].dim[2:])
            by_hand += 2 * out * channels * rows * columns * height * width
    assert figures["flops"] == by_hand > 0
