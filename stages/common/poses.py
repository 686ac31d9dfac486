"""From candidates with keypoints to objects with keypoints in the image's own pixels.

The generated board script is made of this file too: Python 3.8 and numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.common.detection import kept_of
from stages.common.images import Placement, boxes_to_image


@dataclass(frozen=True)
class Poses:
    """What was found in one image, best first.

    boxes: float32 [n, 4], x1 y1 x2 y2 in pixels; scores: float32 [n] in 0..1; classes: int64 [n];
    keypoints: float32 [n, keypoints, 3], x and y in pixels and how visible it is, 0..1.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    keypoints: np.ndarray


def finish_poses(
    candidates: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    placement: Placement,
    shape: tuple[int, int],
    iou: float | None,
    max_detections: int,
) -> Poses:
    """Objects in the image of `shape` [H, W] from a decoder's boxes, scores, classes and keypoints in input pixels.

    Boxes are suppressed as a detector's; keypoints outside the image are put on its edge, as Ultralytics does.
    """
    boxes, scores, classes, keypoints = candidates
    kept = kept_of(boxes, scores, classes, iou, max_detections)
    points = keypoints[kept]
    placed = boxes_to_image(np.concatenate([points[..., :2]] * 2, axis=-1), placement, shape)[..., :2]
    whole = np.concatenate([placed, points[..., 2:]], axis=-1)
    return Poses(boxes_to_image(boxes[kept], placement, shape), scores[kept], classes[kept], whole)
