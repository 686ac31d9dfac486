"""Datasets of text recognition: lists of images with their texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcwbuild.contract import dataset, transcripts
from mcwbuild.contract.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        (tmp_path / "crops" / f"{number}.png").parent.mkdir(exist_ok=True)
        (tmp_path / "crops" / f"{number}.png").write_bytes(b"image")
    return tmp_path


def write(place: Path, *lines: str) -> None:
    place.parent.mkdir(exist_ok=True)
    place.write_text("\n".join(lines), "utf-8")


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("val.txt", "crops/0.png"),
        ("rec_gt_val.txt", "crops/0.png"),
        ("val/labels.txt", "../crops/0.png"),
        ("val/gt.txt", "crops/0.png"),  # relative to the dataset, as lists in PaddleOCR's configurations are
    ],
)
def test_the_usual_names_of_lists_are_known(folder: Path, name: str, image: str) -> None:
    write(folder / name, f"\ufeff{image}\t one  word \r", "", f"{image}\t one  word")
    found = dataset.read(folder)
    assert found.splits.keys() == {"val"}
    (made,) = found.texts["val"]
    assert (made.text, made.line) == (" one  word", 1)
    assert made.image.read_bytes() == b"image"
    assert folder / name in found.places


def test_a_data_yaml_names_lists_of_texts_with_or_without_characters(folder: Path) -> None:
    write(folder / "a.txt", "crops/0.png\tx")
    write(folder / "b.txt", "crops/1.png\ty\u2028z")
    write(folder / "c.tsv", "crops/2.png\tq")
    (folder / "data.yaml").write_text("train: a.txt\nval: [b.txt, c.tsv]\n")
    found = dataset.read(folder / "data.yaml")
    assert [made.text for made in found.texts["val"]] == ["y\u2028z", "q"]
    assert [image.name for image in found.splits["train"]] == ["0.png"]
    assert found.names == ()
    (folder / "data.yaml").write_text("train: a.txt\nval: b.txt\nnames: [x, y]\n")
    assert dataset.read(folder / "data.yaml").names == ("x", "y")


def test_every_broken_line_is_told_with_its_place(folder: Path) -> None:
    write(
        folder / "train.txt",
        "crops/3.png no tab at the very beginning",
        "crops/0.png\tgood",
        "crops/9.png\tabsent",
        "crops/1.png no tab",
        "crops/2.png\t ",
        "crops/0.png\tanother",
        "notes.md\ttext",
    )
    write(folder / "val.txt", "crops/3.png\tgood", "crops/8.png\tabsent")
    with pytest.raises(InputError, match="7 problems found") as caught:
        dataset.read(folder)
    told = [str(problem).replace(str(folder) + "/", "") for problem in caught.value.problems]
    assert [line.partition(" (")[0] for line in told] == [
        "train.txt:1: there is no tab",
        'train.txt:3: "crops/9.png" is not there',
        "train.txt:4: there is no tab",
        'train.txt:5: "crops/2.png" has no text',
        'train.txt:6: "crops/0.png" has another text in line 2',
        'train.txt:7: "notes.md" is not an image',
        'val.txt:2: "crops/8.png" is not there',
    ]


def test_lists_of_images_alone_are_no_texts(folder: Path) -> None:
    write(folder / "train.txt", "crops/0.png", "crops/1.png")
    assert not transcripts.is_list(folder / "train.txt")
    assert transcripts.lists_in(folder) == {}


def test_a_list_larger_than_a_document_is_read_whole(folder: Path) -> None:
    write(folder / "val.txt", *(f"crops/{number % 4}.png\t{'w' * 60}" for number in range(20_000)))
    assert (folder / "val.txt").stat().st_size > 1_400_000
    assert len(dataset.read(folder).texts["val"]) == 4
