"""The part of `npu_inference.py` that shows masks. Used as text, like `main.py`. Python 3.8, numpy and OpenCV only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from stages.rknn.program.show import GREEN, box_entries, box_rows, draw_boxes


def mask_entries(found: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """Class, score, box and outlines of each object: polygons of [x, y] in pixels.

    There are none where the mask is empty, and none without OpenCV.
    """
    entries = box_entries(found, names)
    for entry, (mask, top, left) in zip(entries, found.masks):  # noqa: B905 (3.8)
        contours: Any = ()
        if mask.size and hasattr(cv2, "findContours"):
            contours = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[-2]
        entry["outlines"] = [(contour[:, 0] + [left, top]).tolist() for contour in contours]
    return entries


def draw_masks(image: np.ndarray, found: Any, names: Sequence[str]) -> None:
    """Tint what the masks cover, and draw boxes, class names and scores."""
    for mask, top, left in found.masks:
        part = image[top : top + mask.shape[0], left : left + mask.shape[1]]
        part[mask] = part[mask] // 2 + np.array(GREEN, np.uint8) // 2
    draw_boxes(image, found, names)


def mask_rows(found: Any) -> list[dict[str, Any]]:
    """Of each object COCO's bbox and its mask, run-length encoded over the whole image."""
    rows = box_rows(found)
    for row, (mask, top, left) in zip(rows, found.masks):  # noqa: B905 (3.8)
        whole = np.zeros(found.shape, bool)
        whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
        row["segmentation"] = {"size": list(found.shape), "counts": run_lengths(whole)}
    return rows


def run_lengths(mask: np.ndarray) -> str:
    """A mask [H, W] in COCO's compressed form: how many pixels are 0, then 1, and so on, column after column.

    From the fourth number on each is the difference to the one two before; five bits a character, the sixth says that
    more follow (pycocotools' maskApi.c).
    """
    pixels = np.concatenate([[False], mask.T.ravel()])
    changes = np.flatnonzero(pixels[1:] != pixels[:-1])
    counts = np.diff(np.concatenate([[0], changes, [mask.size]])).tolist()
    text = []
    for place, number in enumerate(counts):
        value = number - counts[place - 2] if place > 2 else number
        more = True
        while more:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text.append(chr((bits | 32 if more else bits) + 48))
    return "".join(text)
