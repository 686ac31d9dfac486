"""Accuracy of turned boxes: average precision by probabilistic IoU, as Ultralytics counts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.common import metrics
from stages.common.ground_truth import Labels
from stages.common.per_image import Floats, Verdict
from stages.common.turned import TurnedBoxes, probabilistic_iou


@dataclass(frozen=True)
class TurnedObjects:
    """One image's objects: boxes float64 [n, 5] cx cy w h in pixels and angle in radians, classes [n]."""

    boxes: Floats
    classes: NDArray[np.int64]


def turned_objects(labels: Labels, shape: tuple[int, int]) -> TurnedObjects:
    """The smallest turned boxes around the labels' outlines, in pixels of the image of `shape` [H, W]."""
    rows, columns = shape
    boxes = [_smallest(points * [columns, rows]) for points in labels.points]
    return TurnedObjects(np.array(boxes, np.float64).reshape(-1, 5), labels.classes)


def found_turned(found: TurnedBoxes) -> TurnedObjects:
    """What was found, as ground truth for another's results."""
    return TurnedObjects(found.boxes.astype(np.float64), found.classes)


def _smallest(points: Floats) -> list[float]:
    (x, y), (wide, high), degrees = cv2.minAreaRect(points.astype(np.float32))
    return [x, y, wide, high, np.deg2rad(degrees)]


def sound_turned(found: TurnedBoxes) -> TurnedBoxes:
    """Without what has no finite box or score."""
    kept = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.scores)
    return TurnedBoxes(found.boxes[kept], found.scores[kept], found.classes[kept])


def judge_turned(
    found: Sequence[TurnedBoxes], truth: Sequence[TurnedObjects], names: Sequence[str], confidence: float
) -> Verdict:
    """The verdict on turned boxes; as `metrics.judge`, with the probabilistic IoU."""

    def overlap(image: int) -> Floats:
        return probabilistic_iou(found[image].boxes, truth[image].boxes)

    return metrics.judge(found, [one.classes for one in truth], overlap, names, confidence)
