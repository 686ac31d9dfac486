"""Decoding of the detection head of Ultralytics' YOLOs, cut at its convolutions.

The generated board script is made of this file too: Python 3.8 and numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
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
    boxes, scores, classes, _ = decode_cells(outputs[::2], outputs[1::2], head, confidence)
    return boxes, scores, classes


def decode_cells(
    logits_of: Sequence[np.ndarray], scores_of: Sequence[np.ndarray], head: Mapping[str, Any], confidence: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`decode` of each scale's distance logits and scores, and each candidate's cell [n], counted over all scales."""
    sizes = tuple(scores.shape[2:] for scores in scores_of)
    centres, units, first = grid(sizes, tuple(head["strides"]))
    found = [_search(scores, confidence) for scores in scores_of]
    scores, classes = (np.concatenate([scale[part] for scale in found]) for part in (0, 1))
    cells = np.concatenate([scale[2] + first[index] for index, scale in enumerate(found)])
    # A cell of several classes is decoded once.
    marked = np.zeros(len(units), bool)
    marked[cells] = True
    kept = marked.nonzero()[0]
    ends = kept.searchsorted(first)
    near = [
        logits.reshape(logits.shape[1], -1).take(kept[ends[index] : ends[index + 1]] - first[index], axis=1)
        for index, logits in enumerate(logits_of)
    ]
    logits = np.concatenate(near, axis=1).reshape(4, head["reg_max"], -1)
    boxes = _boxes(distances(logits), centres.take(kept, axis=1), units.take(kept))
    return boxes.take(kept.searchsorted(cells), axis=0), scores, classes, cells


@lru_cache(maxsize=8)
def grid(sizes: tuple[tuple[int, int], ...], strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All scales' cells, one scale after the other: centres x y in cells [2, n], strides [n], each scale's first cell.

    `sizes` are the scales' [h, w]; the last of the first cells is n itself.
    """
    counts = [rows * columns for rows, columns in sizes]
    centres = [np.indices(size, np.float32)[::-1].reshape(2, -1) + np.float32(0.5) for size in sizes]
    return np.concatenate(centres, axis=1), np.repeat(np.array(strides, np.float32), counts), np.cumsum([0, *counts])


def _search(scores: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, classes and cells, [n] each, of one scale's [1, num_classes, h, w] above `confidence`."""
    flat = scores.reshape(scores.shape[1], -1)
    above = flat > confidence
    # An image holds few of many classes: only their rows are searched value by value.
    present = above.any(axis=1).nonzero()[0]
    row, cell = np.divmod(above.take(present, axis=0).ravel().nonzero()[0], flat.shape[1])
    classes = present.take(row)
    return flat[classes, cell], classes, cell


def at_cells(maps: Sequence[np.ndarray], cells: np.ndarray) -> np.ndarray:
    """[channels, n]: the values of each scale's [1, channels, h, w] at cells [n] that are counted over all scales."""
    return np.concatenate([one.reshape(one.shape[1], -1) for one in maps], axis=1).take(cells, axis=1)


def _boxes(sides: np.ndarray, centres: np.ndarray, strides: np.ndarray) -> np.ndarray:
    """[n, 4] x1 y1 x2 y2 in input pixels from the distances [4, n] of the cells' left, top, right, bottom."""
    corners = np.concatenate([centres - sides[:2], centres + sides[2:]]) * strides
    boxes: np.ndarray = corners.T
    return boxes


def distances(logits: np.ndarray) -> np.ndarray:
    """[4, n] distances in cells from logits [4, reg_max, n]."""
    return logits[:, 0] if logits.shape[1] == 1 else _expectations(logits)


def _expectations(logits: np.ndarray) -> np.ndarray:
    """[4, n] expected bins of the softmax over [4, reg_max, n]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    bins = np.arange(logits.shape[1], dtype=np.float32)
    sums = np.stack([np.ones_like(bins), bins]) @ powers  # both in one pass: of the powers, and weighted by the bins
    found: np.ndarray = sums[:, 1] / sums[:, 0]
    return found
