"""From candidate boxes to detections: non-maximum suppression, limit, and the way back into the image.

The generated board script is made of this file too: Python 3.8, numpy and OpenCV only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.common.images import Placement, boxes_to_image

_BLOCK = 128  # boxes judged at once: fewer cost more calls, more cost pairs that an earlier box settles
_BETTER = ~np.tri(_BLOCK, dtype=bool)  # [a, b]: a comes before b


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
    order = np.argsort(-scores, kind="stable")
    kept = order[:0]
    for start in range(0, len(order), _BLOCK):
        weaker = order[start : start + _BLOCK]
        ranked = np.concatenate([kept, weaker])
        over = _overlaps(boxes.take(ranked, axis=0), classes.take(ranked), len(weaker), iou)
        alive = np.ones(len(ranked), bool)
        # Each round settles those whose rivals are settled; what does not change any more is the greedy result
        # (Cluster-NMS, Zheng et al. 2021, arXiv:2005.03572, section III-D).
        while True:
            stay = ~over[alive].any(axis=0)
            if np.array_equal(stay, alive[len(kept) :]):
                break
            alive[len(kept) :] = stay
        kept = ranked[alive]
        if len(kept) >= max_detections:
            break
    return kept[:max_detections]


def _overlaps(boxes: np.ndarray, classes: np.ndarray, last: int, iou: float) -> np.ndarray:
    """bool [n, last]: which of the boxes [n, 4], best first, drives out which of the `last` ones if it stays itself."""
    corners = np.ascontiguousarray(boxes.T)[:, :, None]
    low, high = corners[:2], corners[2:]
    weak = slice(len(boxes) - last, None)
    sides = np.minimum(high, high[:, weak].transpose(0, 2, 1))
    sides -= np.maximum(low, low[:, weak].transpose(0, 2, 1))
    width, height = np.maximum(sides, 0, out=sides)
    shared = np.multiply(width, height, out=width)
    areas = (high - low).prod(axis=0)
    # Compared without a division: two empty boxes share nothing and both stay.
    over: np.ndarray = shared > iou * (areas + areas[weak].T - shared)
    over &= classes[:, None] == classes[weak]
    over[weak] &= _BETTER[:last, :last]
    return over


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
    if iou is None:
        kept = np.argsort(-scores, kind="stable")[:max_detections]
    else:
        kept = nms(boxes, scores, classes, iou, max_detections)
    return Detections(boxes_to_image(boxes[kept], placement, shape), scores[kept], classes[kept])
