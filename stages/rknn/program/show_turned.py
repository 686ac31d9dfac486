"""The part of `npu_inference.py` that shows turned boxes. Used as text, like `main.py`. Python 3.8, OpenCV only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from stages.common.turned import corners_of
from stages.rknn.program.show import GREEN, entries_of, pen, write_label


def turned_entries(found: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """Class, score, box (cx cy w h in pixels, angle in radians) and its four corners of each object."""
    entries, corners = entries_of(found, names), corners_of(found.boxes).tolist()
    for entry, box, places in zip(entries, found.boxes.tolist(), corners):  # noqa: B905 (3.8)
        entry.update(box=box, corners=places)
    return entries


def turned_text(entry: Mapping[str, Any]) -> str:
    """Centre and sides in whole pixels, and the angle in degrees."""
    *places, angle = entry["box"]
    return " ".join([*(f"{value:.0f}" for value in places), f"{math.degrees(angle):.0f} degrees"])


def draw_turned(image: np.ndarray, found: Any, names: Sequence[str]) -> None:
    """Draw turned boxes, class names and scores."""
    for entry in turned_entries(found, names):
        corners = np.round(entry["corners"]).astype(np.int32)
        cv2.polylines(image, [corners], True, GREEN, 2 * pen(image))
        write_label(image, entry, *corners.min(axis=0).tolist())


def turned_rows(found: Any) -> list[dict[str, Any]]:
    """Of each object Ultralytics' two: rbox, as in the entries, and poly, its four corners; COCO itself has neither."""
    pairs = zip(found.boxes.tolist(), corners_of(found.boxes).tolist())  # noqa: B905 (3.8)
    return [{"rbox": box, "poly": [value for corner in places for value in corner]} for box, places in pairs]
