"""ONNX files of somebody else's: the stock head found in each form that exporters give it, and cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from mcwbuild.contract.errors import InputError
from stages.families.yolo.decode import decode
from stages.onnx import given, head_stock
from stages.onnx.ort_runner import OrtRunner
from tests.support.foreign_onnx import SMALL, export, network

CASES = {
    "yolov8, opset 12, simplified": ("yolov8n.yaml", 80, (64, 96), 12, True, False),
    "yolo11, opset 17": ("yolo11n.yaml", 3, (64, 96), 17, False, False),
    "yolo11, opset 17, simplified": ("yolo11n.yaml", 1, (96, 64), 17, True, False),
    "yolo12, opset 17": ("yolo12n.yaml", 2, (64, 64), 17, False, False),
    "yolov8, head of 8.3, opset 13": ("yolov8n.yaml", 64, (64, 64), 13, False, True),
    "yolo11, head of 8.3, simplified": ("yolo11n.yaml", 2, (64, 64), 17, True, True),
    "yolov8, opset 19, dynamo": ("yolov8n.yaml", 1, (64, 64), 19, False, False),
    "yolo11, opset 18, dynamo, simplified": ("yolo11n.yaml", 80, (64, 96), 18, True, False),
}


def split(output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes x1 y1 x2 y2 [n, 4] and scores [nc, n] of an Ultralytics output [1, 4 + nc, n]."""
    centre, half, scores = output[0, :2], output[0, 2:4] / 2, output[0, 4:]
    return np.concatenate([centre - half, centre + half]).T, scores


