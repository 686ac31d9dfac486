"""Reading an image and bringing it into the form that the network was trained on.

The generated board script is made of this file too: Python 3.8, numpy and OpenCV only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stages.common.antialias import antialiased

_COLOURS = {
    "RGB": cv2.COLOR_BGR2RGB,
    "BGR": None,
    "Grayscale": cv2.COLOR_BGR2GRAY,
    "RGBA": cv2.COLOR_BGR2RGBA,
}
_OPENCV = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}
_PILLOW = {"antialias": "bilinear", "antialias_cubic": "bicubic"}
_SIDES = {"top_left": 0.0, "center": 0.5, "bottom_right": 1.0}  # share of the free space left of and above the image
_HALF_DOWN = 0.1  # pixels; Ultralytics' LetterBox puts an odd pixel of padding to the right and below


@dataclass(frozen=True)
class Placement:
    """Where an image lies in the network's input: `input = image * scale + offset`, in pixels.

    `left` and `top` are negative where the image was cropped; `width` and `height` are the resized
    image's, without padding.
    """

    scale_x: float
    scale_y: float
    left: int
    top: int
    width: int
    height: int


def damage(data: bytes) -> str:
    """Why the bytes are not a whole JPEG or PNG file, in a few words; empty where nothing is found.

    OpenCV decodes a truncated JPEG without an error and fills the rest with grey.
    """
    if data[:2] == b"\xff\xd8":
        place = 2
        while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] != b"\xda":
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        return "" if data.find(b"\xff\xd9", place) > 0 else "truncated JPEG: it has no end marker"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "" if data.rfind(b"IEND") > 0 else "truncated PNG: it has no end chunk"
    return "" if data else "empty file"


def read(path: Any, form: str = "BGR") -> np.ndarray:
    """The image as uint8 [H, W, 3], blue-green-red, turned as its EXIF orientation says (as Ultralytics reads it).

    16 bits become 8 by dropping the lower ones, palettes and CMYK become colours, and transparency is left out; only
    where `form` is RGBA it is kept as a fourth channel, 255 where the file has none.
    Raises OSError where the file cannot be read, ValueError where it is not a whole image.
    """
    return picture(Path(path).read_bytes(), form)


def picture(data: bytes, form: str = "BGR") -> np.ndarray:
    """`read` of a file's bytes. Raises ValueError where they are not a whole image."""
    reason = damage(data)
    try:
        image = None if reason else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        raise ValueError("it claims more pixels than OpenCV reads") from None
    if image is None:
        raise ValueError(reason or "no image that OpenCV can read")
    return _with_transparency(image, data) if form == "RGBA" else image


