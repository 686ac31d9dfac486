"""Accuracy of masks: COCO average precision of their run lengths, and of their boxes beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.common import metrics
from stages.common.detection import Detections
from stages.common.ground_truth import Labels
from stages.common.per_image import Floats, Verdict
from stages.common.segmentation import Segments

Runs = dict[str, Any]  # a mask in COCO's run lengths: size [H, W] and counts


@dataclass(frozen=True)
class Encoded(Detections):
    """Segments whose masks are run lengths: what can be kept of thousands of images; `shape` is the image's [H, W]."""

    masks: tuple[Runs, ...]
    shape: tuple[int, int]


@dataclass(frozen=True)
class Outlines:
    """One image's objects: boxes [n, 4] x1 y1 x2 y2 in pixels, classes [n], their masks, the image's [H, W]."""

    boxes: Floats
    classes: NDArray[np.int64]
    masks: tuple[Runs, ...]
    shape: tuple[int, int]


def encoded(found: Segments) -> Encoded:
    """The masks as run lengths; without what has no finite box or score."""
    from faster_coco_eval.core import mask as library

    kept = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.scores)
    masks = []
    for index in kept.nonzero()[0]:
        part, top, left = found.masks[index]
        whole = np.zeros(found.shape, np.uint8, order="F")
        whole[top : top + part.shape[0], left : left + part.shape[1]] = part
        masks.append(library.encode(whole))
    return Encoded(found.boxes[kept], found.scores[kept], found.classes[kept], tuple(masks), found.shape)


def found_outlines(found: Encoded) -> Outlines:
    """What was found, as ground truth for another's results."""
    return Outlines(found.boxes.astype(np.float64), found.classes, found.masks, found.shape)


def outlines(labels: Labels, shape: tuple[int, int]) -> Outlines:
    """The polygons of an image of `shape` [H, W], filled as COCO's tools fill them."""
    from faster_coco_eval.core import mask as library

    rows, columns = shape
    polygons = [(points * [columns, rows]).ravel().tolist() for points in labels.points]
    masks = [library.merge(library.frPyObjects([polygon], rows, columns)) for polygon in polygons]
    return Outlines(labels.in_pixels(shape), labels.classes, tuple(masks), shape)


def judge_masks(
    found: Sequence[Encoded], truth: Sequence[Outlines], names: Sequence[str], confidence: float
) -> Verdict:
    """The verdict on masks, and `boxes` with the average precision of boxes.

    As `metrics.judge`, the IoU being that of the masks in the image's own pixels.
    """
    objects = [one.classes for one in truth]
    verdict = metrics.judge(found, objects, lambda image: _overlap(found[image], truth[image]), names, confidence)
    if verdict.per_image is None:
        return verdict
    boxes = metrics.box_summary(found, [(one.boxes, one.classes) for one in truth], len(names))
    return replace(verdict, metrics={**verdict.metrics, "boxes": boxes})


def _overlap(found: Encoded, truth: Outlines) -> Floats:
    """The masks' IoU [n, m]."""
    from faster_coco_eval.core import mask as library

    left, right = list(found.masks), list(truth.masks)
    if not left or not right:
        return np.zeros((len(left), len(right)))
    shared: Floats = np.asarray(library.iou(left, right, [0] * len(right)), np.float64)
    return shared
