"""Pillow in OpenCV's place: the few calls that `npu_inference.py` makes, for boards without OpenCV.

Decoding, colours, the linear resize and the padding give OpenCV's own pixels (tests/stages/script compares them bit by
bit); what is drawn looks alike and is not the same. Python 3.8, numpy and Pillow only.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

_WEIGHT_BITS = 11  # of a linear weight's fraction, INTER_RESIZE_COEF_BITS
_GREY = np.array([3735, 19235, 9798], np.int32)  # BT.601's shares of blue, green and red, in 1/32768
_MOST_PIXELS = 1 << 30  # OpenCV's own limit


class WithoutOpenCV:
    """Stands where the module `cv2` would: the same names, for uint8 images [H, W, C] in blue-green-red."""

    __version__ = "none; Pillow instead"
    note = "OpenCV is not installed: Pillow decodes and draws, and neither videos, cameras nor windows are there"
    COLOR_BGR2RGB, COLOR_BGRA2RGBA, COLOR_BGR2GRAY, COLOR_BGR2RGBA, COLOR_BGR2BGRA = range(5)
    INTER_LINEAR, INTER_CUBIC, INTER_AREA = range(3)
    IMREAD_COLOR, IMREAD_UNCHANGED = range(2)
    error = ValueError
    BORDER_CONSTANT = FONT_HERSHEY_SIMPLEX = RETR_EXTERNAL = CHAIN_APPROX_SIMPLE = 0

    @staticmethod
    def imdecode(data: np.ndarray, way: int) -> np.ndarray | None:
        """The picture in the file's bytes, None where Pillow finds none; turned as EXIF says unless it is UNCHANGED."""
        from PIL import Image, ImageOps

        Image.MAX_IMAGE_PIXELS = _MOST_PIXELS
        try:
            picture: Any = Image.open(io.BytesIO(data.tobytes()))
            picture.load()
            if way == WithoutOpenCV.IMREAD_COLOR:
                picture = ImageOps.exif_transpose(picture)
            elif "A" not in picture.getbands() and "transparency" not in picture.info:
                return None
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return None
        if picture.mode.startswith("I"):  # 16 bits of grey: the upper eight stay
            picture = Image.fromarray((np.asarray(picture).astype(np.int32) >> 8).astype(np.uint8))
        colours = np.asarray(picture.convert("RGB" if way == WithoutOpenCV.IMREAD_COLOR else "RGBA"))
        return np.ascontiguousarray(colours[..., [2, 1, 0, 3][: colours.shape[2]]])

    @staticmethod
    def cvtColor(image: np.ndarray, way: int) -> np.ndarray:
        """Colours in another order, grey, or with a transparency of 255."""
        if way == WithoutOpenCV.COLOR_BGR2GRAY:
            grey: np.ndarray = ((image.astype(np.int32) @ _GREY + (1 << 14)) >> 15).astype(np.uint8)
            return grey
        if way in (WithoutOpenCV.COLOR_BGR2RGBA, WithoutOpenCV.COLOR_BGR2BGRA):
            opaque = np.full((*image.shape[:2], 1), 255, np.uint8)
            image = np.concatenate([image, opaque], axis=2)
        if way == WithoutOpenCV.COLOR_BGR2BGRA:
            return image
        return np.ascontiguousarray(image[..., [2, 1, 0, 3][: image.shape[2]]])

    @staticmethod
    def resize(image: np.ndarray, size: Sequence[int], interpolation: int = INTER_LINEAR) -> np.ndarray:
        """To `size` (width, height), with INTER_LINEAR's whole-number arithmetic. Raises ValueError for others."""
        if interpolation != WithoutOpenCV.INTER_LINEAR:
            raise ValueError("only the linear resize is there without OpenCV")
        return resized(image.reshape(image.shape[0], image.shape[1], -1), size[1], size[0])

    @staticmethod
    def copyMakeBorder(
        image: np.ndarray, top: int, bottom: int, left: int, right: int, kind: int, value: Sequence[int]
    ) -> np.ndarray:
        """With a border of one colour."""
        del kind
        rows, columns = image.shape[:2]
        image = image.reshape(rows, columns, -1)
        whole = np.empty((top + rows + bottom, left + columns + right, image.shape[2]), np.uint8)
        whole[:] = np.array(value, np.uint8)
        whole[top : top + rows, left : left + columns] = image
        return whole

    @staticmethod
    def imwrite(file: str, image: np.ndarray) -> bool:
        """Whether the image could be written."""
        from PIL import Image

        try:
            Image.fromarray(np.ascontiguousarray(image[..., ::-1])).save(file)
        except (OSError, ValueError):
            return False
        return True

    @staticmethod
    def rectangle(
        image: np.ndarray, one: Sequence[int], other: Sequence[int], color: Sequence[int], width: int
    ) -> None:
        """Draw the outline of a box between two corners."""
        _draw(image, "line", [one, (other[0], one[1]), other, (one[0], other[1]), one], fill=tuple(color), width=width)

    @staticmethod
    def polylines(
        image: np.ndarray, lines: Sequence[np.ndarray], closed: bool, color: Sequence[int], width: int
    ) -> None:
        """Draw lines from point to point."""
        for line in lines:
            points = [tuple(point) for point in line.reshape(-1, 2).tolist()]
            _draw(image, "line", points + points[:1] * closed, fill=tuple(color), width=width)

    @staticmethod
    def circle(image: np.ndarray, centre: Sequence[int], radius: int, color: Sequence[int], width: int) -> None:
        """Draw a filled circle."""
        del width
        x, y = centre
        _draw(image, "ellipse", [x - radius, y - radius, x + radius, y + radius], fill=tuple(color))

    @staticmethod
    def putText(
        image: np.ndarray, text: str, place: Sequence[int], font: int, scale: float, color: Sequence[int], width: int
    ) -> None:
        """Write ASCII text whose lower left corner is at `place`."""
        del font, scale, width
        plain = text.encode("ascii", "replace").decode("ascii")
        _draw(image, "text", (place[0], place[1] - 11), plain, fill=tuple(color))


