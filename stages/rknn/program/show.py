"""The part of `npu_inference.py` that shows a result: what every task has in common, and a detector's boxes.

Used here only as text, like `main.py`. Python 3.8, numpy and OpenCV only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

GREEN = (0, 255, 0)  # blue, green, red
_PIXELS = 1000  # of an image's longer side for each pixel of a line


class View(NamedTuple):
    """What differs from task to task.

    name: of the results in the JSON document. decode: (outputs, head, confidence) -> candidates. finish: (candidates,
    placement, shape, iou, max_detections) -> the result. entries: (result, class names) -> a mapping for each thing
    found. text: an entry's own words for people. draw: (image, result, class names), into the image; None where there
    is nothing to draw. coco: result -> for each thing found what COCO's format has beside class and score; None where
    COCO has none.
    """

    name: str
    decode: Callable[..., Any]
    finish: Callable[..., Any]
    entries: Callable[..., Any]
    text: Callable[..., str]
    draw: Callable[..., None] | None
    coco: Callable[..., Any] | None


def printable(text: str) -> str:
    """The text with what could move a terminal's cursor written as escapes."""
    return "".join(part if part.isprintable() else part.encode("unicode_escape").decode("ascii") for part in text)


def pen(image: np.ndarray) -> int:
    """How many pixels wide a thin line has to be, so that it is seen in a large image too."""
    return max(round(float(max(image.shape[:2])) / _PIXELS), 1)


def write_label(image: np.ndarray, entry: Mapping[str, Any], left: float, top: float) -> None:
    """Write an entry's class and score above a point of the image."""
    label = f"{printable(entry['name'])} {entry['score']:.2f}"
    size = pen(image)
    place = (round(left), max(round(top) - 4 * size, 12 * size))
    cv2.putText(image, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5 * size, GREEN, size)


def entries_of(found: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """Class and score of each thing found, as JSON data."""
    return [
        {"class": int(kind), "name": names[int(kind)], "score": float(found.scores[index])}
        for index, kind in enumerate(found.classes)
    ]


def box_entries(found: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """Class, score and box of each object, as JSON data."""
    boxes = found.boxes.tolist()
    return [{**entry, "box": box} for entry, box in zip(entries_of(found, names), boxes)]  # noqa: B905 (3.8)


def box_rows(found: Any) -> list[dict[str, Any]]:
    """Of each object COCO's bbox: x and y of its upper left corner, width and height."""
    corners = found.boxes.tolist()
    return [{"bbox": [left, top, right - left, bottom - top]} for left, top, right, bottom in corners]


def box_text(entry: Mapping[str, Any]) -> str:
    """The box in whole pixels."""
    return " ".join(f"{value:.0f}" for value in entry["box"])


def draw_boxes(image: np.ndarray, found: Any, names: Sequence[str]) -> None:
    """Draw boxes, class names and scores into the image."""
    for entry in box_entries(found, names):
        left, top, right, bottom = (round(value) for value in entry["box"])
        cv2.rectangle(image, (left, top), (right, bottom), GREEN, 2 * pen(image))
        write_label(image, entry, left, top)
