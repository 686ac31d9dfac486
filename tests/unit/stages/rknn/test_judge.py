"""Whether a board and the simulator agree, and at which outputs they part."""

from __future__ import annotations

import pytest

from stages.rknn.judge import agreeing
from stages.rknn.targets import Variant


@pytest.mark.parametrize(
    ("variant", "family", "cosine", "error", "status"),
    [
        ("fp16", "yolo_dfl", 0.9999, 0.3, "passed"),
        ("fp16", "yolo_dfl", 0.98, 0.3, "failed"),
        ("int8", "yolo_dfl", 0.98, 0.3, "failed"),
        ("int8", "yolo_dfl", 0.0, 0.003, "passed"),  # scores of a scale without an object
        ("fp16", "yolo_dfl", 0.0, 0.003, "failed"),  # which FP16 can tell from nothing
        ("fp16", "yolo_dfl", 0.0, 0.0009, "passed"),
        ("int8", "outputs", 0.0, 0.003, "failed"),  # a generic network's outputs may all be as small
        ("int8", "yolo_dfl", None, None, "failed"),
    ],
)
def test_an_output_parts_by_its_direction_unless_its_error_means_nothing(
    variant: Variant, family: str, cosine: float | None, error: float | None, status: str
) -> None:
    rows = [
        {"name": "boxes_8", "cosine": 1.0, "max_error": 0.01},
        {"name": "scores_8", "cosine": cosine, "max_error": error},
    ]
    found = agreeing(variant, {"outputs": rows}, family)
    assert found.status == status
    assert ("part at scores_8" in found.detail) == (status == "failed")
    assert ("1 of 2 outputs" in found.detail) == (status == "failed")


def test_without_outputs_nothing_is_said() -> None:
    found = agreeing("int8", {"status": "unmeasured", "reason": "The package holds no expected_int8.npz."}, "ctc")
    assert (found.status, found.detail) == ("unmeasured", "The package holds no expected_int8.npz.")
