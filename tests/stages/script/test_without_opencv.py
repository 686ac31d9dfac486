"""A board without OpenCV: Pillow decodes, and the pixels are OpenCV's own, bit by bit."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from stages.common import images
from stages.rknn.program.without_opencv import WithoutOpenCV
from tests.support.board import Board, contract

BLOCKED = "import sys; sys.modules['cv2'] = None"
RANDOM = np.random.default_rng(8)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


def smooth(rows: int, columns: int, channels: int = 3) -> np.ndarray:
    """Noise that a JPEG keeps something of."""
    made = cv2.GaussianBlur(noise(rows, columns, channels), (0, 0), 3)
    return cv2.normalize(made, None, 0, 255, cv2.NORM_MINMAX).reshape(rows, columns, channels)  # type: ignore[call-overload]


SIZES = [tuple(map(int, RANDOM.integers(1, 300, 4))) for _ in range(60)]
SIZES += [
    (200, 300, 100, 150),
    (100, 150, 200, 300),
    (200, 300, 100, 300),
    (1, 1, 9, 9),
    (300, 1, 7, 5),
    (720, 1280, 360, 640),
]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_linear_resize_is_opencv_s_bit_by_bit(channels: int) -> None:
    for rows, columns, high, wide in SIZES:
        image = noise(rows, columns, channels)
        expected = cv2.resize(image, (wide, high), interpolation=cv2.INTER_LINEAR).reshape(high, wide, channels)
        assert np.array_equal(WithoutOpenCV.resize(image, (wide, high)), expected), (rows, columns, high, wide)


def test_colours_and_borders_are_opencv_s() -> None:
    image = noise(50, 60, 3)
    for name in ("BGR2RGB", "BGR2GRAY", "BGR2RGBA", "BGR2BGRA"):
        expected = cv2.cvtColor(image, getattr(cv2, f"COLOR_{name}"))
        assert np.array_equal(WithoutOpenCV.cvtColor(image, getattr(WithoutOpenCV, f"COLOR_{name}")), expected), name
    four = noise(50, 60, 4)
    expected = cv2.cvtColor(four, cv2.COLOR_BGRA2RGBA)
    assert np.array_equal(WithoutOpenCV.cvtColor(four, WithoutOpenCV.COLOR_BGRA2RGBA), expected)
    border = (3, 4, 5, 6)
    expected = cv2.copyMakeBorder(image, *border, cv2.BORDER_CONSTANT, value=(1, 2, 3))
    assert np.array_equal(WithoutOpenCV.copyMakeBorder(image, *border, 0, (1, 2, 3)), expected)


def files() -> dict[str, bytes]:
    """Pictures of many kinds, by what they are."""
    made: dict[str, bytes] = {}
    for quality in (50, 95):
        for sampling in (0x411111, 0x211111, 0x221111, 0x111111):
            for progressive in (0, 1):
                options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
                options += [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
                made[f"jpeg {quality} {sampling:x} {progressive}"] = encoded(".jpg", smooth(203, 317), *options)
    made["grey jpeg"] = encoded(".jpg", smooth(50, 70, 1))
    for suffix in (".png", ".bmp", ".tiff", ".webp"):
        made[suffix] = encoded(suffix, smooth(50, 70))
    made["grey png"] = encoded(".png", noise(50, 70, 1))
    made["transparent png"] = encoded(".png", noise(50, 70, 4))
    made["16 bits"] = encoded(".png", np.random.default_rng(1).integers(0, 65536, (50, 70, 3)).astype(np.uint16))
    made["16 bits of grey"] = encoded(".png", np.random.default_rng(2).integers(0, 65536, (50, 70)).astype(np.uint16))
    for name, mode in (("palette", "P"), ("one bit", "1"), ("grey and transparent", "LA")):
        buffer = io.BytesIO()
        Image.fromarray(noise(50, 70, 3)).convert(mode).save(buffer, "PNG")
        made[name] = buffer.getvalue()
    for turn in range(1, 9):
        buffer, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = turn
        Image.fromarray(smooth(40, 60)).save(buffer, "JPEG", quality=90, exif=exif)
        made[f"turned {turn}"] = buffer.getvalue()
    return made


def encoded(suffix: str, image: np.ndarray, *options: int) -> bytes:
    done, data = cv2.imencode(suffix, image, list(options))
    assert done
    return bytes(data.tobytes())


FILES = files()


@pytest.mark.parametrize("kind", FILES)
def test_pictures_are_decoded_to_opencv_s_pixels(kind: str) -> None:
    data = np.frombuffer(FILES[kind], np.uint8)
    found = WithoutOpenCV.imdecode(data, WithoutOpenCV.IMREAD_COLOR)
    assert found is not None
    assert np.array_equal(found, cv2.imdecode(data, cv2.IMREAD_COLOR))


@pytest.mark.parametrize("data", [b"", b"no picture", FILES["jpeg 95 111111 0"][:900], FILES[".png"][:200]])
def test_what_is_no_whole_picture_is_none(data: bytes) -> None:
    found = WithoutOpenCV.imdecode(np.frombuffer(data, np.uint8), WithoutOpenCV.IMREAD_COLOR)
    assert found is None or images.damage(data)


def found_with_and_without(board: Board, *words: object) -> tuple[list[Any], list[Any]]:
    results = []
    for prelude in ("", BLOCKED):
        done = board.run(*words, "--json", prelude=prelude)
        assert done.returncode == 0, done.stderr
        assert ("OpenCV is not installed: Pillow decodes" in done.stderr) == bool(prelude)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        results.append([{**line, "milliseconds": None} for line in lines])
    return results[0], results[1]


@pytest.mark.parametrize("form", ["RGB", "BGR", "Grayscale", "RGBA"])
def test_the_program_finds_the_same_without_opencv(tmp_path: Path, form: str) -> None:
    made = contract(colours=form)
    made["input"]["channels"] = channels = {"Grayscale": 1, "RGBA": 4}.get(form, 3)
    normal = made["preprocessing"]["normalize"]
    normal["mean"], normal["std"] = [0.0] * channels, [255.0] * channels
    made["preprocessing"]["padding"]["color"] = [114] * channels
    board = Board.make(tmp_path, contract=made)
    (tmp_path / "in").mkdir()
    for number, (kind, data) in enumerate(FILES.items()):
        if form != "RGBA" or kind in ("transparent png", ".png", "jpeg 95 221111 0"):
            suffix = ".jpg" if data[:2] == b"\xff\xd8" else ".png"
            (tmp_path / "in" / f"{number:02d}{suffix}").write_bytes(data)
    one, other = found_with_and_without(board, "in")
    assert one == other
    seen = np.load(tmp_path / "seen.npy")
    assert seen.shape == (1, 64, 96, channels)


def test_pictures_are_drawn_and_classes_written_without_opencv(tmp_path: Path) -> None:
    board = Board.make(tmp_path)
    done = board.run(board.image(), "--out", "drawn", prelude=BLOCKED)
    assert done.returncode == 0, done.stderr
    drawn = cv2.imread(str(tmp_path / "drawn" / "image.png"))
    assert drawn is not None
    assert (drawn == (0, 255, 0)).all(axis=2).sum() > 100


def test_what_only_opencv_can_is_said_in_one_sentence(tmp_path: Path) -> None:
    board = Board.make(tmp_path)
    for words in (("0",), ("a.mp4",)):
        done = board.run(*words, prelude=BLOCKED)
        assert done.returncode == 5
        assert "needs OpenCV. Install it: pip install opencv-python-headless" in done.stderr
    made = contract()
    made["preprocessing"]["resize"]["interpolation"] = "area"
    (tmp_path / "area").mkdir()
    board = Board.make(tmp_path / "area", contract=made)
    done = board.run(board.image(), prelude=BLOCKED)
    assert done.returncode == 5
    assert "resize is area, which needs OpenCV" in done.stderr
