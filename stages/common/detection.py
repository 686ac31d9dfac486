"""From candidate boxes to detections: non-maximum suppression, limit, and the way back into the image.

The generated board script is made of this file too: Python 3.8, numpy and OpenCV only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.common.images import Placement, boxes_to_image

_BLOCK = 256  # boxes judged at once: fewer cost more calls, more cost pairs that an earlier box settles
_FAR = 2.0**20  # pixels; more than any image has


@dataclass(frozen=True)
class Detections:
    """What was found in one image, best first.

    boxes: float32 [n, 4], x1 y1 x2 y2 in pixels; scores: float32 [n] in 0..1; classes: int64 [n].
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def above(self, confidence: float) -> Detections:
        """Those with a score above `confidence`."""
        kept = self.scores > confidence
        return Detections(self.boxes[kept], self.scores[kept], self.classes[kept])


def nms(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou: float, max_detections: int) -> np.ndarray:
    """Indices of the boxes that stay, best score first, at most `max_detections`.

    Greedy and per class: a box goes when a better one of its class overlaps it by more than `iou`.
    Of equal scores the first stays. boxes [n, 4] x1 y1 x2 y2, scores [n], classes [n].
    """
    order = (-scores).argsort(kind="stable")
    kept = order[:0]
    for start in range(0, len(order), _BLOCK):
        weaker = order[start : start + _BLOCK]
        ranked = np.concatenate([kept, weaker])
        better, worse = _rivals(boxes.take(ranked, axis=0), classes.take(ranked), iou)
        alive = np.ones(len(ranked), bool)
        # Each round settles those whose rivals are settled; what does not change any more is the greedy result
        # (Cluster-NMS, Zheng et al. 2021, arXiv:2005.03572, section III-D).
        while True:
            stay = np.ones(len(ranked), bool)
            stay[worse.compress(alive.take(better))] = False
            if (stay == alive).all():
                break
            alive = stay
        kept = ranked[alive]
        if len(kept) >= max_detections:
            break
    return kept[:max_detections]


def _rivals(boxes: np.ndarray, classes: np.ndarray, iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Which of the boxes [n, 4], best first, drives out which one if it stays itself: indices [m] and [m].

    A sweep: sorted by class and left side, only those boxes can overlap one that begin before it ends.
    """
    corners = np.ascontiguousarray(boxes.T)
    # Rounding keeps the order of what it does not make equal, and equal ones are looked at: none is missed.
    begin, end = np.maximum(np.minimum(corners[::2], _FAR), -_FAR) + classes * (4 * _FAR)
    order, places = begin.argsort(), np.arange(len(begin))
    counts = np.maximum(begin.take(order).searchsorted(end.take(order), "right") - places - 1, 0)
    here = places.repeat(counts)
    there = np.arange(1, len(here) + 1) + (places - counts.cumsum() + counts).repeat(counts)
    here, there = order.take(here), order.take(there)
    better, worse = np.minimum(here, there), np.maximum(here, there)
    one, other = corners.take(better, axis=1), corners.take(worse, axis=1)
    width, height = np.maximum(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0)
    shared = width * height
    wide, high = corners[2:] - corners[:2]
    areas = wide * high
    # Compared without a division: two empty boxes share nothing and both stay.
    over: np.ndarray = shared > iou * (areas.take(better) + areas.take(worse) - shared)
    return better[over], worse[over]


def suppression(head: Mapping[str, Any], iou: float) -> float | None:
    """`iou`, or None for a one-to-one head (`nms` is false): it gives an object one box, and none is suppressed."""
    return iou if head.get("nms", True) else None


def finish(
    candidates: tuple[np.ndarray, np.ndarray, np.ndarray],
    placement: Placement,
    shape: tuple[int, int],
    iou: float | None,
    max_detections: int,
) -> Detections:
    """Detections in the image of `shape` [H, W] from a decoder's (boxes, scores, classes) in input pixels.

    Where `iou` is None nothing is suppressed. With more than `max_detections` the best scores stay.
    """
    boxes, scores, classes = candidates
    kept = kept_of(boxes, scores, classes, iou, max_detections)
    return Detections(boxes_to_image(boxes[kept], placement, shape), scores[kept], classes[kept])


def kept_of(
    boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou: float | None, max_detections: int
) -> np.ndarray:
    """Indices of the candidates that stay, best score first: all that `nms` keeps, or the best where `iou` is None."""
    if iou is None:
        return np.argsort(-scores, kind="stable")[:max_detections]
    return nms(boxes, scores, classes, iou, max_detections)
