"""Which images of a training split are looked at: every class, the same ones everywhere, not too many."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcwbuild.contract import calibration_pool, dataset
from mcwbuild.contract.calibration_pool import stratified
from mcwbuild.contract.dataset import Dataset


def write(root: Path, count: int, label: str = "0 0.5 0.5 0.1 0.1\n") -> Dataset:
    for kind in ("images", "labels"):
        (root / kind / "train").mkdir(parents=True)
    for number in range(count):
        (root / "images" / "train" / f"{number}.png").write_bytes(b"")
        (root / "labels" / "train" / f"{number}.txt").write_text(label)
    (root / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [a, b, c]\n")
    return dataset.read(root / "data.yaml")


def test_a_small_split_is_looked_at_whole(tmp_path: Path) -> None:
    found = write(tmp_path, 7)
    assert calibration_pool.pool(found, 7) == found.splits["train"]


def test_a_rare_class_and_background_are_among_a_few(tmp_path: Path) -> None:
    write(tmp_path, 200)
    labels = tmp_path / "labels" / "train"
    (labels / "150.txt").write_text("2 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1 0.1\n")
    (labels / "151.txt").unlink()
    found = dataset.read(tmp_path / "data.yaml")
    chosen = calibration_pool.pool(found, 6)
    assert len(set(chosen)) == 6
    assert {"150.png", "151.png"} <= {path.name for path in chosen}
    assert chosen == calibration_pool.pool(found, 6)


def test_the_choice_does_not_depend_on_where_the_dataset_lies(tmp_path: Path) -> None:
    one, other = (calibration_pool.pool(write(tmp_path / name, 60), 9) for name in ("here", "there"))
    assert [path.name for path in one] == [path.name for path in other]


def test_classes_are_those_of_labels_folders_and_texts(tmp_path: Path) -> None:
    found = write(tmp_path / "labels", 1, "2 0.5 0.5 0.1 0.1\n1 0 0 1 1\n\n")
    assert calibration_pool.classes_of(found, found.splits["train"]) == (frozenset("12"),)
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "folders" / split / name).mkdir(parents=True)
            (tmp_path / "folders" / split / name / "1.png").write_bytes(b"")
    found = dataset.read(tmp_path / "folders")
    assert set(calibration_pool.classes_of(found, found.splits["train"])) == {frozenset(("cat",)), frozenset(("dog",))}
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.png").write_bytes(b"")
    for split in ("train", "val"):
        (tmp_path / "texts" / f"{split}.txt").write_text("a.png\tabba\n")
    found = dataset.read(tmp_path / "texts")
    assert calibration_pool.classes_of(found, found.splits["train"]) == (frozenset("ab"),)


@given(st.lists(st.frozensets(st.sampled_from("abcd"), max_size=3), max_size=40))
def test_every_image_comes_once_whatever_the_classes(classes: list[frozenset[str]]) -> None:
    assert sorted(stratified(classes, lambda places: places[-1])) == list(range(len(classes)))


@pytest.mark.parametrize("beginning", [3, 6, 9])
def test_every_beginning_holds_all_classes_about_equally_often(beginning: int) -> None:
    classes = [frozenset("a")] * 50 + [frozenset("b")] * 10 + [frozenset("c")] * 5
    order = list(stratified(classes, lambda places: places[0]))[:beginning]
    assert set(Counter(next(iter(classes[place])) for place in order).values()) == {beginning // 3}
