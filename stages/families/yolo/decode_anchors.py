"""Decoding of the anchor head of the original YOLOv5 (and YOLOv7), cut at its convolutions.

The generated board script is made of this file too: Python 3.8 and numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def decode_anchors(
    outputs: Sequence[np.ndarray], head: Mapping[str, Any], confidence: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates above `confidence`: boxes float32 [n, 4] x1 y1 x2 y2 in input pixels, scores [n], classes [n].

    They come scale after scale, in each anchor after anchor, in each cell after cell. `outputs` are, for each scale,
    float32 [1, anchors * (5 + num_classes), h, w] after the sigmoid: of each anchor x, y, width, height, whether there
    is an object at all, and the classes. With s the value after the sigmoid,

        centre = (2 s - 0.5 + cell) * stride    sides = (2 s)^2 * anchor    score = objectness * class

    as ultralytics/yolov5 has had it since its version 2 (models/yolo.py). `head["strides"]` are in pixels, and so are
    `head["anchors"]`, width and height of each of a scale's. A score is never above its objectness: only the cells
    whose objectness passes are decoded. As in `decode`, a cell gives one candidate for each class above the threshold.
    """
    scales = zip(outputs, head["strides"], head["anchors"])  # noqa: B905 (3.8)
    found = [_scale(output, stride, np.array(anchors, np.float32), confidence) for output, stride, anchors in scales]
    boxes, scores, classes = (np.concatenate([one[part] for one in found]) for part in range(3))
    return boxes, scores, classes


def _scale(
    output: np.ndarray, stride: int, anchors: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes [n, 4], scores [n] and classes [n] of one scale; `anchors` [count, 2] in pixels."""
    columns = output.shape[3]
    cells = output.reshape(len(anchors), -1, output.shape[2] * columns)
    anchor, cell = (cells[:, 4] > confidence).nonzero()
    found = cells[anchor, :, cell]
    scores = found[:, 4:5] * found[:, 5:]
    row, classes = (scores > confidence).nonzero()
    kept = np.unique(row)  # a cell of several classes is decoded once
    anchor, cell, found = anchor.take(kept), cell.take(kept), found.take(kept, axis=0)
    corner = np.stack([cell % columns, cell // columns], axis=1).astype(np.float32) - np.float32(0.5)
    centre = (found[:, :2] * 2 + corner) * np.float32(stride)
    half = (found[:, 2:4] * 2) ** 2 * anchors.take(anchor, axis=0) / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return boxes.take(kept.searchsorted(row), axis=0), scores[row, classes], classes
