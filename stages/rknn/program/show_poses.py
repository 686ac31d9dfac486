"""The part of `npu_inference.py` that shows keypoints. Used as text, like `main.py`. Python 3.8, OpenCV only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from stages.rknn.program.show import GREEN, box_entries, box_rows, draw_boxes, pen

_SEEN = 0.5  # visibility from which on a keypoint is drawn, Ultralytics' value
_RADIUS = 3  # pixels


def pose_entries(found: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """Class, score, box and keypoints of each object: [x, y, visible] in pixels and 0..1."""
    entries = box_entries(found, names)
    for entry, points in zip(entries, found.keypoints):  # noqa: B905 (3.8)
        entry["keypoints"] = points.tolist()
    return entries


def draw_poses(image: np.ndarray, found: Any, names: Sequence[str]) -> None:
    """Draw boxes, class names, scores, and the keypoints that are seen."""
    draw_boxes(image, found, names)
    for x, y, visible in found.keypoints.reshape(-1, 3).tolist():
        if visible >= _SEEN:
            cv2.circle(image, (round(x), round(y)), _RADIUS * pen(image), GREEN, -1)


def pose_rows(found: Any) -> list[dict[str, Any]]:
    """Of each object COCO's bbox and its keypoints, x, y and how visible one after the other."""
    rows = box_rows(found)
    for row, points in zip(rows, found.keypoints):  # noqa: B905 (3.8)
        row["keypoints"] = points.ravel().tolist()
    return rows
