"""ONNX files of every task of Ultralytics: the head found, cut, and equal to what the file itself predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from mcwbuild.contract.errors import InputError
from stages.families import family_of
from stages.families.yolo.network import quiet_ultralytics
from stages.onnx import given, own
from stages.onnx.ort_runner import OrtRunner

quiet_ultralytics()

from tests.support.detectors import NAMES, untrained  # noqa: E402
from tests.support.foreign_onnx import export, small  # noqa: E402

SIZE = (64, 96)
# The head, opset, simplified, one-to-one; and what describes it beside strides and classes.
CASES: dict[str, tuple[str, int, bool, bool, dict[str, Any]]] = {
    "masks": ("Segment", 17, False, False, {"prototypes": 8, "reg_max": 16}),
    "masks, simplified": ("Segment", 13, True, False, {"prototypes": 8, "reg_max": 16}),
    "masks, one-to-one": ("Segment26", 17, True, True, {"prototypes": 8, "reg_max": 1, "nms": False}),
    "keypoints": ("Pose", 17, False, False, {"keypoints": [5, 3], "keypoint_unit": 2}),
    "keypoints, dynamo": ("Pose", 19, True, False, {"keypoints": [5, 3], "keypoint_unit": 2}),
    "keypoints, one bin": ("Pose26", 17, True, False, {"keypoints": [5, 3], "keypoint_unit": 1}),
    "keypoints, one-to-one": ("Pose26", 17, False, True, {"keypoints": [5, 3], "nms": False}),
    "turned": ("OBB", 17, True, False, {"angle": "sigmoid", "reg_max": 16}),
    "turned, one bin": ("OBB26", 17, False, False, {"angle": "radians", "reg_max": 1}),
    "turned, one-to-one": ("OBB26", 17, True, True, {"angle": "radians", "nms": False}),
    "turned, attention": ("yolo26n-obb", 17, False, True, {"angle": "radians", "nms": False}),
    "boxes, one-to-one": ("Detect", 17, False, True, {"reg_max": 1, "nms": False}),
    "boxes, one-to-one, dynamo": ("Detect", 18, True, True, {"reg_max": 1, "nms": False}),
    "classes": ("Classify", 17, False, False, {"family": "yolo_classes", "num_classes": 3}),
    "classes, dynamo": ("Classify", 18, True, False, {"family": "yolo_classes", "num_classes": 3}),
}


def exported(name: str, opset: int = 17, slim: bool = False, best: bool = False) -> bytes:
    """As `yolo export format=onnx` has it; `best`: with nms=False."""
    if name.startswith("yolo"):
        model: Any = untrained(f"{name}.yaml", NAMES).eval().requires_grad_(False)
        head = model.model[-1]
        head.export, head.format = True, "onnx"
        head.end2end = best
        model = model.fuse(verbose=False)
    else:
        model = small(name, len(NAMES), best)
    outputs = ("output0", "output1") if "seg" in name.lower() else ("output0",)
    return export(model, SIZE, opset, slim=slim, names=("images", *outputs))


def read(folder: Path, data: bytes) -> given.Given:
    path = folder / "model.onnx"
    path.write_bytes(data)
    return given.read(path)


@pytest.mark.parametrize("case", CASES)
def test_the_cut_predicts_what_the_file_predicts(tmp_path: Path, case: str) -> None:
    name, opset, slim, best, described = CASES[case]
    found = read(tmp_path, exported(name, opset, slim, best))
    head = found.head.described
    assert {key: head[key] for key in described} == described
    data = given.cut(found)
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    image = np.random.default_rng(1).random((1, 3, *SIZE), np.float32)
    outputs = OrtRunner(data, {}, head["outputs"], 1).run(image)
    tensors = own.tensors(found.head)
    theirs = own.predictions(found.head, OrtRunner(found.exposed(tensors), {}, tensors, 1).run(image))
    limits = own.LIMITS[head["family"]]
    for what, expected, made in zip(limits, theirs, own.decoded(found.head, outputs), strict=True):
        assert expected.shape == made.shape, what
        assert np.abs(expected - made).max() <= limits[what], what


@pytest.mark.parametrize("name", ["Detect", "Segment26", "Pose26", "OBB26"])
def test_a_one_to_one_file_is_measured_by_the_best_that_it_gives(tmp_path: Path, name: str) -> None:
    found = read(tmp_path, exported(name, best=True))
    image = np.random.default_rng(2).random((1, 3, *SIZE), np.float32)
    outputs = OrtRunner(found.data, {}, found.head.outputs, 1).run(image)
    best = own.results(found.head, outputs, -1.0)
    cut = OrtRunner(given.cut(found), {}, found.head.described["outputs"], 1).run(image)
    every = family_of(found.head.described).decode(cut, found.head.described, -1.0)
    assert len(best[1]) == outputs[0].shape[1] <= len(every[1])
    # Scores may be the same: whatever it chose has to be one of the decoder's own candidates.
    for index in range(0, len(best[1]), 7):
        same = (every[2] == best[2][index]) & (np.abs(every[1] - best[1][index]) < 1e-5)
        boxes = np.abs(every[0][same] - best[0][index]).max(axis=1)
        assert boxes.min() < 0.05
        if name in ("Segment26", "Pose26"):
            assert np.abs(every[3][same][boxes.argmin()] - best[3][index]).max() < 0.05


def test_keypoints_without_a_word_of_their_visibility(tmp_path: Path) -> None:
    model = small("Pose", 3, kpt_shape=[4, 2])
    head = read(tmp_path, export(model, SIZE)).head.described
    assert head["keypoints"] == [4, 2]
    assert head["outputs"] == [f"{part}_{stride}" for stride in (8, 16) for part in ("boxes", "scores", "keypoints")]


def test_the_classifier_s_logits_are_those_of_pytorch(tmp_path: Path) -> None:
    found = read(tmp_path, exported("Classify"))
    model = small("Classify", len(NAMES))
    model.model[-1].export = False
    image = np.random.default_rng(3).random((1, 3, *SIZE), np.float32)
    (logits,) = OrtRunner(given.cut(found), {}, ["logits"], 1).run(image)
    assert logits.shape == (1, 3, 1, 1)
    assert np.abs(logits.reshape(1, 3) - model(torch.from_numpy(image))[1].numpy()).max() < 1e-4


def edited(data: bytes, edit: Any) -> bytes:
    model = onnx.load_from_string(data)
    edit(model)
    made: bytes = model.SerializeToString()
    return made


def other_prototypes(model: Any) -> None:
    first = next(node for node in model.graph.node if node.op_type == "Conv").output[0]
    model.graph.output[1].CopyFrom(helper.make_tensor_value_info(first, TensorProto.FLOAT, [1, 8, 32, 48]))


def one_more_output(model: Any) -> None:
    model.graph.output.append(helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 15, 120]))


def smooth_coefficients(model: Any) -> None:
    place, last = next((index, node) for index, node in enumerate(model.graph.node) if "output0" in node.output)
    model.graph.node.insert(place, helper.make_node("Relu", [last.input[-1]], ["smooth"]))
    last.input[-1] = "smooth"


ODD = {
    r"prototypes are \[1, 8, 32, 48\]": other_prototypes,
    "3 outputs": one_more_output,
    "third part .* Relu in the way": smooth_coefficients,
}


@pytest.fixture(scope="module")
def masks() -> bytes:
    return exported("Segment")


@pytest.mark.parametrize("said", ODD)
def test_an_odd_graph_is_refused_with_what_was_found(tmp_path: Path, masks: bytes, said: str) -> None:
    with pytest.raises(InputError, match=f"(?i){said}"):
        read(tmp_path, edited(masks, ODD[said]))


def no_linear_layer(model: Any) -> None:
    gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1.0), "one"))
    model.graph.node.insert(len(model.graph.node) - 1, helper.make_node("Mul", [gemm.output[0], "one"], ["scaled"]))
    model.graph.node[-1].input[0] = "scaled"


def test_a_classifier_of_another_end_is_refused_with_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="behind Mul, not behind a linear layer"):
        read(tmp_path, edited(exported("Classify"), no_linear_layer))
