"""From candidates with mask coefficients to objects with masks in the image's own pixels.

The generated board script is made of this file too: Python 3.8 and numpy only.
"""

from __future__ import annotations

import math
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

    Boxes are suppressed as a detector's. A mask ends with its box.
    """
    boxes, scores, classes, coefficients, prototypes = candidates
    kept = kept_of(boxes, scores, classes, iou, max_detections)
    placed = boxes_to_image(boxes[kept], placement, shape)
    shares = shares_of(prototypes.shape[1:], placement, shape) if len(kept) else ()
    pairs = zip(placed, coefficients[kept])  # noqa: B905 (3.8)
    masks = tuple(mask_in(box, row, prototypes, *shares) for box, row in pairs)
    return Segments(placed, scores[kept], classes[kept], masks, shape)


def mask_in(
    box: np.ndarray, coefficients: np.ndarray, prototypes: np.ndarray, down: np.ndarray, across: np.ndarray
) -> tuple[np.ndarray, int, int]:
    """The mask inside one box of the image, bool [rows, columns], and its top and left.

    The pixels are those whose corner nearest to the origin lies in the box, as Ultralytics' crop_mask has it;
    `down` and `across` are of `shares_of`.
    """
    ends = np.ceil(box) if np.isfinite(box).all() else np.zeros(4)
    left, top, right, bottom = (int(value) for value in ends)
    if right <= left or bottom <= top:
        return np.zeros((0, 0), bool), top, left
    rows, columns = down[top:bottom], across[left:right]
    y, x = (part.any(axis=0).nonzero()[0] for part in (rows, columns))
    (y0, y1), (x0, x1) = (y[0], y[-1] + 1), (x[0], x[-1] + 1)
    part = prototypes[:, y0:y1, x0:x1]
    values = (coefficients @ part.reshape(len(part), -1)).reshape(part.shape[1:])
    return rows[:, y0:y1] @ values @ columns[:, x0:x1].T > 0, top, left


def shares_of(size: tuple[int, ...], placement: Placement, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """What share each of the prototypes' rows [h] has in each of the image's [H], and each column: [H, h] and [W, w].

    As Ultralytics' process_mask_native: enlarged as little as cuts the padding off at whole pixels, cut, and brought
    to the image's size, linearly both times.
    """
    rest = [PROTOTYPE_STRIDE * size[0] - placement.height, PROTOTYPE_STRIDE * size[1] - placement.width]
    padding = rest[0] | rest[1]
    factor = PROTOTYPE_STRIDE // math.gcd(PROTOTYPE_STRIDE, padding | padding // 2)
    return (
        _shares(size[0], factor, placement.top, placement.height, shape[0]),
        _shares(size[1], factor, placement.left, placement.width, shape[1]),
    )


def _shares(length: int, factor: int, offset: int, inner: int, target: int) -> np.ndarray:
    """[target, length]: of an axis on which the image begins at input pixel `offset` and has `inner`."""
    large = _linear(np.arange(length * factor), 1 / factor, 0.0, 0, length)
    start, span = offset * factor / PROTOTYPE_STRIDE, inner * factor / PROTOTYPE_STRIDE
    low, high = max(round(start), 0), min(round(start + span), length * factor)
    shares: np.ndarray = _linear(np.arange(target), span / target, start, low, high) @ large[:high]
    return shares


def _linear(places: np.ndarray, scale: float, offset: float, low: int, high: int) -> np.ndarray:
    """[n, high]: linear interpolation of n pixels' centres between the pixels `low` to `high` of another grid."""
    place = np.clip((places + 0.5) * scale + offset - 0.5, low, high - 1)
    first = place.astype(np.int64)
    made = np.zeros((len(places), high), np.float32)
    share = (place - first).astype(np.float32)
    made[np.arange(len(places)), first] = 1 - share
    made[np.arange(len(places)), np.minimum(first + 1, high - 1)] += share
    return made
