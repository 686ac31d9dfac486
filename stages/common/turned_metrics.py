"""Accuracy of turned boxes: average precision by probabilistic IoU, as Ultralytics counts it.

No library has it: matching and interpolation are COCO's, written once more and compared with the library on
upright boxes in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.common import metrics
from stages.common.ground_truth import Labels
from stages.common.metrics import Floats, Overlap
from stages.common.per_image import THRESHOLDS, Matches, matches
from stages.common.turned import TurnedBoxes, probabilistic_iou

_RECALLS = np.linspace(0, 1, 101)


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


def _smallest(points: Floats) -> list[float]:
    (x, y), (wide, high), degrees = cv2.minAreaRect(points.astype(np.float32))
    return [x, y, wide, high, np.deg2rad(degrees)]


def sound_turned(found: TurnedBoxes) -> TurnedBoxes:
    """Without what has no finite box or score."""
    kept = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.scores)
    return TurnedBoxes(found.boxes[kept], found.scores[kept], found.classes[kept])


def measure_turned(
    found: Sequence[TurnedBoxes], truth: Sequence[TurnedObjects], names: Sequence[str], confidence: float
) -> dict[str, Any]:
    """The `accuracy_metrics` of a performance record; as `metrics.measure`, with the probabilistic IoU."""
    classes = [one.classes for one in truth]
    if not any(map(len, classes)):
        return metrics.NO_OBJECTS
    metrics.require_finite(found)
    overlaps = [probabilistic_iou(one.boxes, objects.boxes) for one, objects in zip(found, truth, strict=True)]
    overlap = overlaps.__getitem__
    precisions = precision_by(found, classes, overlap, len(names))
    ranked = metrics.ranked(found, classes, overlap, len(names))
    return metrics.summed_up(classes, precisions, ranked, names, confidence)


def match_turned(found: Sequence[TurnedBoxes], truth: Sequence[TurnedObjects], num_classes: int) -> Matches:
    """What is kept of turned boxes, image by image."""

    def overlap(image: int) -> Floats:
        return probabilistic_iou(found[image].boxes, truth[image].boxes)

    return matches(found, [one.classes for one in truth], overlap, num_classes)


def precision_by(
    found: Sequence[Any], classes: Sequence[NDArray[np.int64]], overlap: Overlap, num_classes: int
) -> Floats:
    """AP [10, num_classes] at `THRESHOLDS` by any measure of overlap; -1 for a class without objects.

    COCO's: greedy matching image by image, precision made monotonous, the mean of it at 101 recalls.
    """
    counts = np.bincount(np.concatenate(classes), minlength=num_classes)
    made = np.full((len(THRESHOLDS), num_classes), -1.0)
    for row, threshold in enumerate(THRESHOLDS):
        scores = metrics.ranked(found, classes, overlap, num_classes, float(threshold))
        for label in np.flatnonzero(counts):
            made[row, label] = _interpolated(*scores[label], int(counts[label]))
    return made


def _interpolated(scores: Floats, hits: Floats, objects: int) -> float:
    """AP from the scores of all results of a class, and of those that hit, ascending both."""
    right, total = (np.searchsorted(part, hits, side="left") for part in (hits, scores))
    # At the score of each hit: how many hits and how many results score as high or higher.
    caught, given = (len(part) - place for part, place in ((hits, right), (scores, total)))
    recall, precision = caught[::-1] / objects, (caught / given)[::-1]
    monotonous = np.maximum.accumulate(precision[::-1])[::-1] if len(precision) else precision
    places = np.searchsorted(recall, _RECALLS, side="left")
    return float(sum(monotonous[place] for place in places if place < len(monotonous)) / len(_RECALLS))
