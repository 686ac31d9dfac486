"""Decoding of the pose head of Ultralytics' YOLOs, cut at its convolutions.

The generated board script is made of this file too: Python 3.8 and numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.families.yolo.decode import at_cells, decode_cells, grid


def decode_poses(
    outputs: Sequence[np.ndarray], head: Mapping[str, Any], confidence: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Candidates above `confidence`, as `decode` has them, and their keypoints float32 [n, keypoints, 3].

    A keypoint is x, y in input pixels and how visible it is, 0..1; 1 where the network does not tell. `outputs` are,
    for each scale, distances, scores, offsets [1, 2 * keypoints, h, w] and, of networks that tell, visibilities.
    An offset counts `head["keypoint_unit"]` cells, from the cell's corner where that is 2, from its centre where 1.
    """
    count, numbers = head["keypoints"]
    parts = 4 if numbers == 3 else 3
    boxes, scores, classes, cells = decode_cells(outputs[::parts], outputs[1::parts], head, confidence)
    sizes = tuple(one.shape[2:] for one in outputs[1::parts])
    centres, strides, _ = grid(sizes, tuple(head["strides"]))
    unit = np.float32(head["keypoint_unit"])
    offsets = at_cells(outputs[2::parts], cells).reshape(count, 2, -1)
    points = (offsets * unit + (centres.take(cells, axis=1) - (unit - 1) / 2)) * strides.take(cells)
    visible = np.ones((count, 1, len(cells)), np.float32)
    if numbers == 3:
        visible = at_cells(outputs[3::parts], cells).reshape(count, 1, -1)
    return boxes, scores, classes, np.concatenate([points, visible], axis=1).transpose(2, 0, 1)
