"""The part of `npu_inference.py` that shows what was read. Used as text, like `main.py`. Python 3.8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.rknn.program.show import pen, write_label


def text_entries(found: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """The text, the mean of its characters' probabilities, and each of them, as JSON data; nothing where none is."""
    if not len(found.classes):
        return []
    text = "".join(names[int(kind)] for kind in found.classes)
    return [{"name": text, "score": found.confidence, "characters": found.scores.tolist()}]


def text_text(entry: Mapping[str, Any]) -> str:
    """Nothing more than text and confidence."""
    del entry
    return ""


def write_text(image: np.ndarray, found: Any, names: Sequence[str]) -> None:
    """Write the text into the image's upper left corner; OpenCV's letters are ASCII."""
    for entry in text_entries(found, names):
        write_label(image, entry, 4, 18 * pen(image))
