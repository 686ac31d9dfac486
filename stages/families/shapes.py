"""The shapes of a head's outputs, for checking a network against its head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stages.common.segmentation import PROTOTYPE_STRIDE
from stages.families.text.head import shape_of


def output_shapes(head: Mapping[str, Any], size: Sequence[int]) -> list[list[int]]:
    """[1, channels, h, w] of each output in the head's order, for an input of `size` [H, W]."""
    return _SHAPES[head["family"]](head, size)


def _scales(head: Mapping[str, Any], size: Sequence[int], *more: int) -> list[list[int]]:
    """Of each scale distances, scores, and as many more as `more` has numbers of channels."""
    return [
        [1, channels, size[0] // stride, size[1] // stride]
        for stride in head["strides"]
        for channels in (4 * head["reg_max"], head["num_classes"], *more)
    ]


def _yolo_masks(head: Mapping[str, Any], size: Sequence[int]) -> list[list[int]]:
    count = head["prototypes"]
    return [*_scales(head, size, count), [1, count, *(side // PROTOTYPE_STRIDE for side in size)]]


def _yolo_poses(head: Mapping[str, Any], size: Sequence[int]) -> list[list[int]]:
    count, numbers = head["keypoints"]
    return _scales(head, size, 2 * count, *([count] if numbers == 3 else []))


def _yolo_turned(head: Mapping[str, Any], size: Sequence[int]) -> list[list[int]]:
    return _scales(head, size, 1)


def _yolo_classes(head: Mapping[str, Any], size: Sequence[int]) -> list[list[int]]:
    del size  # the pooling before it takes any
    return [[1, head["num_classes"], 1, 1]]


def _yolo_anchors(head: Mapping[str, Any], size: Sequence[int]) -> list[list[int]]:
    scales = zip(head["strides"], head["anchors"], strict=True)
    channels = 5 + head["num_classes"]
    return [[1, len(anchors) * channels, size[0] // stride, size[1] // stride] for stride, anchors in scales]


def _text(head: Mapping[str, Any], size: Sequence[int]) -> list[list[int]]:
    del size  # the head knows its steps
    return [shape_of(head)]


def _scores(head: Mapping[str, Any], size: Sequence[int]) -> list[list[int]]:
    del size
    return [[1, head["num_classes"]]]


def _outputs(head: Mapping[str, Any], size: Sequence[int]) -> list[list[int]]:
    del size  # what the network gave when its head was found
    return [list(shape) for shape in head["shapes"]]


_SHAPES = {
    "ctc": _text,
    "yolo_anchors": _yolo_anchors,
    "yolo_dfl": _scales,
    "yolo_classes": _yolo_classes,
    "yolo_masks": _yolo_masks,
    "yolo_poses": _yolo_poses,
    "yolo_turned": _yolo_turned,
    "scores": _scores,
    "outputs": _outputs,
}
