"""The original YOLOv5 (the repository ultralytics/yolov5, up to v7.0): recognised, described, cut.

Its head has anchors: width and height of typical objects, three for each scale, found from the training's labels and
kept with the weights. Another training has others, so they are part of the contract (`model.anchors`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint import Checkpoint
from stages.families.yolo import description
from stages.families.yolo.anchors_network import DETECTORS, custom, read_yaml

if TYPE_CHECKING:
    import torch

REPOSITORY = "models.yolo."  # where its classes are, and YOLOv7's
_DIGITS = 6  # of an anchor: it is kept in half precision, and its box is off by a thousandth of a pixel at most


def recognise(checkpoint: Checkpoint) -> bool:
    """Whether it is a detector of that repository. Raises InputError where it is another network of it."""
    if not checkpoint.model_class.startswith(REPOSITORY):
        return False
    if checkpoint.model_class not in DETECTORS:
        raise InputError(
            f"{checkpoint.file} is a checkpoint that is not supported.",
            f"It is a {ascii(checkpoint.model_class)[1:-1][:80]} of the YOLOv5 or YOLOv7 repository.",
            "Detectors of YOLOv5 are supported; of the ultralytics package every task of YOLOv8, YOLO11 and YOLO26 is.",
            kind="architecture",
        )
    read_yaml(checkpoint)
    return True


def describe(
    checkpoint: Checkpoint, name: str | None = None, imgsz: int | Sequence[int] | None = None
) -> dict[str, Any]:
    """The whole `training_source` document; see `description.describe`. Raises InputError."""
    document = description.document(replace(checkpoint, task="detect"), "YOLOv5", None, name, imgsz)
    weights = {name: array for name, array in checkpoint.tensors.items() if ".anchor" not in name}
    multiples = {key: checkpoint.yaml[key] for key in ("depth_multiple", "width_multiple") if key in checkpoint.yaml}
    return {
        **document,
        "model": {**document["model"], "anchors": anchors_of(checkpoint)},
        "training": {**document["training"], "framework": "yolov5"},
        "architecture": {
            **multiples,
            "parameters": description.parameters(replace(checkpoint, tensors=weights)),
            "strides": list(checkpoint.stride),
        },
    }


def anchors_of(checkpoint: Checkpoint) -> list[list[list[float]]]:
    """[scales][anchors][width, height] in pixels of the input. Raises InputError where the checkpoint has none."""
    last = len(read_yaml(checkpoint)[0]) - 1
    cells = checkpoint.tensors.get(f"model.{last}.anchors")
    strides = checkpoint.stride
    if cells is None or cells.ndim != 3 or cells.shape[0] != len(strides) or cells.shape[2] != 2:
        shape = "missing" if cells is None else f"of the shape {list(cells.shape)}"
        raise custom(checkpoint, f"Its anchors are {shape}, where it has {len(strides)} scales.")
    pixels = cells.astype(np.float64) * np.array(strides, np.float64)[:, None, None]
    if not (np.isfinite(pixels).all() and pixels.min() > 0):
        raise custom(checkpoint, "Its anchors are not all above 0.")
    return rounded(pixels)


def rounded(pixels: Any) -> list[list[list[float]]]:
    """Anchors as the contract has them: as many digits as count."""
    return [[[float(f"{side:.{_DIGITS}g}") for side in anchor] for anchor in scale] for scale in pixels.tolist()]


def described(anchors: Sequence[Any], strides: Sequence[int], classes: int) -> dict[str, Any]:
    """The head as data."""
    return {
        "family": "yolo_anchors",
        "strides": list(strides),
        "anchors": [[list(anchor) for anchor in scale] for scale in anchors],
        "num_classes": classes,
        "outputs": [f"cells_{stride}" for stride in strides],
        "score_activation": "sigmoid",
    }


def cut(network: torch.nn.Module) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The network up to its head's convolutions, and the head as data.

    The cut network takes float32 [1, 3, H, W] in 0..1 and returns, for each stride in order, [1, anchors * (5 +
    classes), h, w] after the sigmoid. All of it is in 0..1, so that one INT8 scale holds it.
    """
    from stages.families.yolo.anchors_head import Activated

    model: Any = network
    head = model.model[-1]
    strides = [int(stride) for stride in model.stride.tolist()]
    pixels = head.anchors.double().numpy() * np.array(strides, np.float64)[:, None, None]
    classes = head.m[0].out_channels // head.anchors.shape[1] - 5
    return Activated(network).eval(), described(rounded(pixels), strides, classes)
