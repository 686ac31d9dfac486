"""Documents held against the bytes of the models that they describe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcwbuild.contract import artefacts, inherit, readback
from mcwbuild.contract.artefacts import Tensor
from mcwbuild.contract.marks import Document

MODELS = Path(__file__).parents[2] / "contract" / "models"
SOURCE: dict[str, Any] = {
    "model": {"name": "m", "type": "YOLO11", "task": "object_detection"},
    "classes": {"names": ["a"], "num_classes": 1},
    "input": {"size": [16, 32], "format": "BGR"},
    "preprocessing": {
        "resize": {"method": "letterbox"},
        "normalize": {"mean": [10, 20, 30.0], "std": [255, 128, 64]},
    },
    "rknn": {"platform": {"target": "rk3588"}},
}
DOCUMENT = Document(SOURCE, "rknn_source.yaml")
HASH = inherit.contract_sha256(inherit.complete(SOURCE))
FACTS = replace(
    artefacts.read_rknn(MODELS / "tiny_int8.rknn"), custom_string='{"mcwbuild": "0", "contract_sha256": "' + HASH + '"}'
)


def test_a_model_that_is_as_written_has_no_problem() -> None:
    assert readback.rknn_problems(DOCUMENT, FACTS) == []
    assert readback.onnx_problems(DOCUMENT, artefacts.read_onnx(MODELS / "tiny.onnx")) == []


def test_rounding_to_single_precision_is_no_difference() -> None:
    exact = {**SOURCE["preprocessing"], "normalize": {"mean": [0.1, 0.2, 0.3], "std": [58.395, 57.12, 57.375]}}
    document = Document({**SOURCE, "preprocessing": exact}, "f")
    rounded = replace(FACTS, mean=(0.10000000149011612, 0.2, 0.3), std=(58.395, 57.12, 57.375))
    assert [p.path for p in readback.rknn_problems(document, rounded)] == ["$.contract_sha256"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"mean": (10.0, 20.0, 31.0)}, "$.preprocessing.normalize.mean"),
        ({"std": (64.0, 128.0, 255.0)}, "$.preprocessing.normalize.std"),
        ({"target": ("rk3566",)}, "$.rknn.platform.target"),
        ({"custom_string": None}, "$.contract_sha256"),
        ({"custom_string": '{"mcwbuild": "0"'}, "$.contract_sha256"),
        ({"inputs": (Tensor("x", "int8", (1, 3, 32, 16)),)}, "$.input.size"),
        ({"inputs": (Tensor("x", "int8", (1, 1, 16, 32)),)}, "$.input.channels"),
        ({"inputs": (Tensor("x", "int8", (4, 3, 16, 32)),)}, "$.input.size"),
        ({"inputs": (Tensor("x", "int8", (3, 16, 32)),)}, "$.input.size"),
        ({"inputs": (Tensor("x", "int8", (1, 3, "h", 32)),)}, "$.input.size"),
    ],
)
def test_each_difference_is_found_and_nothing_else(change: dict[str, Any], path: str) -> None:
    assert [problem.path for problem in readback.rknn_problems(DOCUMENT, replace(FACTS, **change))] == [path]


def test_calibration_with_swapped_colours_is_for_bgr_models_only() -> None:
    rgb = Document({**SOURCE, "input": {"size": [16, 32], "format": "RGB"}}, "f")
    assert "$.input.format" in [problem.path for problem in readback.rknn_problems(rgb, FACTS)]


def test_the_chip_that_was_asked_for_may_be_an_alias() -> None:
    assert readback.rknn_problems(DOCUMENT, FACTS, target="rk3588s") == []


def test_a_model_without_normalization_takes_pixels_as_they_are() -> None:
    plain = {**SOURCE["preprocessing"], "normalize": {"enabled": False}}
    document = Document({**SOURCE, "preprocessing": plain}, "f")
    neutral = replace(FACTS, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert [p.path for p in readback.rknn_problems(document, neutral)] == ["$.contract_sha256"]


def test_an_onnx_of_another_dtype_or_layout_is_told() -> None:
    facts = artefacts.read_onnx(MODELS / "tiny.onnx")
    other = replace(facts, inputs=(Tensor("images", "uint8", (1, 16, 32, 3)),))
    assert {p.path for p in readback.onnx_problems(DOCUMENT, other)} == {
        "$.input.size",
        "$.input.channels",
        "$.input.dtype",
    }
    nhwc = Document({**SOURCE, "input": {**SOURCE["input"], "layout": "NHWC", "dtype": "uint8"}}, "f")
    assert readback.onnx_problems(nhwc, other) == []