def _with_transparency(image: np.ndarray, data: bytes) -> np.ndarray:
    """uint8 [H, W, 4]: the decoded image, blue-green-red, with the transparency that the file's bytes hold."""
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if whole is None or whole.ndim != 3 or whole.shape[2] != 4:
        return cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
    if whole.dtype == np.uint16:
        whole = (whole // 256).astype(np.uint8)
    if not np.array_equal(whole[:, :, :3], image):  # decoded with its transparency, an image is not turned
        raise ValueError("its EXIF orientation turns the colours, and OpenCV leaves the transparency as it lies")
    return whole


def place(shape: tuple[int, int], contract: Mapping[str, Any]) -> Placement:
    """Where an image of `shape` [H, W] goes in the contract's input. Raises ValueError where the contract cannot be.

    letterbox:   as large as fits, ratio kept, sides rounded to even, padded (arithmetic of Ultralytics' `LetterBox`).
    resize_pad:  as high as the input, ratio kept, the width rounded up; what would be wider than the input is squeezed
                 to its width, what is narrower is padded (arithmetic of PaddleOCR's `resize_norm_img` and of
                 deep-text-recognition-benchmark's `AlignCollate`; both have the image at the left: top_left).
    center_crop: as small as covers the input, or its shorter side `shorter_side` pixels, ratio kept, fractions cut off,
                 the middle cut out (arithmetic of torchvision's `Resize` and `CenterCrop`).
    direct:      stretched to the input.
    `padding.position` says where the image lies in the padded input.
    """
    height, width = contract["input"]["size"]
    resize = contract["preprocessing"]["resize"]
    method = resize["method"]
    rows, columns = shape
    if method == "direct":
        return Placement(width / columns, height / rows, 0, 0, width, height)
    if method == "center_crop":
        return _cropped(shape, (height, width), resize.get("shorter_side"))
    if method not in ("letterbox", "resize_pad"):
        raise ValueError(f"preprocessing.resize.method is {method!r}")
    padding = contract["preprocessing"]["padding"]
    if not padding["enabled"]:
        raise ValueError(f"preprocessing.padding.enabled is false, but {method} pads")
    if any(part != int(part) for part in padding["color"]):
        raise ValueError(f"preprocessing.padding.color is {padding['color']}, and pixels are whole numbers")
    if method == "resize_pad":
        wide, high = min(math.ceil(height * (columns / rows)), width), height
    else:
        scale = min(height / rows, width / columns)
        wide, high = max(round(columns * scale), 1), max(round(rows * scale), 1)
    share = _SIDES[padding["position"]]
    shift = _HALF_DOWN if share == 0.5 else 0.0
    left, top = round((width - wide) * share - shift), round((height - high) * share - shift)
    # Of each side what it really became: a side of 112 pixels that is scaled by 8/9 has 100, which is not 112 * 8/9.
    return Placement(wide / columns, high / rows, left, top, wide, high)


def _cropped(shape: tuple[int, int], size: tuple[int, int], shorter_side: int | None) -> Placement:
    """`place` of a center_crop to `size` [H, W]."""
    (rows, columns), (height, width) = shape, size
    if shorter_side is None:
        # The one side as the input's, the other with the ratio kept, or the other way round where that does not cover.
        wide, high = max(width, height * columns // rows), max(height, width * rows // columns)
    elif shorter_side < max(size):
        raise ValueError(f"preprocessing.resize.shorter_side is {shorter_side}, which does not cover {list(size)}")
    elif columns <= rows:
        wide, high = shorter_side, shorter_side * rows // columns
    else:
        wide, high = shorter_side * columns // rows, shorter_side
    left, top = round((wide - width) / 2), round((high - height) / 2)  # to even, as CenterCrop rounds
    return Placement(wide / columns, high / rows, -left, -top, wide, high)


def prepare(image: np.ndarray, contract: Mapping[str, Any]) -> tuple[np.ndarray, Placement]:
    """The network's input, still in bytes: uint8 [H, W, C] in the contract's colour format, and where the image lies.

    `image` is uint8 [rows, columns, 3] in blue-green-red, for RGBA [rows, columns, 4] with transparency too;
    `contract` is the block of critical values.
    """
    colours = _COLOURS[contract["input"]["format"]] if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    if colours is not None:
        image = cv2.cvtColor(image, colours)
    placement = place(image.shape[:2], contract)
    height, width = contract["input"]["size"]
    image = _scaled(image, placement, (height, width), contract["preprocessing"]["resize"])
    if image.shape[:2] != (height, width):
        right, bottom = width - placement.width - placement.left, height - placement.height - placement.top
        color = [int(part) for part in contract["preprocessing"]["padding"]["color"]]
        image = cv2.copyMakeBorder(
            image, placement.top, bottom, placement.left, right, cv2.BORDER_CONSTANT, value=color
        )
    return np.ascontiguousarray(image.reshape(height, width, -1)), placement


def _scaled(image: np.ndarray, placement: Placement, size: tuple[int, int], resize: Mapping[str, Any]) -> np.ndarray:
    """The image as large as `placement` says, and of it what lies in the input of `size` [H, W]."""
    top, left = max(-placement.top, 0), max(-placement.left, 0)
    high, wide = min(placement.height, size[0]), min(placement.width, size[1])
    way = resize.get("interpolation", "linear")
    if way in _PILLOW:
        planes = image.reshape(image.shape[0], image.shape[1], -1)
        return antialiased(planes, (placement.height, placement.width), (top, left, high, wide), _PILLOW[way])
    if (placement.height, placement.width) != image.shape[:2]:
        image = cv2.resize(image, (placement.width, placement.height), interpolation=_OPENCV[way])
    return image[top : top + high, left : left + wide]


def normalise(prepared: np.ndarray, contract: Mapping[str, Any]) -> np.ndarray:
    """`(value - mean) / std` per channel, float32 [1, C, H, W], from uint8 [H, W, C]; mean and std in 0..255 units."""
    normal = contract["preprocessing"]["normalize"]
    planes: np.ndarray = np.stack(cv2.split(prepared))[None].astype(np.float32)
    if normal["enabled"]:
        mean, std = (np.asarray(normal[key], np.float32).reshape(1, -1, 1, 1) for key in ("mean", "std"))
        if mean.any():
            planes -= mean
        planes /= std
    return planes


def boxes_to_image(boxes: np.ndarray, placement: Placement, shape: tuple[int, int]) -> np.ndarray:
    """Boxes x1 y1 x2 y2 [n, 4] from the input's pixels to the pixels of the image of `shape` [H, W], clipped to it."""
    offset = np.array([placement.left, placement.top] * 2, np.float32)
    scale = np.array([placement.scale_x, placement.scale_y] * 2, np.float32)
    rows, columns = shape
    limit = np.array([columns, rows, columns, rows], np.float32)
    placed: np.ndarray = np.clip((boxes - offset) / scale, np.float32(0), limit)
    return placed
