"""Drawn detections: objects, and a detector that finds some of them, misplaces them, doubles them and invents more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.common import metrics
from stages.common.detection import Detections
from stages.common.matching import match
from stages.common.per_image import Matches

Truth = tuple[np.ndarray, np.ndarray]
SIDE = 500.0  # pixels of an image
SCORE_DIGITS = 1  # of scores that are often the same


def objects(random: np.random.Generator, most: int, classes: int) -> Truth:
    """Boxes [n, 4] and classes [n] of one image, up to `most` objects."""
    count = int(random.integers(0, most + 1))
    return boxes(random, count), random.integers(0, classes, count)


def boxes(random: np.random.Generator, count: int) -> np.ndarray:
    """Boxes x1 y1 x2 y2 [n, 4]."""
    corner = random.uniform(0, SIDE, (count, 2))
    return np.concatenate([corner, corner + random.uniform(20, 120, (count, 2))], axis=1)


def detect(
    random: np.random.Generator, truth: Truth, classes: int, noise: float, invented: int = 6, ties: bool = False
) -> Detections:
    """What a detector finds whose boxes are `noise` pixels off; the better a box, the higher its score is likely."""
    there, labels = truth
    seen = random.random(len(there)) < 0.9
    good, again = (there[seen] + random.normal(0, spread, there[seen].shape) for spread in (noise, 2 * noise))
    extra = boxes(random, int(random.integers(0, invented + 1)))
    corners = np.concatenate([good, again, extra])
    corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2] + 1)
    named = np.concatenate([labels[seen], labels[seen], random.integers(0, classes, len(extra))])
    high = np.concatenate([np.full(len(good), 1.0), np.full(len(again), 0.8), np.full(len(extra), 0.6)])
    scores = high * random.random(len(corners))
    scores = np.round(scores, SCORE_DIGITS) if ties else scores
    order = np.argsort(-scores, kind="stable")
    return Detections(corners[order].astype(np.float32), scores[order].astype(np.float32), named[order])


def scene(
    seed: int, images: int, classes: int = 3, noise: float = 3.0, ties: bool = False
) -> tuple[list[Detections], list[Truth]]:
    """So many images' detections and objects, up to 6 in each."""
    random = np.random.default_rng(seed)
    truth = [objects(random, 6, classes) for _ in range(images)]
    return [detect(random, one, classes, noise, ties=ties) for one in truth], truth


def box_matches(found: Sequence[Detections], truth: Sequence[Truth], num_classes: int) -> Matches:
    """What the evaluator keeps of boxes, image by image."""
    return match(
        found,
        [classes for _, classes in truth],
        lambda image: metrics.box_iou(found[image].boxes.astype(np.float64), truth[image][0]),
        num_classes,
    ).matches()
