"""Decoding of the oriented detection head of Ultralytics' YOLOs, cut at its convolutions.

The generated board script is made of this file too: Python 3.8 and numpy only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.families.yolo.decode import at_cells, decode_cells, distances, grid


def decode_turned(
    outputs: Sequence[np.ndarray], head: Mapping[str, Any], confidence: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates above `confidence`: boxes float32 [n, 5], scores [n], classes [n], in the order of `decode`.

    A box is cx cy w h in input pixels and its angle in radians, clockwise in the image. `outputs` are, for each scale,
    distances, scores and angles: where `head["angle"]` is `sigmoid` shares of half a turn, from an eighth of a turn
    before the axis on, else radians.
    """
    _, scores, classes, cells = decode_cells(outputs[::3], outputs[1::3], head, confidence)
    sizes = tuple(one.shape[2:] for one in outputs[1::3])
    centres, strides, _ = grid(sizes, tuple(head["strides"]))
    logits = at_cells(outputs[::3], cells).reshape(4, head["reg_max"], -1)
    left, top, right, bottom = distances(logits)
    angles = at_cells(outputs[2::3], cells)[0]
    if head["angle"] == "sigmoid":
        angles = (angles - np.float32(0.25)) * np.float32(math.pi)
    across, down, cos, sin = (right - left) / 2, (bottom - top) / 2, np.cos(angles), np.sin(angles)
    # The distances are along the box's own sides: its centre lies off the cell's in the turned frame.
    x, y = centres.take(cells, axis=1) + np.stack([across * cos - down * sin, across * sin + down * cos])
    lengths = np.stack([x, y, left + right, top + bottom]) * strides.take(cells)
    return np.concatenate([lengths, angles[None]]).T, scores, classes
