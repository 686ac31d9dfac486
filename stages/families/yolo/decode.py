"""Decoding of the detection head of Ultralytics' YOLOs, cut at its convolutions.

The generated board script is made of this file too: Python 3.8 and numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

_WORD = 8  # booleans in one uint64


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
    scores, classes, cells = _search(scores_of, confidence)
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


def _search(scores_of: Sequence[np.ndarray], confidence: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, classes and cells, [n] each, above `confidence` in the scales' [1, num_classes, h, w].

    Few of many thousand values are above: eight verdicts are looked at as one number first.
    """
    firsts, table = _layout(tuple(scores.shape[1:] for scores in scores_of))
    count = int(firsts[-1])
    above = np.empty(count + -count % _WORD, bool)
    above[count:] = False
    flat = [scores.ravel() for scores in scores_of]
    for index, values in enumerate(flat):
        np.greater(values, confidence, out=above[firsts[index] : firsts[index + 1]])
    words = (above.view(np.uint64) != 0).nonzero()[0]
    word, place = np.divmod(above.reshape(-1, _WORD).take(words, axis=0).ravel().nonzero()[0], _WORD)
    places = words.take(word) * _WORD + place
    ends = places.searchsorted(firsts)
    begins, lengths, shifts = table.repeat(np.diff(ends), axis=1)
    places -= begins
    classes, cells = np.divmod(places, lengths)
    scores = np.concatenate([values.take(places[ends[index] : ends[index + 1]]) for index, values in enumerate(flat)])
    return scores, classes, cells + shifts


@lru_cache(maxsize=8)
def _layout(shapes: tuple[tuple[int, int, int], ...]) -> tuple[np.ndarray, np.ndarray]:
    """Where the scales' values, [classes, h, w] each, lie one after the other.

    The first of each scale, and the count of all [scales + 1]; of each scale that first, its cells, and the cells of
    the scales before it [3, scales].
    """
    classes, rows, columns = np.array(shapes).T
    cells = rows * columns
    firsts = np.cumsum([0, *(classes * cells)])
    return firsts, np.array([firsts[:-1], cells, np.cumsum([0, *cells[:-1]])])


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
    powers = np.exp(logits - np.maximum.reduce(logits, axis=1, keepdims=True))
    sums = _weights(logits.shape[1]) @ powers  # both in one pass: of the powers, and weighted by the bins
    found: np.ndarray = sums[:, 1] / sums[:, 0]
    return found


@lru_cache(maxsize=8)
def _weights(bins: int) -> np.ndarray:
    """[2, bins]: of the softmax's sum, and of its expectation."""
    return np.stack([np.ones(bins, np.float32), np.arange(bins, dtype=np.float32)])