def resized(image: np.ndarray, high: int, wide: int) -> np.ndarray:
    """uint8 [high, wide, C] from [rows, columns, C] by OpenCV's INTER_LINEAR for bytes (imgproc/src/resize.cpp).

    Weights have 11 bits; the sum across loses 4 before it is weighted down. A picture twice as large both ways is
    averaged, as OpenCV does it too.
    """
    rows, columns = image.shape[:2]
    if (rows, columns) == (2 * high, 2 * wide):
        total: np.ndarray = image.reshape(high, 2, wide, 2, -1).sum(axis=(1, 3), dtype=np.int32)
        return ((total + 2) >> 2).astype(np.uint8)
    x, across = _weights_of(columns, wide)
    y, down = _weights_of(rows, high)
    outside = (x < 0) | (x >= columns - 1)
    across[0, outside], across[1, outside] = 1 << _WEIGHT_BITS, 0
    x = np.clip(x, 0, columns - 1)
    right = np.minimum(x + 1, columns - 1)
    wanted = np.unique(np.clip(np.concatenate([y, y + 1]), 0, rows - 1))
    lines = image[wanted]
    sums = (lines[:, x] * across[0, :, None] + lines[:, right] * across[1, :, None]) >> 4
    upper, lower = (sums[wanted.searchsorted(np.clip(row, 0, rows - 1))] for row in (y, y + 1))
    total = ((upper * down[0, :, None, None]) >> 16) + ((lower * down[1, :, None, None]) >> 16)
    return ((total + 2) >> 2).astype(np.uint8)


def _weights_of(length: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each of `target` pixels the first of the two that it lies between, and their weights [2, target]."""
    scale = np.float64(1) / (np.float64(target) / np.float64(length))
    place = ((np.arange(target) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(place)
    share = place - first
    weights = np.rint(np.stack([np.float32(1) - share, share]) * np.float32(1 << _WEIGHT_BITS))
    return first.astype(np.int64), weights.astype(np.int32)


def _draw(image: np.ndarray, shape: str, *what: Any, **how: Any) -> None:
    """Let Pillow draw into the array."""
    from PIL import Image, ImageDraw

    canvas = Image.fromarray(image)
    getattr(ImageDraw.Draw(canvas), shape)(*what, **how)
    image[:] = np.asarray(canvas)
