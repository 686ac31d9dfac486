"""The result of text recognition: the characters of one line of text.

The generated board script is made of this file too: Python 3.8 and numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.common.images import Placement


@dataclass(frozen=True)
class Text:
    """What is written in one image: its characters' classes int64 [n], their probabilities float32 [n] in 0..1."""

    classes: np.ndarray
    scores: np.ndarray

    @property
    def confidence(self) -> float:
        """The mean of the characters' probabilities; 0 where there are none."""
        return float(self.scores.mean()) if len(self.scores) else 0.0


def finish_text(
    candidates: tuple[np.ndarray, np.ndarray],
    placement: Placement,
    shape: tuple[int, int],
    iou: float | None,
    max_detections: int,
) -> Text:
    """The decoder's (classes, probabilities) as they are: a text has no place in the image, and no two overlap."""
    del placement, shape, iou, max_detections
    return Text(*candidates)
