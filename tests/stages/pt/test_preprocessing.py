"""Preparation of images, pixel for pixel against the code that trainers use: Ultralytics, torchvision, Pillow."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from stages.common.images import prepare, read
from stages.families.yolo.network import quiet_ultralytics
from stages.pt.torchvision_operators import register_missing

quiet_ultralytics()

from PIL import Image, ImageOps  # noqa: E402

RANDOM = np.random.default_rng(9)
OPERATORS = register_missing()  # they last as long as this


def contract(size: tuple[int, int], form: str = "BGR", padding: dict[str, Any] | None = None, **resize: Any) -> Any:
    given = {"enabled": padding is not None, **(padding or {})}
    return {"input": {"size": list(size), "format": form}, "preprocessing": {"resize": resize, "padding": given}}


def pictures(count: int, largest: int = 400) -> list[np.ndarray]:
    sides = RANDOM.integers(3, largest, (count, 2))
    return [RANDOM.integers(0, 256, (int(rows), int(columns), 3), np.uint8) for rows, columns in sides]


def pillow(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image[:, :, ::-1]))


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("size", [(64, 64), (96, 160), (161, 97)])
def test_letterbox_is_ultralytics_own(size: tuple[int, int], center: bool) -> None:
    from ultralytics.data.augment import LetterBox

    theirs = LetterBox(new_shape=size, auto=False, center=center, padding_value=77)
    padding = {"color": [77] * 3, "position": "center" if center else "top_left"}
    for image in pictures(30):
        assert np.array_equal(
            prepare(image, contract(size, padding=padding, method="letterbox"))[0], theirs(image=image)
        )


@pytest.mark.parametrize(("side", "crop"), [(256, 224), (64, 64), (73, 61)])
@pytest.mark.parametrize("cubic", [False, True])
def test_the_middle_of_an_image_of_which_the_shorter_side_is_known_is_torchvision_s(
    side: int, crop: int, cubic: bool
) -> None:
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    way = InterpolationMode.BICUBIC if cubic else InterpolationMode.BILINEAR
    theirs = Compose([Resize(side, interpolation=way), CenterCrop(crop)])
    resize = {"method": "center_crop", "shorter_side": side}
    resize["interpolation"] = "antialias_cubic" if cubic else "antialias"
    for image in pictures(25):
        prepared, _ = prepare(image, contract((crop, crop), "RGB", **resize))
        assert np.array_equal(prepared, np.asarray(theirs(pillow(image)))), image.shape


@pytest.mark.parametrize("way", ["bilinear", "bicubic"])
def test_a_stretched_image_is_pillow_s(way: str) -> None:
    named = {"bilinear": "antialias", "bicubic": "antialias_cubic"}[way]
    for size in ((32, 128), (7, 300), (64, 3)):
        for image in pictures(25):
            theirs = pillow(image).resize(size[::-1], Image.Resampling[way.upper()])
            prepared, _ = prepare(image, contract(size, "RGB", method="direct", interpolation=named))
            assert np.array_equal(prepared, np.asarray(theirs)), (image.shape, size)


@pytest.mark.parametrize("way", ["linear", "cubic", "area"])
def test_a_stretched_image_is_opencv_s(way: str) -> None:
    for image in pictures(20):
        theirs = cv2.resize(image, (128, 32), interpolation=getattr(cv2, f"INTER_{way.upper()}"))
        prepared, _ = prepare(image, contract((32, 128), method="direct", interpolation=way))
        assert np.array_equal(prepared, theirs)


def as_paddleocr(image: np.ndarray, height: int, width: int, fill: int) -> np.ndarray:
    """PaddleOCR's arithmetic (ppocr/data/imaug/rec_img_aug.py, resize_norm_img), before it normalises."""
    ratio = image.shape[1] / float(image.shape[0])
    wide = width if math.ceil(height * ratio) > width else math.ceil(height * ratio)
    padded = np.full((height, width, 3), fill, np.uint8)
    padded[:, :wide] = cv2.resize(image, (wide, height))
    return padded