def written(folder: Path, data: bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("case", CASES)
def test_the_cut_gives_what_the_network_gives_in_pytorch(tmp_path: Path, case: str) -> None:
    architecture, classes, size, opset, slim, joined = CASES[case]
    model = network(architecture, classes, joined=joined)
    found = given.read(written(tmp_path, export(model, size, opset, slim=slim)))
    head = found.head.described
    assert (head["strides"], head["reg_max"], head["num_classes"]) == ([8, 16, 32], 16, classes)
    assert (found.opset, found.size, found.channels) == (opset, size, 3)
    data = given.cut(found)
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    image = np.random.default_rng(1).random((1, 3, *size), np.float32)
    outputs = OrtRunner(data, {}, head["outputs"], 1).run(image)
    expected_boxes, expected_scores = split(model(torch.from_numpy(image)).numpy())
    boxes, scores, labels = decode(outputs, head, 0.5)
    order = np.argsort(labels, kind="stable")  # decode lists scale after scale, the graph class after class
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    kept = np.argwhere(expected_scores > 0.5)
    assert len(kept) > 10
    assert np.abs(boxes - expected_boxes[kept[:, 1]]).max() < 0.01  # pixels
    assert np.abs(scores - expected_scores[kept[:, 0], kept[:, 1]]).max() < 1e-4
    assert np.array_equal(labels, kept[:, 0])


def test_one_bin_is_found_without_a_softmax(tmp_path: Path) -> None:
    model = network("yolo26n.yaml", 3)
    model.model[-1].end2end = False  # as `yolo export` has it unless nms=False
    found = given.read(written(tmp_path, export(model, (64, 96))))
    assert found.head.described | {"outputs": []} == {
        "family": "yolo_dfl",
        "strides": [8, 16, 32],
        "reg_max": 1,
        "num_classes": 3,
        "outputs": [],
        "score_activation": "sigmoid",
    }


@pytest.fixture(scope="module")
def small() -> bytes:
    """A network of two scales with the library's head, for 32x48."""
    return export(network(SMALL, 2), (32, 48), names=("x", "y"))


def test_the_cut_has_the_names_and_shapes_of_an_own_export(tmp_path: Path, small: bytes) -> None:
    found = given.read(written(tmp_path, small))
    model = onnx.load_from_string(given.cut(found))
    assert [tensor.name for tensor in model.graph.input] == ["images"]
    shapes = {
        tensor.name: [dim.dim_value for dim in tensor.type.tensor_type.shape.dim] for tensor in model.graph.output
    }
    assert shapes == {
        "boxes_8": [1, 64, 4, 6],
        "scores_8": [1, 2, 4, 6],
        "boxes_16": [1, 64, 2, 3],
        "scores_16": [1, 2, 2, 3],
    }
    kinds = {node.op_type for node in model.graph.node}
    assert kinds <= {"Conv", "Sigmoid", "Mul", "Identity"}  # Identity: the exporter shares equal weights by it
    used = {name for node in model.graph.node for name in node.input}
    assert {weight.name for weight in model.graph.initializer} <= used


def test_a_tensor_with_the_name_of_an_output_is_told(tmp_path: Path, small: bytes) -> None:
    model = onnx.load_from_string(small)
    first = model.graph.node[0].output[0]
    for node in model.graph.node:
        node.input[:] = ["boxes_8" if name == first else name for name in node.input]
        node.output[:] = ["boxes_8" if name == first else name for name in node.output]
    found = given.read(written(tmp_path, model.SerializeToString()))
    with pytest.raises(InputError, match="boxes_8"):
        given.cut(found)


def edited(data: bytes, edit: Any) -> bytes:
    model = onnx.load_from_string(data)
    edit(model)
    return model.SerializeToString()


def two_outputs(model: Any) -> None:
    first = next(node for node in model.graph.node if node.op_type == "Conv").output[0]
    model.graph.output.append(helper.make_tensor_value_info(first, TensorProto.FLOAT, [1, 8, 16, 24]))


def nms_behind(model: Any) -> None:
    last = model.graph.node[-1]
    last.output[0] = "raw"
    model.graph.initializer.append(helper.make_tensor("three", TensorProto.INT64, [1], [3]))
    model.graph.node.append(helper.make_node("TopK", ["raw", "three"], ["y", "places"], axis=2))
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 3


def logits_out(model: Any) -> None:
    sigmoid = next(node for node in reversed(model.graph.node) if node.op_type == "Sigmoid")
    sigmoid.op_type = "Tanh"


def no_bins(model: Any) -> None:
    next(node for node in model.graph.node if node.op_type == "Softmax").op_type = "LogSoftmax"


def activated(model: Any) -> None:
    concat = next(node for node in reversed(model.graph.node) if node.op_type == "Sigmoid").input[0]
    at = next(index for index, node in enumerate(model.graph.node) if concat in node.output)
    model.graph.node[at].output[0] = "bare"
    model.graph.node.insert(at + 1, helper.make_node("Relu", ["bare"], [concat]))


HEADS = {
    "2 outputs": two_outputs,
    r"\[1, 6, 3\] comes from TopK": nms_behind,
    "comes from Tanh, not Sigmoid": logits_out,
    "boxes come from 0 Softmax": no_bins,
    "scores stand 0 convolutions, with Relu in the way": activated,
}


@pytest.mark.parametrize("said", HEADS)
def test_another_head_is_refused_with_what_was_found(tmp_path: Path, small: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        given.read(written(tmp_path, edited(small, HEADS[said])))
    selects = HEADS[said] is nms_behind
    assert caught.value.kind == ("selection-in-graph" if selects else "head")
    assert ("nms=False" if selects else "--pt") in caught.value.remedy


def free_height(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"


def batch(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


def half(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def channels_last(model: Any) -> None:
    for place, length in enumerate((1, 32, 48, 3)):
        model.graph.input[0].type.tensor_type.shape.dim[place].dim_value = length


def newer(model: Any) -> None:
    model.opset_import[0].version = 20


def elsewhere(model: Any) -> None:
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/passwd")


def constant_elsewhere(model: Any) -> None:
    made = helper.make_node("Constant", [], ["unused"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0]))
    elsewhere_in = made.attribute[0].t
    elsewhere_in.data_location = TensorProto.EXTERNAL
    elsewhere_in.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.insert(0, made)


def our_own(model: Any) -> None:
    model.metadata_props.add(key="mcwbuild.contract", value="{}")


def two_inputs(model: Any) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


OUTSIDES = {
    "height": free_height,
    r"input is \[2, 3": batch,
    "float16": half,
    r"\[1, 32, 48, 3\]": channels_last,
    "opset is 20": newer,
    "weights lie in other files": elsewhere,
    "lies in another file": constant_elsewhere,
    "made by mcwbuild": our_own,
    "2 inputs": two_inputs,
}


@pytest.mark.parametrize("said", OUTSIDES)
def test_what_rknn_does_not_take_is_refused_with_what_was_found(tmp_path: Path, small: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        given.read(written(tmp_path, edited(small, OUTSIDES[said])))
    assert caught.value.kind == ("dynamic-shape" if OUTSIDES[said] is free_height else "onnx")
    assert caught.value.problems


def test_a_file_cut_short_anywhere_is_a_typed_error(tmp_path: Path, small: bytes) -> None:
    cuts = np.random.default_rng(2).integers(0, len(small) - 1, 60)
    for end in cuts:
        with pytest.raises(InputError):
            given.read(written(tmp_path, small[:end]))


def test_changed_bytes_are_a_typed_error_or_a_whole_model(tmp_path: Path, small: bytes) -> None:
    random = np.random.default_rng(3)
    refused = 0
    for _ in range(60):
        broken = bytearray(small)
        for place in random.integers(0, len(small), 20):
            broken[place] = int(random.integers(0, 256))
        try:
            given.read(written(tmp_path, bytes(broken)))
        except InputError:
            refused += 1
    assert refused > 0


def test_a_graph_whose_scales_do_not_fit_its_input_is_refused(small: bytes, tmp_path: Path) -> None:
    found = given.read(written(tmp_path, small))
    graph = given.graph_of(onnx.load_from_string(small))
    tensors = head_stock.convolutions(graph, "m")
    pairs = tensors.pairs
    shapes = {tensors.dense: (1, 6, 30)}
    for (boxes, scores), cells in zip(pairs, ((4, 6), (2, 3)), strict=True):
        shapes |= {boxes: (1, 64, *cells), scores: (1, 2, *cells)}
    assert head_stock.find(graph, tensors, shapes, (32, 48), "m") == found.head
    for wrong, said in (
        ({pairs[0][0]: (1, 63, 4, 6)}, "63"),
        ({pairs[0][0]: (1, 64, 5, 6)}, "5, 6"),
        ({pairs[0][0]: (1, 64, 5, 7), pairs[0][1]: (1, 2, 5, 7)}, "no stride"),
        ({pairs[0][0]: (1, 64, 2, 3), pairs[0][1]: (1, 2, 2, 3)}, r"strides \[16, 16\]"),
        ({pairs[1][1]: (1, 3, 2, 3)}, r"\[2, 3\] of scores"),
        ({tensors.dense: (1, 6, 31)}, "31"),
    ):
        with pytest.raises(InputError, match=said):
            head_stock.find(graph, tensors, shapes | wrong, (32, 48), "m")
