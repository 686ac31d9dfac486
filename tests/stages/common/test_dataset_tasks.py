"""Datasets of every task before a training: what is wrong is told with file and line, and the wrong task by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mcwbuild.contract.errors import InputError
from stages.common.dataset_check import Survey, survey

BOX = "0 0.5 0.5 0.2 0.2"
OUTLINE = "0 0.1 0.1 0.5 0.1 0.5 0.5 0.3 0.7 0.1 0.5"
SQUARE = "0 0.2 0.25 0.6 0.25 0.6 0.75 0.2 0.75"
POSE = f"{BOX} 0.4 0.4 2 0.6 0.6 0"
DESCRIBED = "kpt_shape: [2, 3]\nflip_idx: [1, 0]\n"


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 255, (40, 80, 3), np.uint8))


def write(folder: Path, line: str, more: str = "") -> Path:
    """Two images to learn from and one to measure on, each with that line, and a data.yaml with `more`."""
    for number, split in enumerate(("train", "train", "val")):
        picture(folder / "images" / split / f"{number}.png", number)
        label = folder / "labels" / split / f"{number}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(f"{line}\n")
    (folder / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: [only]\n{more}")
    return folder / "data.yaml"


def look(data: Path, task: str) -> Survey:
    return survey(data, task, 2, lambda done, total: None)


def faults(data: Path, task: str) -> list[str]:
    """What is told of the dataset, files without their folder's path."""
    with pytest.raises(InputError) as caught:
        look(data, task)
    folder = data if data.is_dir() else data.parent
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("task", "line", "more"),
    [
        ("object_detection", BOX, ""),
        ("object_detection", OUTLINE, ""),
        ("segmentation", OUTLINE, ""),
        ("segmentation", SQUARE, ""),
        ("oriented_detection", SQUARE, ""),
        ("pose", POSE, DESCRIBED),
        ("pose", f"{BOX} 0.4 0.4 0.6 0.6", "kpt_shape: [2, 2]\nflip_idx: [1, 0]\n"),
    ],
)
def test_a_good_dataset_of_each_task_has_no_faults(tmp_path: Path, task: str, line: str, more: str) -> None:
    found = look(write(tmp_path, line, more), task)
    assert found.splits["train"].objects == (2,)
    assert found.warnings == {}


@pytest.mark.parametrize(
    ("task", "line", "more", "told"),
    [
        ("segmentation", BOX, "", "Its label files are those of object detection"),
        ("oriented_detection", BOX, "", "Its label files are those of object detection"),
        ("pose", BOX, "", "Its label files are those of object detection"),
        ("oriented_detection", OUTLINE, "", "Its label files are those of segmentation"),
        ("segmentation", POSE, DESCRIBED, "Its label files are those of pose"),
        ("object_detection", POSE, DESCRIBED, "Its label files are those of pose"),
        ("classification", BOX, "", "this is a data.yaml with label files"),
    ],
)
def test_a_dataset_of_another_task_is_refused_in_one_sentence(
    tmp_path: Path, task: str, line: str, more: str, told: str
) -> None:
    with pytest.raises(InputError, match=told) as caught:
        look(write(tmp_path, line, more), task)
    assert len(caught.value.problems) <= 1


def test_outlines_are_told_line_by_line(tmp_path: Path) -> None:
    data = write(tmp_path, OUTLINE)
    lines = (OUTLINE, BOX, "0 0.1 0.1 0.2", "0 0.1 0.1 0.2 0.2 0.3", "1 0.1 0.1 0.2 0.2 0.3 0.1", OUTLINE + " 0.2 1.4")
    (tmp_path / "labels/train/0.txt").write_text("\n".join(lines))
    assert faults(data, "segmentation") == [
        "labels/train/0.txt:2: 5 values; an outline has an odd number from 7, class and points",
        "labels/train/0.txt:3: 4 values; an outline has an odd number from 7, class and points",
        "labels/train/0.txt:4: 6 values; an outline has an odd number from 7, class and points",
        "labels/train/0.txt:5: class 1 is not one of 0 to 0",
        "labels/train/0.txt:6: a coordinate is not between 0 and 1",
    ]


def test_corners_that_go_around_nothing_are_faults_and_other_shapes_are_doubtful(tmp_path: Path) -> None:
    data = write(tmp_path, SQUARE)
    turned = "0 0.5 0.2 0.7 0.6 0.5 1.0 0.3 0.6"  # a square of the picture's pixels, though not of its shares
    crossed = "0 0.2 0.25 0.6 0.75 0.6 0.25 0.2 0.75"
    flat = "0 0.2 0.25 0.4 0.25 0.6 0.25 0.8 0.25"
    kite = "0 0.2 0.25 0.6 0.25 0.5 0.5 0.2 0.75"
    (tmp_path / "labels/train/0.txt").write_text(f"{turned}\n{SQUARE}\n")
    (tmp_path / "labels/train/1.txt").write_text(f"{SQUARE}\n{kite}\n")
    (problems,) = look(data, "oriented_detection").warnings.values()
    assert [(Path(str(problem.file)).name, problem.line) for problem in problems] == [("1.txt", 2)]
    (tmp_path / "labels/train/0.txt").write_text(f"{SQUARE}\n{crossed}\n{flat}\n")
    assert faults(data, "oriented_detection")[:2] == [
        "labels/train/0.txt:2: the four corners do not go around a box",
        "labels/train/0.txt:3: the four corners do not go around a box",
    ]
    (tmp_path / "labels/train/0.txt").write_text(f"{SQUARE}\n{OUTLINE}\n{BOX}\n")
    assert faults(data, "oriented_detection")[:2] == [
        "labels/train/0.txt:2: 11 values; four corners have 9, class and points",
        "labels/train/0.txt:3: 5 values; four corners have 9, class and points",
    ]


