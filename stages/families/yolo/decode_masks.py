"""Decoding of the segmentation head of Ultralytics' YOLOs, cut at its convolutions.

The generated board script is made of this file too: Python 3.8 and numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.families.yolo.decode import at_cells, decode_cells


def decode_masks(
    outputs: Sequence[np.ndarray], head: Mapping[str, Any], confidence: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Candidates above `confidence`, as `decode` has them, and what their masks are made of.

    Behind boxes, scores and classes: coefficients float32 [n, prototypes] and the prototypes themselves, float32
    [prototypes, h, w]. A mask is where the sum of the prototypes, each times its coefficient, is above 0 (Bolya et
    al. 2019, arXiv:1904.02689). `outputs` are, for each scale, distances, scores and coefficients; the prototypes last.
    """
    scales = outputs[:-1]
    boxes, scores, classes, cells = decode_cells(scales[::3], scales[1::3], head, confidence)
    return boxes, scores, classes, at_cells(scales[2::3], cells).T, outputs[-1][0]
