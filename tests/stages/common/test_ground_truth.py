"""Labels: what is read, and how everything that is wrong is told at once."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mcwbuild.contract.errors import InputError
from stages.common.ground_truth import read_labels


def dataset(folder: Path, **labels: str | None) -> list[Path]:
    """An image for each name; None is an image without a label file."""
    (folder / "images").mkdir(exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    images = []
    for name, text in labels.items():
        image = folder / "images" / f"{name}.png"
        cv2.imwrite(str(image), np.zeros((20, 40, 3), np.uint8))
        if text is not None:
            (folder / "labels" / f"{name}.txt").write_text(text)
        images.append(image)
    return images


def test_boxes_come_out_in_pixels_of_the_image(tmp_path: Path) -> None:
    (labels,) = read_labels(dataset(tmp_path, a="2 0.5 0.5 0.25 0.5\n0 0.25 0.5 0.5 1\n"), 3)
    assert labels.classes.tolist() == [2, 0]
    assert labels.in_pixels((20, 40)).tolist() == [[15, 5, 25, 15], [0, 0, 20, 20]]


def test_an_image_without_labels_is_background(tmp_path: Path) -> None:
    for labels in read_labels(dataset(tmp_path, a=None, b="", c="\n  \n"), 3):
        assert labels.in_pixels((20, 40)).shape == (0, 4)


def test_a_polygon_becomes_the_box_around_it(tmp_path: Path) -> None:
    (labels,) = read_labels(dataset(tmp_path, a="1 0.1 0.2 0.5 0.2 0.3 0.8"), 3)
    assert labels.boxes[0] == pytest.approx([0.3, 0.5, 0.4, 0.6])


def test_a_line_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    (labels,) = read_labels(dataset(tmp_path, a="1 .5 .5 .1 .1\n1 .5 .5 .1 .1\n"), 3)
    assert len(labels.classes) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 0.5 0.5 0.1", "4 values"),
        ("0 0.5 0.5 0.1 0.1 0.9", "6 values"),
        ("0 0.5 0.5 0.1 0.1 0.9 0.9 0.8", "8 values"),
        ("3 0.5 0.5 0.1 0.1", "class 3 is not one of 0 to 2"),
        ("-1 0.5 0.5 0.1 0.1", "class -1"),
        ("0.5 0.5 0.5 0.1 0.1", "class 0.5"),
        ("cat 0.5 0.5 0.1 0.1", "no number"),
        ("0 320 240 50 50", "between 0 and 1"),
        ("0 nan 0.5 0.1 0.1", "between 0 and 1"),
        ("nan 0.5 0.5 0.1 0.1", "class nan"),
        ("0 0.5 0.5 -0.005 0.1", "negative"),
    ],
)
def test_a_wrong_line_is_named_with_its_file_and_number(tmp_path: Path, line: str, said: str) -> None:
    images = dataset(tmp_path, a=f"0 0.5 0.5 0.1 0.1\n\n{line}\n")
    with pytest.raises(InputError) as caught:
        read_labels(images, 3)
    (problem,) = caught.value.problems
    assert problem.file == str(tmp_path / "labels" / "a.txt")
    assert problem.line == 3
    assert said in problem.message


def test_everything_that_is_wrong_comes_in_one_error(tmp_path: Path) -> None:
    images = dataset(tmp_path, a="9 .5 .5 .1 .1\nx", b=None, c="0 .5 .5 .1 .1", d="0 1")
    images[1].unlink()
    whole = images[2].read_bytes()
    images[2].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError) as caught:
        read_labels(images, 3)
    assert [(Path(str(p.file)).name, p.line) for p in caught.value.problems] == [
        ("a.txt", 1),
        ("a.txt", 2),
        ("b.png", None),
        ("c.png", None),
        ("d.txt", 1),
    ]
    assert "5 files or lines are wrong" in caught.value.what


def test_a_label_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    images = dataset(tmp_path, a="")
    (tmp_path / "labels" / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        read_labels(images, 3)
