"""The part of `npu_inference.py` that shows the classes of an image. Used as text, like `main.py`. Python 3.8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.rknn.program.show import entries_of, pen, write_label

_LINE = 18  # pixels from one class to the next


def class_text(entry: Mapping[str, Any]) -> str:
    """Nothing more than class and probability."""
    del entry
    return ""


def write_classes(image: np.ndarray, found: Any, names: Sequence[str]) -> None:
    """Write the classes and their probabilities into the image's upper left corner."""
    for number, entry in enumerate(entries_of(found, names)):
        write_label(image, entry, 4, _LINE * pen(image) * (number + 1))
