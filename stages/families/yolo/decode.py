"""Decoding of the detection head of Ultralytics' YOLOs, cut at its convolutions.

The generated board script is made of this file too: Python 3.8 and numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def decode(
    outputs: Sequence[np.ndarray], head: Mapping[str, Any], confidence: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates above `confidence`: boxes float32 [n, 4] x1 y1 x2 y2 in input pixels, scores [n], classes [n].

    `outputs` alternate per scale: distance logits float32 [1, 4 * reg_max, h, w] and class scores after
    the sigmoid [1, num_classes, h, w]; `head["strides"]` and `head["reg_max"]` describe them.

    A cell gives one candidate for each class above the threshold, as Ultralytics' validation does
    (`multi_label=True`), in evaluation and on the board alike: one behaviour. It hardly matters: map50_95
    of examples/shapes is 0.7661 so, and 0.7662 with each cell's best class alone.
    Distances are decoded for the cells that stay only (distribution focal loss, Li et al. 2020,
    arXiv:2006.04388: the expectation of a softmax over `reg_max` bins, in units of the stride). With
    one bin, as in YOLO26, the output is the distance itself.
    """
    cells = [
        _cells(outputs[2 * index], outputs[2 * index + 1], stride, confidence)
        for index, stride in enumerate(head["strides"])
    ]
    logits, places, strides, scores = (np.concatenate([cell[part] for cell in cells], axis=-1) for part in range(4))
    boxes = _boxes(logits.reshape(4, head["reg_max"], -1), places, strides)
    classes, cell = np.nonzero(scores > confidence)
    return boxes[cell], scores[classes, cell], classes


def _cells(
    logits: np.ndarray, scores: np.ndarray, stride: int, confidence: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One scale's cells with a score above `confidence`: logits, centres x y in cells, strides, scores; [..., n]."""
    flat = scores.reshape(scores.shape[1], -1)
    kept = np.flatnonzero((flat > confidence).any(axis=0))
    y, x = np.divmod(kept, scores.shape[3])
    centres = np.stack([x, y]).astype(np.float32) + np.float32(0.5)
    return logits.reshape(logits.shape[1], -1)[:, kept], centres, np.full(len(kept), stride, np.float32), flat[:, kept]


def _boxes(logits: np.ndarray, centres: np.ndarray, strides: np.ndarray) -> np.ndarray:
    """[n, 4] x1 y1 x2 y2 in input pixels from [4, reg_max, n] logits of the cells' left, top, right, bottom."""
    distances = logits[:, 0] if logits.shape[1] == 1 else _expectations(logits)
    corners = np.concatenate([centres - distances[:2], centres + distances[2:]]) * strides
    boxes: np.ndarray = corners.T
    return boxes


def _expectations(logits: np.ndarray) -> np.ndarray:
    """[4, n] expected bins of the softmax over [4, reg_max, n]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    bins = np.arange(logits.shape[1], dtype=np.float32)
    found: np.ndarray = np.einsum("sbn,b->sn", powers, bins) / powers.sum(axis=1)
    return found
