"""The shapes of a head's outputs, for checking a network against its head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def output_shapes(head: Mapping[str, Any], size: Sequence[int]) -> list[list[int]]:
    """[1, channels, h, w] of each output in the head's order, for an input of `size` [H, W]."""
    return _SHAPES[head["family"]](head, size)


def _yolo_dfl(head: Mapping[str, Any], size: Sequence[int]) -> list[list[int]]:
    return [
        [1, channels, size[0] // stride, size[1] // stride]
        for stride in head["strides"]
        for channels in (4 * head["reg_max"], head["num_classes"])
    ]


def _yolo_classes(head: Mapping[str, Any], size: Sequence[int]) -> list[list[int]]:
    del size  # the pooling before it takes any
    return [[1, head["num_classes"], 1, 1]]


_SHAPES = {"yolo_dfl": _yolo_dfl, "yolo_classes": _yolo_classes}
