"""Calibration images: what the toolkit will see is what the network sees, whatever the colour order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mcwbuild.contract.errors import InputError
from stages.common import images
from stages.rknn import calibration
from tests.support.board import contract


def picture(folder: Path, name: str, low: int = 40, high: int = 200, size: tuple[int, int] = (50, 70)) -> Path:
    path = folder / name
    assert cv2.imwrite(str(path), np.random.default_rng(1).integers(low, high, (*size, 3), np.uint8))
    return path


def seen_by_the_toolkit(file: Path) -> NDArray[np.uint8]:
    """The toolkit's own way (cv2, then red-green-blue; channels first from .npy), as uint8 [H, W, C]."""
    if file.suffix == ".npy":
        array: NDArray[np.uint8] = np.load(file)[0].transpose(1, 2, 0)
        return array
    image = cv2.imread(str(file))
    assert image is not None
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8)


def listed(made: calibration.Calibration) -> list[Path]:
    return [made.file.parent / line for line in made.file.read_text("ascii").splitlines()]


def progress(done: int, total: int) -> None:
    assert 0 < done <= total


@pytest.mark.parametrize(("colours", "channels"), [("RGB", 3), ("BGR", 3), ("Grayscale", 1), ("RGBA", 4)])
def test_the_toolkit_sees_the_prepared_image_in_the_contracts_channel_order(
    tmp_path: Path, colours: str, channels: int
) -> None:
    block: dict[str, Any] = contract(colours=colours)
    block["input"]["channels"] = channels
    block["preprocessing"]["padding"]["color"] = [114] * channels
    paths = [picture(tmp_path, f"{name}.png", 0, 256) for name in ("a", "b b", "\N{SNOWMAN}")]
    made = calibration.write(paths, block, tmp_path / "out", progress)
    files = listed(made)
    assert len(files) == 3
    assert all(" " not in file.name and file.name.isascii() for file in files)
    for path, file in zip(paths[1:], files[1:], strict=True):
        prepared, _ = images.prepare(images.read(path), block)
        assert np.array_equal(seen_by_the_toolkit(file), prepared)
    assert made.images == ("a.png", "b b.png", "\N{SNOWMAN}.png")


def test_a_set_without_black_and_white_gets_one_pixel_each(tmp_path: Path) -> None:
    made = calibration.write([picture(tmp_path, "a.png")], contract(), tmp_path / "out", progress)
    (file,) = listed(made)
    pixels = seen_by_the_toolkit(file)
    assert made.extremes == (0, 255)
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[0, 1].tolist() == [255, 255, 255]
    prepared, _ = images.prepare(images.read(tmp_path / "a.png"), contract())
    assert np.array_equal(pixels[1:], prepared[1:])


def test_a_set_that_reaches_both_is_left_as_it_is(tmp_path: Path) -> None:
    block = contract()
    block["preprocessing"]["padding"]["color"] = [0, 0, 0]
    image = np.full((64, 60, 3), 90, np.uint8)
    image[10:20, 10:20] = 255
    assert cv2.imwrite(str(tmp_path / "a.png"), image)
    made = calibration.write([tmp_path / "a.png"], block, tmp_path / "out", progress)
    assert made.extremes == ()
    prepared, _ = images.prepare(image, block)
    assert np.array_equal(seen_by_the_toolkit(listed(made)[0]), prepared)


def test_the_hash_is_over_pixels_and_order(tmp_path: Path) -> None:
    a, b = picture(tmp_path, "a.png"), picture(tmp_path, "b.png", 0, 256)
    hashes = [
        calibration.write(paths, contract(), tmp_path / f"out{number}", progress).sha256
        for number, paths in enumerate([[a, b], [a, b], [b, a], [a]])
    ]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_every_unreadable_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        calibration.write(
            [tmp_path / "empty.jpg", picture(tmp_path, "a.png"), tmp_path / "gone.jpg"],
            contract(),
            tmp_path / "out",
            progress,
        )
    assert [Path(problem.file or "").name for problem in caught.value.problems] == ["empty.jpg", "gone.jpg"]
