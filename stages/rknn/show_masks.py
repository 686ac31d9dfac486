"""The part of `npu_inference.py` that shows masks. Used as text, like `board.py`. Python 3.8, numpy and OpenCV only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from stages.rknn.show import GREEN, box_entries, draw_boxes


def mask_entries(found: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """Class, score, box and outlines of each object: polygons of [x, y] in pixels, none where the mask is empty."""
    entries = box_entries(found, names)
    for entry, (mask, top, left) in zip(entries, found.masks):  # noqa: B905 (3.8)
        contours: Any = ()
        if mask.size:
            contours = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[-2]
        entry["outlines"] = [(contour[:, 0] + [left, top]).tolist() for contour in contours]
    return entries


def draw_masks(image: np.ndarray, found: Any, names: Sequence[str]) -> None:
    """Tint what the masks cover, and draw boxes, class names and scores."""
    for mask, top, left in found.masks:
        part = image[top : top + mask.shape[0], left : left + mask.shape[1]]
        part[mask] = part[mask] // 2 + np.array(GREEN, np.uint8) // 2
    draw_boxes(image, found, names)
