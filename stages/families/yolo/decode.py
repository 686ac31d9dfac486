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

    They come scale after scale, in each class after class, in each cell after cell.
    `outputs` alternate per scale: distance logits float32 [1, 4 * reg_max, h, w] and class scores after
    the sigmoid [1, num_classes, h, w]; `head["strides"]` and `head["reg_max"]` describe them.

    A cell gives one candidate for each class above the threshold, as Ultralytics' validation does
    (`multi_label=True`), in evaluation and on the board alike: one behaviour. It hardly matters: map50_95
    of examples/shapes is 0.7661 so, and 0.7662 with each cell's best class alone.
    Distances are decoded for the cells that stay only (distribution focal loss, Li et al. 2020,
    arXiv:2006.04388: the expectation of a softmax over `reg_max` bins, in units of the stride). With
    one bin, as in YOLO26, the output is the distance itself.
    """
    scales = [
        _candidates(outputs[2 * index], outputs[2 * index + 1], stride, confidence)
        for index, stride in enumerate(head["strides"])
    ]
    logits, centres, strides = (np.concatenate([scale[part] for scale in scales], axis=-1) for part in range(3))
    scores, classes = (np.concatenate([scale[part] for scale in scales]) for part in (3, 4))
    boxes = _boxes(logits.reshape(4, head["reg_max"], -1), centres, strides)
    first = np.cumsum([0] + [len(scale[2]) for scale in scales])
    cell = np.concatenate([scale[5] + first[index] for index, scale in enumerate(scales)])
    return boxes.take(cell, axis=0), scores, classes


def _candidates(logits: np.ndarray, scores: np.ndarray, stride: int, confidence: float) -> tuple[np.ndarray, ...]:
    """One scale's cells and candidates above `confidence`.

    Of its n cells: logits [4 * reg_max, n], centres x y in cells [2, n], strides [n];
    of its m candidates: scores, classes, and which of the cells it is, [m] each.
    """
    flat = scores.reshape(scores.shape[1], -1)
    above = flat > confidence
    # An image holds few of many classes: columns, which are slow to search, are searched in their rows only.
    present = np.flatnonzero(above.any(axis=1))
    above = above.take(present, axis=0)
    kept = np.flatnonzero(above.any(axis=0))
    row, cell = np.divmod(np.flatnonzero(above.take(kept, axis=1)), max(len(kept), 1))
    classes = present.take(row)
    y, x = np.divmod(kept, scores.shape[3])
    centres = np.array([x, y], np.float32) + np.float32(0.5)
    near = logits.reshape(logits.shape[1], -1).take(kept, axis=1)
    return near, centres, np.full(len(kept), stride, np.float32), flat[classes, kept.take(cell)], classes, cell


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
