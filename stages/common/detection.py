"""From candidate boxes to detections: non-maximum suppression, limit, and the way back into the image.

The generated board script is made of this file too: Python 3.8, numpy and OpenCV only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.common.images import Placement, boxes_to_image


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
    x1, y1, x2, y2 = boxes[order].T
    label = classes[order].astype(np.float32)
    # A class is a third side from `class` to `class + 1`: boxes of two classes share no volume.
    low, high = np.stack([x1, y1, label]), np.stack([x2, y2, label + 1])
    volumes = (high - low).prod(axis=0)
    kept: list[int] = []
    while len(order) and len(kept) < max_detections:
        kept.append(order[0])
        sides = np.minimum(high[:, :1], high) - np.maximum(low[:, :1], low)
        shared = np.maximum(sides, 0, out=sides).prod(axis=0)
        # Compared without a division: two empty boxes share nothing and both stay.
        stay = np.flatnonzero(shared[1:] <= iou * (volumes[0] + volumes[1:] - shared[1:])) + 1
        order, volumes = order.take(stay), volumes.take(stay)
        low, high = low.take(stay, axis=1), high.take(stay, axis=1)
    return np.array(kept, np.int64)


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
