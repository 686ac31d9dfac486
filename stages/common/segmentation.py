"""From candidates with mask coefficients to objects with masks in the image's own pixels.

The generated board script is made of this file too: Python 3.8 and numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.common.detection import kept_of
from stages.common.images import Placement, boxes_to_image

PROTOTYPE_STRIDE = 4  # input pixels to one of the prototypes', in every Ultralytics network


@dataclass(frozen=True)
class Segments:
    """What was found in one image, best first.

    boxes: float32 [n, 4], x1 y1 x2 y2 in pixels; scores: float32 [n] in 0..1; classes: int64 [n];
    masks: for each a bool [rows, columns] and where its upper left pixel lies, (top, left); shape: the image's [H, W].
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    masks: tuple[tuple[np.ndarray, int, int], ...]
    shape: tuple[int, int]


def finish_segments(
    candidates: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    placement: Placement,
    shape: tuple[int, int],
    iou: float | None,
    max_detections: int,
) -> Segments:
    """Objects in the image of `shape` [H, W] from a decoder's boxes, scores, classes, coefficients and prototypes.

    Boxes are suppressed as a detector's. A mask's values are interpolated linearly at the image's own pixels, and the
    mask ends with its box.
    """
    boxes, scores, classes, coefficients, prototypes = candidates
    kept = kept_of(boxes, scores, classes, iou, max_detections)
    placed = boxes_to_image(boxes[kept], placement, shape)
    pairs = zip(placed, coefficients[kept])  # noqa: B905 (3.8)
    masks = tuple(mask_in(box, row, prototypes, placement) for box, row in pairs)
    return Segments(placed, scores[kept], classes[kept], masks, shape)


def mask_in(
    box: np.ndarray, coefficients: np.ndarray, prototypes: np.ndarray, placement: Placement
) -> tuple[np.ndarray, int, int]:
    """The mask inside one box of the image, bool [rows, columns], and its top and left.

    The pixels are those whose corner nearest to the origin lies in the box, as Ultralytics' crop_mask has it.
    """
    ends = np.ceil(box) if np.isfinite(box).all() else np.zeros(4)
    left, top, right, bottom = (int(value) for value in ends)
    if right <= left or bottom <= top:
        return np.zeros((0, 0), bool), top, left
    x0, x1, x_share = _between(left, right, placement.scale_x, placement.left, prototypes.shape[2])
    y0, y1, y_share = _between(top, bottom, placement.scale_y, placement.top, prototypes.shape[1])
    part = prototypes[:, y0[0] : y1[-1] + 1, x0[0] : x1[-1] + 1]
    values = (coefficients @ part.reshape(len(part), -1)).reshape(part.shape[1:])
    rows = values[y0 - y0[0]] * (1 - y_share[:, None]) + values[y1 - y0[0]] * y_share[:, None]
    whole = rows[:, x0 - x0[0]] * (1 - x_share) + rows[:, x1 - x0[0]] * x_share
    return whole > 0, top, left


def _between(start: int, end: int, scale: float, offset: int, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Between which two of `length` prototype pixels each pixel's centre lies, and how far from the first, 0..1."""
    place = ((np.arange(start, end) + 0.5) * scale + offset) / PROTOTYPE_STRIDE - 0.5
    place = np.clip(place, 0, length - 1).astype(np.float32)
    first = place.astype(np.int64)
    return first, np.minimum(first + 1, length - 1), place - first
