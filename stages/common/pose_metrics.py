"""Accuracy of poses: COCO average precision by object keypoint similarity (OKS), and of their boxes beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stages.common import metrics
from stages.common.ground_truth import Labels
from stages.common.per_image import Floats, Verdict
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


def found_skeletons(found: Poses) -> Skeletons:
    """What was found, as ground truth for another's results; every keypoint counts."""
    points = found.keypoints.astype(np.float64)
    return Skeletons(
        found.boxes.astype(np.float64),
        found.classes,
        np.concatenate([points[..., :2], np.ones_like(points[..., :1])], axis=2),
    )


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


def judge_poses(found: Sequence[Poses], truth: Sequence[Skeletons], names: Sequence[str], confidence: float) -> Verdict:
    """The verdict on keypoints, and `boxes` with the average precision of boxes.

    As `metrics.judge`, OKS standing for the IoU. Objects without a labelled keypoint count in no figure but the
    boxes'.
    """
    objects = [one.classes[_known(one)] for one in truth]
    verdict = metrics.judge(found, objects, lambda image: _overlap(found[image], truth[image]), names, confidence)
    if verdict.per_image is None:
        return verdict
    boxes = metrics.box_summary(found, [(one.boxes, one.classes) for one in truth], len(names))
    return replace(verdict, metrics={**verdict.metrics, "boxes": boxes})


def _known(one: Skeletons) -> NDArray[np.bool_]:
    """Which objects have a labelled keypoint."""
    known: NDArray[np.bool_] = (one.keypoints[..., 2] != 0).any(axis=1)
    return known


def _overlap(found: Poses, truth: Skeletons) -> Floats:
    """OKS [n, m] with the objects that have a labelled keypoint."""
    seen = _known(truth)
    areas = (truth.boxes[seen, 2:] - truth.boxes[seen, :2]).prod(axis=1) * AREA_OF_BOX
    return similarity(found.keypoints, truth.keypoints[seen], areas)
