"""The ONNX graph: export, simplification, metadata and checks, on small networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from mcwbuild.contract import artefacts, inherit
from mcwbuild.contract.errors import StageFailed
from stages.onnx import graph
from stages.onnx.ort_runner import OrtRunner
from tests.support.class_names import acceptable

CONTRACT: dict[str, Any] = inherit.complete(
    {
        "model": {"name": "toy", "type": "YOLOv8", "task": "object_detection"},
        "classes": {"names": ["a", "größe"], "num_classes": 2},
        "input": {"size": [32, 64], "format": "RGB"},
        "preprocessing": {
            "resize": {"method": "letterbox"},
            "normalize": {"enabled": True, "mean": [0, 0, 0], "std": [255, 255, 255]},
        },
    }
)
HEAD = {"family": "yolo_dfl", "strides": [8], "reg_max": 2, "num_classes": 2, "outputs": ["boxes_8", "scores_8"]}


class Toy(torch.nn.Module):
    """Two outputs at a quarter of the size, by a YOLO's operators: Conv, SiLU, Split, Concat, Resize, MaxPool."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first = torch.nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.second = torch.nn.Conv2d(8, 8, 3, 2, 1)
        self.boxes, self.scores = torch.nn.Conv2d(16, 8, 1), torch.nn.Conv2d(16, 2, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        wide = torch.nn.functional.silu(self.norm(self.first(x)))
        a, b = self.second(wide).chunk(2, 1)
        a = torch.nn.functional.max_pool2d(torch.nn.functional.interpolate(a, scale_factor=2.0), 2)
        joined = torch.cat([a, b, torch.nn.functional.max_pool2d(wide, 2)], 1)
        return self.boxes(joined), self.scores(joined).sigmoid()


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return Toy().eval()


def exported(network: torch.nn.Module, opset: int = 17) -> bytes:
    return graph.export(network, [32, 64], 3, HEAD["outputs"], opset)


@pytest.mark.parametrize("opset", [12, 17, 18, 19])
def test_an_export_is_valid_static_and_gives_what_torch_gives(network: torch.nn.Module, opset: int) -> None:
    data = graph.label(exported(network, opset), CONTRACT, HEAD)
    graph.check(data)
    model = onnx.load_from_string(data)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [opset]
    (tensor,) = model.graph.input
    assert tensor.name == "images"
    assert [dim.dim_value for dim in tensor.type.tensor_type.shape.dim] == [1, 3, 32, 64]
    assert tensor.type.tensor_type.elem_type == TensorProto.FLOAT
    runner = OrtRunner(data, CONTRACT, HEAD["outputs"], 1)
    prepared = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    found = runner.run(runner.feed(prepared))
    with torch.inference_mode():
        expected = network(torch.from_numpy(prepared.transpose(2, 0, 1)[None]).float() / 255)
    assert runner.declared == {"boxes_8": [1, 8, 8, 16], "scores_8": [1, 2, 8, 16]}
    for mine, theirs in zip(found, expected, strict=True):
        assert np.abs(mine - theirs.numpy()).max() < 1e-5


def test_the_same_network_gives_the_same_bytes(network: torch.nn.Module) -> None:
    twice = [graph.label(graph.simplify(exported(network))[0], CONTRACT, HEAD) for _ in range(2)]
    assert twice[0] == twice[1]


def test_a_simplified_graph_is_smaller_and_gives_the_same(network: torch.nn.Module) -> None:
    before = exported(network, 18)
    after, reason = graph.simplify(before)
    assert reason == ""
    count = [len(onnx.load_from_string(data).graph.node) for data in (before, after)]
    assert count[1] <= count[0]
    runners = [OrtRunner(data, CONTRACT, HEAD["outputs"], 1) for data in (before, after)]
    prepared = np.random.default_rng(1).integers(0, 256, (32, 64, 3), np.uint8)
    a, b = (runner.run(runner.feed(prepared)) for runner in runners)
    assert all(np.abs(x - y).max() < 1e-5 for x, y in zip(a, b, strict=True))


def test_what_cannot_be_simplified_stays_as_it_is_with_the_reason() -> None:
    ring = [("Add", ["x", "b"], ["a"]), ("Relu", ["a"], ["b"]), ("Relu", ["b"], ["y"])]
    nodes = [helper.make_node(*parts) for parts in ring]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy"]
    data = helper.make_model(helper.make_graph(nodes, "ring", tensors[:1], tensors[1:])).SerializeToString()
    kept, reason = graph.simplify(data)
    assert kept == data
    assert reason.startswith("onnxslim")


def test_the_metadata_carry_the_contract_and_nothing_of_this_machine(network: torch.nn.Module) -> None:
    data = graph.label(exported(network, 18), CONTRACT, HEAD)
    model = onnx.load_from_string(data)
    held = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(held["mcwbuild.contract"])["classes"]["names"] == ["a", "größe"]
    assert held["mcwbuild.contract"].isascii()
    assert held["mcwbuild.contract_sha256"] == inherit.contract_sha256(CONTRACT)
    assert json.loads(held["mcwbuild.head"]) == HEAD
    assert json.loads(held["mcwbuild.model"])["name"] == "toy"
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert b"site-packages" not in data
    assert b".py" not in data


def test_a_wrong_graph_is_a_typed_error() -> None:
    node = helper.make_node("Add", ["x", "x"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])  # not what Add gives
    data = helper.make_model(helper.make_graph([node], "wrong", [x], [y])).SerializeToString()
    with pytest.raises(StageFailed, match="not valid"):
        graph.check(data)


def test_what_onnx_runtime_does_not_load_is_a_typed_error() -> None:
    node = helper.make_node("NoSuchOperator", ["x"], ["y"])
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    data = helper.make_model(helper.make_graph([node], "odd", tensors[:1], tensors[1:])).SerializeToString()
    with pytest.raises(StageFailed, match="does not load"):
        OrtRunner(data, CONTRACT, ["y"], 1)


def test_what_cannot_be_exported_is_a_typed_error() -> None:
    class Odd(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.bessel_j0(x)

    with pytest.raises(StageFailed, match="cannot be exported"):
        graph.export(Odd(), [32, 64], 3, ["y"], 17)


def test_the_weights_are_counted(network: torch.nn.Module) -> None:
    weights = sum(part.numel() for part in network.parameters())
    folded = 16  # the batch norm's scale and shift go into the convolution before it
    assert graph.figures(exported(network))["parameters"] == weights - folded


HOSTILE = [
    'it\'s "quoted" """',
    "two\nlines\r\t",
    "{{ 7*7 }} ${HOME} %s",
    "\\u202e",
    "::error::x ##[error]y",
    "a\u200db\u200c",
]


def test_hostile_names_stand_unchanged_in_the_metadata_as_our_reader_reads_it(
    network: torch.nn.Module, tmp_path: Path
) -> None:
    """Beside a hundred characters of every plane's letters, the same through onnx and through our own reader."""
    scripts = [chr(n) for n in range(0xA0, 0x30000, 1777) if acceptable(chr(n)) and not 0xD800 <= n < 0xE000]
    classes = {"names": [*HOSTILE, *scripts], "num_classes": len(HOSTILE) + len(scripts)}
    source = {**CONTRACT, "classes": classes, "model": {**CONTRACT["model"], "name": "\U0001f600 犬 'a'"}}
    path = tmp_path / "best.onnx"
    path.write_bytes(graph.label(exported(network), source, HEAD))
    theirs = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    ours = artefacts.read_onnx(path).metadata
    assert ours == theirs
    assert json.loads(ours["mcwbuild.contract"])["classes"]["names"] == classes["names"]
    assert json.loads(ours["mcwbuild.model"])["name"] == source["model"]["name"]
    assert ours["mcwbuild.contract_sha256"] == inherit.contract_sha256(source)
