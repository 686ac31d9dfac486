"""Accuracy of poses: COCO average precision by object keypoint similarity (OKS), and of their boxes beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.common import metrics
from stages.common.detection import Detections
from stages.common.ground_truth import Labels
from stages.common.metrics import Floats
from stages.common.per_image import Matches, matches
from stages.common.poses import Poses

# Standard deviations of how people place COCO's 17 keypoints, in units of an object's size (cocodataset.org); for any
# other set Ultralytics takes 1 / number of keypoints.
_PERSON = (0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89)
AREA_OF_BOX = 0.53  # share of its box that an object covers; Ultralytics has no masks of poses and takes this


@dataclass(frozen=True)
class Skeletons:
    """One image's objects: boxes [n, 4] x1 y1 x2 y2 in pixels, classes [n], keypoints [n, k, 3] x y visible."""

    boxes: Floats
    classes: NDArray[np.int64]
    keypoints: Floats


def skeletons(labels: Labels, shape: tuple[int, int]) -> Skeletons:
    """The labels in pixels of an image of `shape` [H, W]."""
    rows, columns = shape
    points = np.array(labels.points, np.float64) if labels.points else np.zeros((0, 1, 3))
    return Skeletons(labels.in_pixels(shape), labels.classes, points * [columns, rows, 1])


def sound_poses(found: Poses) -> Poses:
    """Without what has no finite box, score or keypoint."""
    kept = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.scores)
    kept &= np.isfinite(found.keypoints).all(axis=(1, 2))
    return Poses(found.boxes[kept], found.scores[kept], found.classes[kept], found.keypoints[kept])


def sigmas_of(count: int) -> Floats:
    """The standard deviations for that many keypoints."""
    return np.array(_PERSON) / 10 if count == len(_PERSON) else np.full(count, 1 / count)


def similarity(found: Floats, truth: Floats, areas: Floats) -> Floats:
    """OKS [n, m] of keypoints [n, k, 3] with those of objects [m, k, 3] of these areas [m], over the labelled ones."""
    offsets = found[:, None, :, :2].astype(np.float64) - truth[None, :, :, :2]
    spread = (2 * sigmas_of(truth.shape[1])) ** 2 * 2 * (areas[:, None] + np.spacing(1))
    seen = truth[..., 2] > 0
    near = np.exp(-(offsets**2).sum(axis=3) / spread) * seen
    shared: Floats = near.sum(axis=2) / np.maximum(seen.sum(axis=1), 1)
    return shared


def measure_poses(
    found: Sequence[Poses], truth: Sequence[Skeletons], names: Sequence[str], confidence: float
) -> dict[str, Any]:
    """The `accuracy_metrics` of a performance record: of keypoints, and `boxes` with the average precision of boxes.

    As `metrics.measure`, OKS standing for the IoU. Objects without a labelled keypoint count in no figure but the
    boxes'.
    """
    known, classes = _known(truth)
    if not any(map(len, classes)):
        return metrics.NO_OBJECTS
    metrics.require_finite(found)
    areas = [_areas(one) for one in truth]
    images = [{"id": number} for number in range(1, len(truth) + 1)]
    objects = [
        {**row, "area": float(area), "num_keypoints": int((points[:, 2] > 0).sum())}
        for number, (one, seen, own) in enumerate(zip(truth, known, areas, strict=True), 1)
        for row, area, points in zip(
            _rows(number, one.boxes[seen], one.classes[seen], one.keypoints[seen]),
            own[seen],
            one.keypoints[seen],
            strict=True,
        )
    ]
    results = [
        {**row, "score": score}
        for number, one in enumerate(found, 1)
        for row, score in zip(_rows(number, one.boxes, one.classes, one.keypoints), one.scores.tolist(), strict=True)
    ]
    count = next(one.keypoints.shape[1] for one in truth if len(one.classes))
    precisions = metrics.coco_precision(images, objects, results, len(names), "keypoints", sigmas_of(count))
    ranked = metrics.ranked(found, classes, lambda image: _overlap(found[image], truth[image]), len(names))
    boxes = metrics.average_precision(
        [Detections(one.boxes, one.scores, one.classes) for one in found],
        [(one.boxes, one.classes) for one in truth],
        len(names),
    )
    return {**metrics.summed_up(classes, precisions, ranked, names, confidence), "boxes": metrics.box_summary(boxes)}


def match_poses(found: Sequence[Poses], truth: Sequence[Skeletons], num_classes: int) -> Matches:
    """What is kept of the poses, image by image."""
    _, classes = _known(truth)
    return matches(found, classes, lambda image: _overlap(found[image], truth[image]), num_classes)


def _known(truth: Sequence[Skeletons]) -> tuple[list[NDArray[np.bool_]], list[NDArray[np.int64]]]:
    """Which objects of each image have a labelled keypoint, and the classes of those."""
    known = [np.asarray(one.keypoints[..., 2].any(axis=1)) for one in truth]
    return known, [one.classes[seen] for one, seen in zip(truth, known, strict=True)]


def _areas(one: Skeletons) -> Floats:
    found: Floats = (one.boxes[:, 2:] - one.boxes[:, :2]).prod(axis=1) * AREA_OF_BOX
    return found


def _overlap(found: Poses, truth: Skeletons) -> Floats:
    """OKS [n, m] with the objects that have a labelled keypoint."""
    seen = truth.keypoints[..., 2].any(axis=1)
    return similarity(found.keypoints, truth.keypoints[seen], _areas(truth)[seen])


def _rows(image: int, boxes: Floats, classes: NDArray[np.int64], keypoints: Floats) -> list[dict[str, Any]]:
    """One image's poses as COCO annotations."""
    sides = np.asarray(boxes, np.float64).copy()
    sides[:, 2:] -= sides[:, :2]
    flat = keypoints.astype(np.float64).reshape(len(classes), keypoints.shape[1] * keypoints.shape[2])
    return [
        {"image_id": image, "category_id": int(label), "bbox": box, "area": box[2] * box[3], "keypoints": points}
        for label, box, points in zip(classes, sides.tolist(), flat.tolist(), strict=True)
    ]