def test_keypoints_are_told_line_by_line(tmp_path: Path) -> None:
    data = write(tmp_path, POSE, DESCRIBED)
    lines = (POSE, f"{BOX} 0.4 0.4 2", f"{BOX} 0.4 0.4 3 0.6 0.6 0", f"{BOX} 0.4 0.4 -1 0.6 0.6 0", f"{POSE} 0.5 0.5 1")
    (tmp_path / "labels/train/1.txt").write_text("\n".join(lines))
    assert faults(data, "pose") == [
        "labels/train/1.txt:2: 8 values; class, box and 2 keypoints of 3 have 11",
        "labels/train/1.txt:3: a keypoint's visibility is not 0, 1 or 2",
        "labels/train/1.txt:4: a keypoint's visibility is not 0, 1 or 2",
        "labels/train/1.txt:5: 14 values; class, box and 2 keypoints of 3 have 11",
    ]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("", "data.yaml $.kpt_shape: kpt_shape is missing (for example kpt_shape: [17, 3], with visibilities)"),
        ("kpt_shape: 2\n", "data.yaml $.kpt_shape: kpt_shape is not [count, 2 or 3] (for example"),
        ("kpt_shape: [2, 4]\n", "data.yaml $.kpt_shape: kpt_shape is not [count, 2 or 3] (for example"),
        ("kpt_shape: [2, 3]\nflip_idx: [0]\n", "data.yaml $.flip_idx: flip_idx does not hold each of 0 to 1 once"),
        ("kpt_shape: [2, 3]\nflip_idx: [1, 1]\n", "data.yaml $.flip_idx: flip_idx does not hold each of 0 to 1 once"),
        ("kpt_shape: [2, 3]\nkpt_oks_sigmas: [1]\n", "data.yaml $.kpt_oks_sigmas: kpt_oks_sigmas are not 2 numbers"),
    ],
)
def test_keypoints_that_are_not_described_are_told(tmp_path: Path, more: str, told: str) -> None:
    assert faults(write(tmp_path, POSE, more), "pose")[0].startswith(told)


def test_a_mirror_that_is_none_is_told_and_a_missing_one_is_doubtful(tmp_path: Path) -> None:
    line = f"{BOX} 0.4 0.4 2 0.6 0.6 0 0.5 0.5 1"
    data = write(tmp_path, line, "kpt_shape: [3, 3]\nflip_idx: [1, 2, 0]\n")
    (told,) = faults(data, "pose")
    assert told == "data.yaml $.flip_idx: keypoint 0 becomes 1 in a mirror, and 1 becomes 2"
    data = write(tmp_path, line, "kpt_shape: [3, 3]\nkpt_oks_sigmas: [0.1, 0.1, 0.2]\n")
    mirrored, sigmas = look(data, "pose").warnings
    assert mirrored == "there is no flip_idx: no image is mirrored in the training"
    assert sigmas.startswith("kpt_oks_sigmas are of the training alone")


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A classification: two images of each of two classes to learn from, one of each to measure on."""
    for number in range(6):
        split, name = ("train" if number < 4 else "val"), ("cat", "dog")[number % 2]
        picture(tmp_path / split / name / f"{number}.png", number)
    return tmp_path


def test_a_good_classification_is_counted(folders: Path) -> None:
    found = look(folders, "classification")
    assert found.dataset.names == ("cat", "dog")
    assert {name: (split.images, split.objects) for name, split in found.splits.items()} == {
        "train": (4, (2, 2)),
        "val": (2, (1, 1)),
    }
    assert found.warnings == {}


def test_all_faults_of_a_classification_come_in_one_report(folders: Path) -> None:
    (folders / "train" / "bird").mkdir()
    (folders / "train" / "cat" / "notes.md").write_text("what the cats did")
    picture(folders / "train" / "lost.png", 10)
    picture(folders / "train" / "cat" / "dog" / "both.png", 11)
    picture(folders / "val" / "fish" / "f.png", 12)
    (folders / "val" / "dog" / "5.png").write_text("not an image")
    shutil.copyfile(folders / "train/cat/0.png", folders / "val/cat/copy.png")
    assert faults(folders, "classification") == [
        "train/bird: the class bird has no image to learn from",
        "val/fish: the class fish is in val and not in train (the classes are the folders of train)",
        "train/cat/dog/both.png: it lies in folders of two classes, cat and dog",
        "train/lost.png: it lies in no class's folder",
        "val/dog/5.png: no image that OpenCV can read",
        "val/cat/copy.png: warning: the same image is in train: train/cat/0.png",
        "val/bird: warning: the class has no image in val",
        "train/cat/notes.md: warning: it is no image that is read here",
    ]


def test_a_missing_split_of_a_classification_is_told(folders: Path) -> None:
    shutil.rmtree(folders / "val")
    assert faults(folders, "classification")[0].endswith("there is no val split (add val/<class>/*.jpg)")


def test_folders_of_classes_are_refused_for_another_task(folders: Path) -> None:
    with pytest.raises(InputError, match="this is folders of classes"):
        look(folders, "segmentation")
