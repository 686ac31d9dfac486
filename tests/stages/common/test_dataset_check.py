"""A dataset before a training: all of its faults in one report, each with its file, label lines with their number."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mcwbuild.contract import dataset, fingerprints
from mcwbuild.contract.errors import InputError
from stages.common.dataset_check import SHOWN, Survey, doubts, survey

NAMES = ("first", "second")


def picture(path: Path, seed: int, shape: tuple[int, int] = (24, 40)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 255, (*shape, 3), np.uint8))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three images to learn from and two to measure on, one object each, of class 0, 1, 0, ..."""
    for number in range(5):
        split = "train" if number < 3 else "val"
        picture(tmp_path / "images" / split / f"{number}.png", number)
        label = tmp_path / "labels" / split / f"{number}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(f"{number % 2} 0.5 0.5 0.2 0.2\n")
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [first, second]\n")
    return tmp_path / "data.yaml"


def look(data: Path) -> Survey:
    return survey(data, "object_detection", 2, lambda done, total: None)


def faults(data: Path) -> list[str]:
    """What is told of the dataset, files without their folder's path."""
    with pytest.raises(InputError) as caught:
        look(data)
    return [str(problem).replace(f"{data.parent}/", "") for problem in caught.value.problems]


def test_a_good_dataset_is_counted(data: Path) -> None:
    found = look(data)
    assert found.dataset.names == NAMES
    assert {name: (split.images, split.background, split.objects) for name, split in found.splits.items()} == {
        "train": (3, 0, (2, 1)),
        "val": (2, 0, (1, 1)),
    }
    assert found.warnings == {}
    read = dataset.read(data)
    assert found.splits["val"].sha256 == fingerprints.fingerprint(read.splits["val"], read.root)


def test_progress_tells_every_image(data: Path) -> None:
    told: list[tuple[int, int]] = []
    survey(data, "object_detection", 2, lambda done, total: told.append((done, total)))
    assert told == [(number, 5) for number in range(1, 6)]


def test_all_faults_come_in_one_report(data: Path) -> None:
    folder = data.parent
    data.write_text("train: images/train\nval: images/val\nnames: [first, second, first]\nnc: 4\n")
    whole = (folder / "images/train/0.png").read_bytes()
    (folder / "images/train/0.png").write_bytes(whole[: len(whole) // 2])
    (folder / "images/train/text.jpg").write_text("not an image")
    picture(folder / "images/train/tiny.png", 9, (8, 8))
    (folder / "labels/train/1.txt").write_text("0 0.5 0.5 0.2 0.2\n\n7 0.5 0.5 0.2 0.2\n0 0.5 1.5 0.2 0.2\n")
    (folder / "labels/train/2.txt").write_text("0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.9 0.1 0.9 0.9\n")
    (folder / "labels/val/3.txt").write_text("")
    (folder / "labels/val/gone.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    shutil.copyfile(folder / "images/train/1.png", folder / "images/val/copy.png")
    assert faults(data) == [
        "data.yaml $.nc: nc is 4 but there are 3 names",
        'data.yaml $.names: the class name "first" is there 2 times',
        "images/train/0.png: truncated PNG: it has no end chunk",
        "labels/train/1.txt:3: class 7 is not one of 0 to 2",
        "labels/train/1.txt:4: a coordinate is not between 0 and 1",
        "labels/train/2.txt: boxes and polygons are mixed in one file; Ultralytics leaves it out",
        "images/train/text.jpg: no image that OpenCV can read",
        "images/train/tiny.png: smaller than 10 pixels",
        "images/train/text.jpg: warning: there is no label file: background",
        "images/train/tiny.png: warning: there is no label file: background",
        "images/val/3.png: warning: the label file is empty: background",
        "images/val/copy.png: warning: there is no label file: background",
        "labels/val/gone.txt: warning: there is no image for this label file",
        "images/val/copy.png: warning: the same image is in train: images/train/1.png",
    ]


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_missing_split_is_told(data: Path, split: str) -> None:
    text = data.read_text().splitlines()
    data.write_text("\n".join(line for line in text if not line.startswith(split)))
    assert faults(data) == [f"data.yaml: there is no {split} split (add `{split}: <images>`)"]
    data.write_text("\n".join([f"{split}: nowhere", *(line for line in text if not line.startswith(split))]))
    (told,) = faults(data)
    assert told.startswith(f"data.yaml $.{split}: nowhere is not there")


def test_nothing_to_learn_is_a_fault(data: Path) -> None:
    for label in (data.parent / "labels/train").iterdir():
        label.write_text("\n")
    assert faults(data)[0].endswith("there is nothing to learn")


def test_doubts_do_not_stop_a_training_and_are_told_by_kind(data: Path) -> None:
    folder = data.parent
    for number in range(30):
        picture(folder / "images/train" / f"b{number:02}.png", 100 + number)
    (folder / "labels/train/classes.txt").write_text("first\nsecond\n")
    shutil.copyfile(folder / "images/train/1.png", folder / "images/val/copy.png")
    (folder / "labels/val/copy.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    background, twice = doubts(look(data).warnings)
    assert background.startswith("images without objects, taken as background: 30, for example ")
    assert "b00.png" in background
    assert twice.startswith("images of val that are in train too: val measures too well: 1, ")
    (folder / "labels/train/0.txt").write_text("9 0.5 0.5 0.2 0.2\n")
    told = faults(data)
    assert len(told) == 1 + SHOWN + 1 + 1
    assert told[SHOWN + 1].startswith("warning: 10 more of this kind")


def test_labels_of_a_test_split_are_not_lonely(data: Path) -> None:
    folder = data.parent
    for number in range(2):
        picture(folder / "images/train" / f"t{number}.png", 50 + number)
        (folder / "labels/train" / f"t{number}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (folder / "train.txt").write_text("".join(f"./images/train/{n}.png\n" for n in range(3)))
    (folder / "test.txt").write_text("".join(f"./images/train/t{n}.png\n" for n in range(2)))
    data.write_text("train: train.txt\nval: images/val\ntest: test.txt\nnames: [first, second]\n")
    assert look(data).warnings == {}


def test_a_dataset_of_texts_is_none_to_train_on(tmp_path: Path) -> None:
    for split in ("train", "val"):
        cv2.imwrite(str(tmp_path / f"{split}.png"), np.zeros((20, 20, 3), np.uint8))
        (tmp_path / f"{split}.txt").write_text(f"{split}.png\tword\n")
    with pytest.raises(InputError) as caught:
        survey(tmp_path, "object_detection", 1, lambda done, total: None)
    assert any("images with texts" in str(problem) for problem in caught.value.problems)
