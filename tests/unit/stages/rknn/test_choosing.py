"""Which images calibrate INT8: none twice, none that is measured on, the unlike before the alike."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mcwbuild.contract.errors import InputError
from stages.rknn import choosing
from stages.rknn.choosing import Candidates, Choice


def scene(seed: int, brightness: float = 1.0) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    grown = cv2.resize(coarse, (80, 60), interpolation=cv2.INTER_CUBIC)
    return np.clip(grown * brightness, 0, 255).astype(np.uint8)


def save(path: Path, image: NDArray[np.uint8]) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


def choose(images: list[Path], **more: Any) -> Choice:
    given: dict[str, Any] = {"classes": (frozenset[str](),) * len(images), **more}
    source = given.pop("source", "training split")
    return choosing.choose(Candidates(tuple(images), Path("data.yaml"), source, len(images), **given), 2)


def test_no_bytes_come_twice_and_none_that_are_held_out_under_another_name(tmp_path: Path) -> None:
    images = [save(tmp_path / f"{number}.png", scene(number)) for number in range(6)]
    copy, held = tmp_path / "copy.png", tmp_path / "held.png"
    shutil.copyfile(images[1], copy)
    shutil.copyfile(images[2], held)
    other = save(tmp_path / "other.png", scene(99))
    made = choose([*images, copy], held_out=(held, other, tmp_path / "gone.png"))
    assert sorted(path.name for path in made.images) == ["0.png", "1.png", "3.png", "4.png", "5.png"]
    assert made.leaked == ("2.png",)
    assert made.duplicates == ("copy.png",)


def test_a_users_list_keeps_what_is_measured_on_and_says_so(tmp_path: Path) -> None:
    images = [save(tmp_path / f"{number}.png", scene(number)) for number in (2, 1)]
    made = choose(images, held_out=(images[0],), source="list", lines=(1, 2), whole=True)
    assert made.images == tuple(images)
    assert made.leaked == ("2.png",)


def test_near_copies_stand_last(tmp_path: Path) -> None:
    frames = []
    for number in range(5):
        frame = scene(7)
        frame[number : number + 2, :2] = 90  # what moves in a video is small
        frames.append(save(tmp_path / f"frame{number}.png", frame))
    others = [save(tmp_path / f"other{number}.png", scene(20 + number)) for number in range(3)]
    made = choose([*frames, *others])
    assert made.alike == 4
    assert {path.name for path in made.images[:4]} > {path.name for path in others}
    assert all(path.name.startswith("frame") for path in made.images[4:])


def test_a_scene_in_another_light_is_no_copy(tmp_path: Path) -> None:
    made = choose([save(tmp_path / f"{number}.png", scene(7, 0.5 * number)) for number in (1, 2)])
    assert made.alike == 0


def test_the_dark_and_the_bright_come_among_the_first(tmp_path: Path) -> None:
    usual = [save(tmp_path / f"usual{number}.png", scene(number)) for number in range(30)]
    dark, bright = save(tmp_path / "dark.png", scene(50, 0.1)), save(tmp_path / "bright.png", scene(51, 6.0))
    first = choose([*usual, dark, bright]).images[:3]
    assert {dark, bright} <= set(first)


def test_the_choice_is_the_same_every_time_and_every_class_is_among_the_first(tmp_path: Path) -> None:
    images = [save(tmp_path / f"{number}.png", scene(number)) for number in range(12)]
    classes = (*(frozenset("a") for _ in range(10)), frozenset("b"), frozenset[str]())
    made = choose(images, classes=classes)
    assert made == choose(images, classes=classes)
    assert {images[10], images[11]} <= set(made.images[:3])


def test_what_cannot_be_read_is_left_out_of_a_split_and_told_of_a_list(tmp_path: Path) -> None:
    good = save(tmp_path / "good.png", scene(1))
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.jpg").write_bytes(b"")
    images = [tmp_path / "text.png", good, tmp_path / "empty.jpg"]
    made = choose(images)
    assert made.images == (good,)
    assert made.damaged == ("text.png", "empty.jpg")
    with pytest.raises(InputError) as caught:
        choose(images, source="list", lines=(2, 3, 7), whole=True)
    assert [(problem.file, problem.line) for problem in caught.value.problems] == [("data.yaml", 2), ("data.yaml", 7)]


def test_a_split_that_is_all_held_out_leaves_nothing(tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", scene(1))
    with pytest.raises(InputError, match="1 of its images are in the val or test split"):
        choose([image], held_out=(image,))


def test_large_files_are_decoded_small_and_look_the_same(tmp_path: Path) -> None:
    large = cv2.resize(scene(3), (2400, 1800), interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).normal(0, 12, large.shape)
    file = tmp_path / "large.jpg"
    assert cv2.imwrite(str(file), np.clip(large + noise, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert file.stat().st_size > 1 << 20
    seen, small = choosing.look(file), choosing.look(save(tmp_path / "small.png", scene(3)))
    assert isinstance(seen, choosing.Seen)
    assert isinstance(small, choosing.Seen)
    assert np.count_nonzero(seen.bits != small.bits) <= 4
    assert np.abs(seen.appearance - small.appearance).max() < 0.1
