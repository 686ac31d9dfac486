"""Boxes that are turned: how far two are the same, suppression, corners, and the way back into the image.

The generated board script is made of this file too: Python 3.8 and numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.common.images import Placement

_SMALL = 1e-7  # keeps roots and logarithms defined, Ultralytics' value


@dataclass(frozen=True)
class TurnedBoxes:
    """What was found in one image, best first.

    boxes: float32 [n, 5], cx cy w h in pixels and the angle in radians; scores: float32 [n] in 0..1;
    classes: int64 [n].
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


def probabilistic_iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """float64 [n, m]: 1 less the Hellinger distance of turned boxes [n, 5] and [m, 5] taken as normal distributions.

    A distribution has the box's centre and the variance of an even one over the box (Llerena et al. 2021,
    arXiv:2106.06072), as Ultralytics' probiou has it.
    """
    x, y = ((one[:, None, axis] - other[None, :, axis]).astype(np.float64) for axis in (0, 1))
    (a1, b1, c1), (a2, b2, c2) = _covariances(one), _covariances(other)
    a, b, c = a1[:, None] + a2, b1[:, None] + b2, c1[:, None] + c2
    whole = np.maximum(a * b - c**2, 0)  # a determinant: below 0 by rounding alone, of boxes that are all but lines
    apart = (a * y**2 + b * x**2) / (whole + _SMALL) / 4 - c * x * y / (whole + _SMALL) / 2
    own = np.maximum(a1 * b1 - c1**2, 0)[:, None] * np.maximum(a2 * b2 - c2**2, 0)
    unlike = np.log(whole / (4 * np.sqrt(own) + _SMALL) + _SMALL) / 2
    distance = np.clip(apart + unlike, _SMALL, 100.0)  # Bhattacharyya's
    found: np.ndarray = 1 - np.sqrt(1 - np.exp(-distance) + _SMALL)
    return found


def _covariances(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[n] each: the variances along x and y, and the covariance."""
    wide, high = boxes[:, 2:4].astype(np.float64).T ** 2 / 12
    cos, sin = np.cos(boxes[:, 4].astype(np.float64)), np.sin(boxes[:, 4].astype(np.float64))
    return wide * cos**2 + high * sin**2, wide * sin**2 + high * cos**2, (wide - high) * cos * sin


def turned_nms(
    boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou: float, max_detections: int
) -> np.ndarray:
    """Indices of the boxes that stay, best score first, at most `max_detections`.

    Per class a box goes when any better one overlaps it by more than `iou`, one that goes itself too: Ultralytics'
    rule for turned boxes (Fast NMS, Bolya et al. 2019, arXiv:1904.02689). Of equal scores the first stays.
    """
    order = np.argsort(-scores, kind="stable")
    stay = np.ones(len(order), bool)
    for label in np.unique(classes):
        mine = (classes[order] == label).nonzero()[0]
        ranked = boxes[order[mine]]
        stay[mine] = ~(np.triu(probabilistic_iou(ranked, ranked), 1) > iou).any(axis=0)
    return order[stay][:max_detections]


def corners_of(boxes: np.ndarray) -> np.ndarray:
    """float32 [n, 4, 2]: the corners of turned boxes [n, 5], one after the other around them."""
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    along = np.stack([cos, sin], axis=1) * boxes[:, 2:3] / 2
    across = np.stack([-sin, cos], axis=1) * boxes[:, 3:4] / 2
    signs = ((1, 1), (1, -1), (-1, -1), (-1, 1))
    found: np.ndarray = np.stack([boxes[:, :2] + u * along + v * across for u, v in signs], axis=1)
    return found


def finish_turned(
    candidates: tuple[np.ndarray, np.ndarray, np.ndarray],
    placement: Placement,
    shape: tuple[int, int],
    iou: float | None,
    max_detections: int,
) -> TurnedBoxes:
    """Turned boxes in the image from a decoder's (boxes, scores, classes) in input pixels.

    They are not clipped to the image's `shape`: a turned box that is cut is none any more.
    """
    del shape
    boxes, scores, classes = candidates
    if iou is None:
        kept = np.argsort(-scores, kind="stable")[:max_detections]
    else:
        kept = turned_nms(boxes, scores, classes, iou, max_detections)
    return TurnedBoxes(turned_to_image(boxes[kept], placement), scores[kept], classes[kept])


def turned_to_image(boxes: np.ndarray, placement: Placement) -> np.ndarray:
    """Turned boxes [n, 5] from the input's pixels to the image's.

    Where the two sides of the image were not scaled alike (a letterbox rounds them to pixels), a turned box becomes a
    parallelogram: the box with its first side's direction and its sides' lengths stands for it.
    """
    across, down = np.float32(placement.scale_x), np.float32(placement.scale_y)
    x, y, wide, high, angle = boxes.astype(np.float32).T
    cos, sin = np.cos(angle), np.sin(angle)
    lengths = wide * np.hypot(cos / across, sin / down), high * np.hypot(sin / across, cos / down)
    centre = (x - np.float32(placement.left)) / across, (y - np.float32(placement.top)) / down
    return np.stack([*centre, *lengths, np.arctan2(sin / down, cos / across)], axis=1)
