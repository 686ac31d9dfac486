"""Reading and preparing images, against the steps written out once more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcwbuild.contract import schemas
from stages.common import images

RANDOM = np.random.default_rng(7)
RESIZE = schemas.schema("common")["$defs"]["preprocessing"]["properties"]["resize"]["properties"]


def contract(size: list[int], **changes: Any) -> dict[str, Any]:
    """A letterbox contract; `changes` are method, position, format."""
    return {
        "input": {"size": size, "format": changes.get("format", "RGB")},
        "preprocessing": {
            "resize": {"method": changes.get("method", "letterbox")},
            "padding": {
                "enabled": changes.get("enabled", True),
                "color": changes.get("color", [114, 114, 114]),
                "position": changes.get("position", "center"),
            },
            "normalize": {"enabled": True, "mean": [0, 0, 0], "std": [255, 255, 255]},
        },
    }


def picture(rows: int, columns: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (rows, columns, 3), np.uint8)


@pytest.mark.parametrize(
    ("rows", "columns", "size"),
    [(480, 640, [640, 640]), (719, 1281, [640, 640]), (97, 31, [256, 320]), (64, 64, [64, 64]), (1, 900, [96, 96])],
)
def test_letterbox_is_a_resize_pasted_on_the_padding_colour(rows: int, columns: int, size: list[int]) -> None:
    image = picture(rows, columns)
    prepared, at = images.prepare(image, contract(size))
    height, width = size
    scale = min(height / rows, width / columns)
    wide, high = max(1, round(columns * scale)), max(1, round(rows * scale))
    canvas = np.full((height, width, 3), 114, np.uint8)
    left, top = (width - wide) // 2, (height - high) // 2  # an odd pixel goes right and below
    resized = image if (high, wide) == (rows, columns) else cv2.resize(image, (wide, high))
    canvas[top : top + high, left : left + wide] = resized[:, :, ::-1]
    assert np.array_equal(prepared, canvas)
    assert (at.left, at.top, at.width, at.height) == (left, top, wide, high)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=200)
def test_a_placement_lies_inside_the_input_and_touches_two_sides(rows: int, columns: int, h: int, w: int) -> None:
    at = images.place((rows, columns), contract([32 * h, 32 * w]))
    assert at.left >= 0
    assert at.top >= 0
    assert at.left + at.width <= 32 * w
    assert at.top + at.height <= 32 * h
    assert at.width == 32 * w or at.height == 32 * h


@pytest.mark.parametrize("method", ["letterbox", "direct", "center_crop"])
def test_boxes_come_back_to_where_they_were_in_the_image(method: str) -> None:
    asked = contract([256, 320], method=method)
    shape = (375, 500)
    at = images.place(shape, asked)
    boxes = np.array([[150, 120, 300, 250], [200.5, 100.25, 280, 201]], np.float32)
    scale, offset = np.array([at.scale_x, at.scale_y] * 2), np.array([at.left, at.top] * 2)
    back = images.boxes_to_image((boxes * scale + offset).astype(np.float32), at, shape)
    assert np.allclose(back, boxes, atol=1e-3)


def test_boxes_are_clipped_to_the_image() -> None:
    at = images.place((100, 200), contract([64, 64]))
    back = images.boxes_to_image(np.array([[-50, -50, 500, 500]], np.float32), at, (100, 200))
    assert back.tolist() == [[0, 0, 200, 100]]


@pytest.mark.parametrize(("position", "corner"), [("top_left", (0, 0)), ("bottom_right", (48, 0)), ("center", (24, 0))])
def test_the_position_says_where_the_image_lies(position: str, corner: tuple[int, int]) -> None:
    at = images.place((32, 64), contract([96, 96], position=position))
    assert (at.top, at.left) == corner


def test_center_crop_cuts_the_middle_out() -> None:
    image = picture(64, 128)
    prepared, _ = images.prepare(image, contract([64, 64], method="center_crop", format="BGR"))
    assert np.array_equal(prepared, image[:, 32:96])


def test_direct_stretches() -> None:
    image = picture(50, 90)
    prepared, _ = images.prepare(image, contract([64, 96], method="direct", format="BGR"))
    assert np.array_equal(prepared, cv2.resize(image, (96, 64)))


@pytest.mark.parametrize(("form", "channels"), [("RGB", [2, 1, 0]), ("BGR", [0, 1, 2])])
def test_the_colour_format_orders_the_channels(form: str, channels: list[int]) -> None:
    image = picture(32, 32)
    prepared, _ = images.prepare(image, contract([32, 32], format=form))
    assert np.array_equal(prepared, image[:, :, channels])


def test_grayscale_has_one_channel_padded_with_its_colour() -> None:
    prepared, at = images.prepare(picture(32, 64), contract([64, 64], format="Grayscale", color=[7]))
    assert prepared.shape == (64, 64, 1)
    assert set(prepared[: at.top].ravel()) == {7}


def test_padding_is_needed_where_the_method_pads() -> None:
    with pytest.raises(ValueError, match=r"padding\.enabled"):
        images.place((10, 20), contract([32, 32], enabled=False))


def test_normalising_follows_the_formula_for_each_channel() -> None:
    asked = contract([4, 6])
    asked["preprocessing"]["normalize"].update(mean=[10, 20, 30.5], std=[2, 4, 58.4])
    prepared = picture(4, 6)
    planes = images.normalise(prepared, asked)
    expected = (prepared.astype(np.float64) - [10, 20, 30.5]) / [2, 4, 58.4]
    assert planes.dtype == np.float32
    assert planes.shape == (1, 3, 4, 6)
    assert np.allclose(planes[0], expected.transpose(2, 0, 1), rtol=1e-6, atol=1e-6)


def test_normalising_leaves_values_alone_where_it_is_off() -> None:
    asked = contract([4, 4])
    asked["preprocessing"]["normalize"]["enabled"] = False
    prepared = picture(4, 4)
    assert np.array_equal(images.normalise(prepared, asked)[0], prepared.transpose(2, 0, 1))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
def test_an_image_is_read_as_opencv_reads_it(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ümlaut{suffix}"
    path.write_bytes(cv2.imencode(suffix, picture(40, 50))[1].tobytes())
    assert np.array_equal(images.read(path), cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR))


@pytest.mark.parametrize(("suffix", "said"), [(".jpg", "end marker"), (".png", "end chunk")])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_refused_although_opencv_may_decode_it(
    tmp_path: Path, suffix: str, said: str, share: float
) -> None:
    path = tmp_path / f"cut{suffix}"
    whole = cv2.imencode(suffix, picture(80, 80))[1].tobytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=said):
        images.read(path)


def test_a_thumbnail_inside_a_truncated_jpeg_does_not_make_it_whole() -> None:
    inner = cv2.imencode(".jpg", picture(8, 8))[1].tobytes()
    whole = cv2.imencode(".jpg", picture(80, 80))[1].tobytes()
    segment = b"\xff\xe1" + (len(inner) + 2).to_bytes(2, "big") + inner
    with_thumbnail = whole[:2] + segment + whole[2:]
    assert images.damage(with_thumbnail) == ""
    assert "end marker" in images.damage(with_thumbnail[:-200])


def test_bytes_behind_the_end_of_a_jpeg_do_no_harm() -> None:
    assert images.damage(cv2.imencode(".jpg", picture(20, 20))[1].tobytes() + b"\x00trailer") == ""


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"not an image"):
        path = tmp_path / "a.jpg"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"empty|OpenCV"):
            images.read(path)
    with pytest.raises(OSError, match="No such file"):
        images.read(tmp_path / "absent.jpg")


def test_the_exif_orientation_turns_the_image(tmp_path: Path) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, :30] = 255
    whole = cv2.imencode(".jpg", image)[1].tobytes()
    # A big-endian TIFF header with one entry: tag 0x0112 (orientation), type SHORT, value 6 (turn right).
    tiff = (
        b"MM\x00\x2a\x00\x00\x00\x08" + b"\x00\x01" + b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00" + b"\x00" * 4
    )
    exif = b"Exif\x00\x00" + tiff
    path = tmp_path / "turned.jpg"
    path.write_bytes(whole[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + whole[2:])
    turned = images.read(path)
    assert turned.shape == (60, 40, 3)
    assert turned[5, 20, 0] > 200
    assert turned[55, 20, 0] < 50


@pytest.mark.parametrize("way", RESIZE["interpolation"]["enum"])
@pytest.mark.parametrize("method", RESIZE["method"]["enum"])
def test_every_interpolation_of_the_contract_fills_the_input(method: str, way: str) -> None:
    asked = contract([24, 40], method=method)
    asked["preprocessing"]["resize"]["interpolation"] = way
    for rows, columns in ((31, 77), (5, 3), (24, 40)):
        flat = np.full((rows, columns, 3), 50, np.uint8)
        prepared, at = images.prepare(flat, asked)
        assert prepared.shape == (24, 40, 3)
        inside = prepared[max(at.top, 0) :, max(at.left, 0) :][: at.height, : at.width]
        assert (inside == 50).all()


def test_a_line_is_as_high_as_the_input_and_squeezed_where_it_would_be_wider() -> None:
    asked = contract([32, 128], method="resize_pad", position="top_left")
    for (rows, columns), width in (((16, 33), 66), ((48, 100), 67), ((20, 80), 128), ((10, 300), 128), ((64, 1), 1)):
        at = images.place((rows, columns), asked)
        assert (at.left, at.top, at.width, at.height) == (0, 0, width, 32)
        assert at.scale_x == pytest.approx(width / columns)
    asked["preprocessing"]["padding"]["position"] = "bottom_right"
    assert images.place((16, 33), asked).left == 62


def test_the_shorter_side_has_to_cover_the_crop() -> None:
    asked = contract([224, 224], method="center_crop")
    asked["preprocessing"]["resize"]["shorter_side"] = 256
    at = images.place((300, 401), asked)
    assert (at.width, at.height, at.left, at.top) == (342, 256, -59, -16)
    asked["preprocessing"]["resize"]["shorter_side"] = 200
    with pytest.raises(ValueError, match="shorter_side is 200, which does not cover"):
        images.place((300, 401), asked)


def test_a_padding_colour_that_no_pixel_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match="pixels are whole numbers"):
        images.place((8, 8), contract([32, 32], color=[127.5] * 3))


def test_transparency_is_the_fourth_channel_and_255_where_there_is_none(tmp_path: Path) -> None:
    values = RANDOM.integers(0, 256, (20, 30, 4), np.uint8)
    for name, image in (("clear.png", values), ("opaque.png", values[:, :, :3])):
        cv2.imwrite(str(tmp_path / name), image)
        read = images.read(tmp_path / name, "RGBA")
        prepared, _ = images.prepare(read, contract([20, 30], method="direct", format="RGBA"))
        assert np.array_equal(prepared[:, :, :3], values[:, :, 2::-1])
        assert np.array_equal(prepared[:, :, 3], values[:, :, 3] if name == "clear.png" else np.full((20, 30), 255))
        assert images.read(tmp_path / name).shape == (20, 30, 3)
