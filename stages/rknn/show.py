"""The part of `npu_inference.py` that shows a result: what every task has in common, and a detector's boxes.

Used here only as text, like `board.py`. Python 3.8, numpy and OpenCV only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from stages.rknn.npu import INPUT, Stop

GREEN = (0, 255, 0)  # blue, green, red


def keep_image(image: np.ndarray, found: Any, names: Sequence[str], target: Path) -> None:
    """Write the image that was drawn into."""
    del found, names
    target.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(target), image):
        raise Stop(INPUT, f"{target} cannot be written. Give --out another folder.")


class View(NamedTuple):
    """What differs from task to task.

    name: of the results in the JSON document. decode: (outputs, head, confidence) -> candidates. finish: (candidates,
    placement, shape, iou, max_detections) -> the result. entries: (result, class names) -> a mapping for each thing
    found. text: an entry's own words for people. draw: (image, result, class names), into the image.
    keep: (image, result, class names, file), on the disk.
    """

    name: str
    decode: Callable[..., Any]
    finish: Callable[..., Any]
    entries: Callable[..., Any]
    text: Callable[..., str]
    draw: Callable[..., None]
    keep: Callable[..., None] = keep_image


def printable(text: str) -> str:
    """The text with what could move a terminal's cursor written as escapes."""
    return "".join(part if part.isprintable() else part.encode("unicode_escape").decode("ascii") for part in text)


def write_label(image: np.ndarray, entry: Mapping[str, Any], left: float, top: float) -> None:
    """Write an entry's class and score above a point of the image."""
    label = f"{printable(entry['name'])} {entry['score']:.2f}"
    place = (round(left), max(round(top) - 4, 12))
    cv2.putText(image, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, GREEN, 1)


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


def box_text(entry: Mapping[str, Any]) -> str:
    """The box in whole pixels."""
    return " ".join(f"{value:.0f}" for value in entry["box"])


def draw_boxes(image: np.ndarray, found: Any, names: Sequence[str]) -> None:
    """Draw boxes, class names and scores into the image."""
    for entry in box_entries(found, names):
        left, top, right, bottom = (round(value) for value in entry["box"])
        cv2.rectangle(image, (left, top), (right, bottom), GREEN, 2)
        write_label(image, entry, left, top)