def test_text_is_padded_as_its_recognisers_are_trained() -> None:
    for image in [*pictures(30, 120), RANDOM.integers(0, 256, (8, 300, 3), np.uint8)]:
        padding = {"color": [128] * 3, "position": "top_left"}
        prepared, at = prepare(image, contract((32, 128), padding=padding, method="resize_pad"))
        assert np.array_equal(prepared, as_paddleocr(image, 32, 128, 128))
        assert (at.left, at.top, at.height) == (0, 0, 32)
        padding["position"] = "bottom_right"
        moved, _ = prepare(image, contract((32, 128), padding=padding, method="resize_pad"))
        assert np.array_equal(moved[:, 128 - at.width :], prepared[:, : at.width])


def test_grey_differs_from_pillow_s_by_one_level_at_most() -> None:
    for image in pictures(20):
        grey, _ = prepare(image, contract(image.shape[:2], "Grayscale", method="direct"))
        theirs = np.asarray(pillow(image).convert("L")).astype(int)
        assert np.abs(grey[:, :, 0] - theirs).max() <= 1


FILES = {  # and what Pillow opens them as
    "plain.png": "RGB",
    "transparent.png": "RGBA",
    "palette.png": "P",
    "grey.png": "L",
    "grey_transparent.png": "LA",
    "transparent.webp": "RGBA",
    "turned.jpg": "RGB",
}


def store(folder: Path, name: str) -> Path:
    """An image of that kind, written by Pillow."""
    path = folder / name
    values = RANDOM.integers(0, 256, (20, 34, 4), np.uint8)
    values[:10] = values[:1]  # something that JPEG keeps
    if name == "turned.jpg":
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(values[:, :, :3]).save(path, exif=exif, quality=95)
    else:
        mode = FILES[name]
        Image.fromarray(values).convert("RGB" if mode in ("P", "L") else mode).convert(mode).save(path)
    return path


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("form", ["RGB", "RGBA"])
def test_files_of_every_kind_are_read_as_pillow_reads_them(tmp_path: Path, name: str, form: str) -> None:
    path = store(tmp_path, name)
    with Image.open(path) as opened:
        assert opened.mode == FILES[name]
        theirs = np.asarray(ImageOps.exif_transpose(opened).convert("RGBA").convert(form))
    image = read(path, form)
    prepared, _ = prepare(image, contract(image.shape[:2], form, method="direct"))
    assert prepared.shape == theirs.shape
    assert np.array_equal(prepared, theirs)


def test_sixteen_bits_become_eight_by_their_upper_half(tmp_path: Path) -> None:
    values = RANDOM.integers(0, 65536, (9, 11, 4), np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), values)
    assert np.array_equal(read(tmp_path / "deep.png", "RGBA"), values // 256)
    assert np.array_equal(read(tmp_path / "deep.png"), values[:, :, :3] // 256)


def test_a_transparent_image_that_its_exif_turns_is_refused(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(RANDOM.integers(0, 256, (20, 20, 4), np.uint8)).save(tmp_path / "turned.png", exif=exif)
    with pytest.raises(ValueError, match="EXIF orientation"):
        read(tmp_path / "turned.png", "RGBA")
    assert read(tmp_path / "turned.png").shape == (20, 20, 3)


def test_inks_become_colours_within_one_level_of_pillow_s(tmp_path: Path) -> None:
    values = cv2.resize(RANDOM.integers(0, 256, (5, 5, 3), np.uint8), (64, 64), interpolation=cv2.INTER_CUBIC)
    Image.fromarray(values).convert("CMYK").save(tmp_path / "inks.jpg", quality=95)
    with Image.open(tmp_path / "inks.jpg") as opened:
        theirs = np.asarray(opened.convert("RGB")).astype(int)
    assert np.abs(read(tmp_path / "inks.jpg")[:, :, ::-1] - theirs).max() <= 1
