"""The result of a classification: classes in the order of their probabilities.

The generated board script is made of this file too: Python 3.8 and numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.common.images import Placement


@dataclass(frozen=True)
class Ranking:
    """The classes of one image, best first: classes int64 [n], their probabilities float32 [n] in 0..1."""

    classes: np.ndarray
    scores: np.ndarray


def finish_ranking(
    candidates: tuple[np.ndarray, np.ndarray],
    placement: Placement,
    shape: tuple[int, int],
    iou: float | None,
    max_detections: int,
) -> Ranking:
    """The decoder's (classes, probabilities) as they are: an image has one class, wherever it shows.

    Placement, shape and limits are those of tasks that find objects.
    """
    del placement, shape, iou, max_detections
    return Ranking(*candidates)
