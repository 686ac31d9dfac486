"""Resizing as Pillow does it: smaller images are averaged, not sampled. Classifiers are trained on such images.

OpenCV's linear resize looks at four pixels whatever the scale. Pillow's widens the same triangle, or its cubic, with
the scale; the arithmetic here is Pillow's own (src/libImaging/Resample.c), whole numbers and rounding included, so the
pixels are the same ones.

The generated board script is made of this file too: Python 3.8 and numpy only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

_BITS = 22  # of a weight's fraction: 32, less 8 for the pixel and 2 for the sum


def _triangle(distance: np.ndarray) -> np.ndarray:
    weights: np.ndarray = np.maximum(1.0 - np.abs(distance), 0.0)
    return weights


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Keys' cubic with a = -0.5, each polynomial in Pillow's order of operations."""
    far = np.abs(distance)
    near = (1.5 * far - 2.5) * far * far + 1.0
    return np.where(far < 1.0, near, np.where(far < 2.0, (((far - 5.0) * far + 8.0) * far - 4.0) * -0.5, 0.0))


_KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {  # the weight at a distance, and the radius
    "bilinear": (_triangle, 1.0),
    "bicubic": (_cubic, 2.0),
}


def antialiased(image: np.ndarray, size: Sequence[int], window: Sequence[int], kernel: str = "bilinear") -> np.ndarray:
    """The part `window` [top, left, height, width] of uint8 [rows, columns, channels] resized to `size` [H, W].

    `kernel` is Pillow's: bilinear or bicubic. Only what the window needs is computed.
    """
    top, left, height, width = window
    rows = _taps(image.shape[0], size[0], top, height, kernel)
    columns = _taps(image.shape[1], size[1], left, width, kernel)
    lost_rows, lost_columns = image.shape[0] - size[0], image.shape[1] - size[1]
    # The pass that comes first rounds to bytes. Pillow 13's rule; older ones always begin with the columns, which
    # moves a few pixels of images more than twice as high as wide by one level.
    if lost_rows > max(0, 2 * lost_columns):
        return _along_columns(_weighted(image, *rows), *columns)
    first, last = int(rows[0].min()), int(rows[0].max()) + 1
    return _weighted(_along_columns(image[first:last], *columns), rows[0] - first, rows[1])


def _along_columns(image: np.ndarray, places: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`_weighted` of the columns instead of the rows."""
    turned = _weighted(np.ascontiguousarray(image.transpose(1, 0, 2)), places, weights)
    return np.ascontiguousarray(turned.transpose(1, 0, 2))


def _taps(length: int, target: int, start: int, count: int, kernel: str) -> tuple[np.ndarray, np.ndarray]:
    """Which of `length` values the values `start` ... of `target` are made of, and with what weights, [count, taps]."""
    weight, radius = _KERNELS[kernel]
    scale = length / target
    widened = max(scale, 1.0)
    support = radius * widened
    if length == target:
        return np.arange(start, start + count)[:, None], np.full((count, 1), 1 << _BITS, np.int32)
    centre = (np.arange(start, start + count) + 0.5) * scale
    low = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    high = np.minimum((centre + support + 0.5).astype(np.int64), length)
    places = low[:, None] + np.arange(math.ceil(support) * 2 + 1)
    weights = weight((places - centre[:, None] + 0.5) * (1.0 / widened))
    weights[places >= high[:, None]] = 0.0
    weights /= np.cumsum(weights, axis=1)[:, -1:]  # summed one after the other: the last bit decides some pixels
    rounding = np.copysign(0.5, weights)  # away from zero, for the cubic's weights below it too
    return np.minimum(places, length - 1), (rounding + weights * (1 << _BITS)).astype(np.int32)


def _weighted(image: np.ndarray, places: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """uint8 [count, ...]: the sums of the image's rows at `places` [count, taps] with `weights`, rounded."""
    total = np.full((len(places), *image.shape[1:]), 1 << (_BITS - 1), np.int32)
    for tap in range(places.shape[1]):
        total += image[places[:, tap]] * weights[:, tap, None, None]
    found: np.ndarray = np.clip(total >> _BITS, 0, 255).astype(np.uint8)
    return found
