"""Lists of images."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcwbuild.contract import dataset
from mcwbuild.contract.errors import InputError

YAML = "path: .\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        "train/b.png",
        "train/a.JPG",
        "train/deep/c.jpeg",
        "train/.hidden.png",
        "train/notes.txt",
        "val/d.bmp",
    ):
        image = tmp_path / "images" / name
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(name.encode())
        label = dataset.label_of(image)
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("0 0.5 0.5 0.1 0.1\n")
    return tmp_path


def read(root: Path, text: str) -> dataset.Dataset:
    (root / "data.yaml").write_text(text)
    return dataset.read(root / "data.yaml")


def messages(root: Path, text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        read(root, text)
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def names_of(paths: tuple[Path, ...]) -> list[str]:
    return [path.name for path in paths]


def test_splits_are_images_below_their_folders_sorted(root: Path) -> None:
    found = read(root, YAML)
    assert found.root == root
    assert names_of(found.splits["train"]) == ["a.JPG", "b.png", "c.jpeg"]
    assert names_of(found.splits["val"]) == ["d.bmp"]
    assert found.names == ("cat", "dog")


def test_it_works_from_any_folder(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert names_of(read(root, YAML).splits["val"]) == ["d.bmp"]
    assert names_of(read(root, YAML.replace("path: .\n", "")).splits["val"]) == ["d.bmp"]
    assert names_of(read(root, YAML.replace("path: .", f"path: {root}")).splits["val"]) == ["d.bmp"]


def test_a_path_from_the_working_folder_works_as_in_ultralytics(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    (root / "configs").mkdir()
    (root / "configs" / "data.yaml").write_text(YAML.replace("path: .", f"path: {root.name}"))
    assert dataset.read(root / "configs" / "data.yaml").root == root


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("names: [cat, dog]", ("cat", "dog")),
        ("names: {1: dog, 0: cat}", ("cat", "dog")),
        ("names: {'0': cat, '1': dog}", ("cat", "dog")),
        ("nc: 2", ("class_0", "class_1")),
        ("nc: 2\nnames: [no, 1]", ("False", "1")),  # PyYAML's own types, as in the trained model
    ],
)
def test_names_are_read_as_ultralytics_reads_them(root: Path, names: str, expected: tuple[str, ...]) -> None:
    assert read(root, f"train: images/train\nval: images/val\n{names}\n").names == expected


def test_a_split_may_be_a_list_of_folders_and_of_list_files(root: Path) -> None:
    (root / "more.txt").write_text("./images/val/d.bmp\n" + str(root / "images/train/b.png") + "\nreadme.md\n")
    found = read(root, "train: [images/train/deep, more.txt]\nval: more.txt\nnames: [a]\n")
    assert names_of(found.splits["train"]) == ["b.png", "c.jpeg", "d.bmp"]
    assert names_of(found.splits["val"]) == ["b.png", "d.bmp"]


def test_exports_that_point_one_folder_too_high_are_understood(root: Path) -> None:
    assert names_of(read(root, "train: ../images/train\nval: ../images/val\nnames: [a]\n").splits["val"]) == ["d.bmp"]


def test_validation_is_another_word_for_val(root: Path) -> None:
    found = read(root, "train: images/train\nvalidation: images/val\nnames: [a]\n")
    assert names_of(found.splits["val"]) == ["d.bmp"]


def test_a_test_split_that_is_not_there_is_no_trouble(root: Path) -> None:
    assert set(read(root, YAML + "test: images/test\n").splits) == {"train", "val"}


def test_everything_that_is_wrong_is_told_at_once(root: Path) -> None:
    (root / "images" / "none").mkdir()
    found = messages(root, "train: images/gone\nval: images/none\nnames: [a, b]\nnc: 3\n")
    assert found == [
        "$.nc: nc is 3 but there are 2 names",
        f"$.train: {root / 'images/gone'} is not there",
        "$.val: val holds no images",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("names: {0: a, 2: b}\ntrain: images/train\n", "from 0 to 1"),
        ("names: {a: b}\ntrain: images/train\n", "class numbers"),
        ("names: cat\ntrain: images/train\n", "list the classes"),
        ("nc: many\ntrain: images/train\n", "whole number"),
        ("names: [a]\n", "there are no images"),
        ("names: [a]\ntrain: {a: b}\n", "a folder, a list file"),
        ("- a\n", "is a mapping"),
        ("a: [\n", "not YAML"),
        ("a: !!python/object:os.system x\n", "not YAML"),
        ("a: 2026-99-99\n", "not YAML"),
    ],
)
def test_what_is_no_dataset_is_refused(root: Path, text: str, told: str) -> None:
    assert any(told in message for message in messages(root, text))


def test_labels_lie_beside_the_last_images_folder() -> None:
    assert dataset.label_of(Path("/images/a/images/b/c.d.png")) == Path("/images/a/labels/b/c.d.txt")
    assert dataset.label_of(Path("/data/c.png")) == Path("/data/c.txt")


@given(st.integers(0, 60), st.integers(0, 70))
def test_picked_images_are_distinct_spread_and_the_same_every_time(total: int, count: int) -> None:
    images = tuple(Path(f"{index}.png") for index in range(total))
    picked = dataset.pick(images, count)
    places = [images.index(path) for path in picked]
    assert len(picked) == min(total, count)
    assert places == sorted(set(places))
    gaps = [b - a for a, b in pairwise(places)]
    assert not gaps or max(gaps) - min(gaps) <= 1
    assert not places or (places[0] == 0 and total - places[-1] <= -(-total // len(places)))
    assert picked == dataset.pick(images, count)


def test_a_list_of_images_is_relative_to_itself(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "list.txt").write_text("\ufeffimages/train/b.png\n\n  images/val/d.bmp  \n", encoding="utf-8")
    monkeypatch.chdir(root.parent)
    assert dataset.read_list(Path(root.name) / "list.txt") == (root / "images/train/b.png", root / "images/val/d.bmp")


def test_a_folder_stands_for_the_images_in_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    found = dataset.read_list(Path("images"))
    shown = (path for path in (root / "images").rglob("[!.]*") if dataset.is_image(path))
    assert found == tuple(sorted(shown, key=str))
    assert len(found) > 2
    (root / "empty").mkdir()
    with pytest.raises(InputError, match="not a usable list"):
        dataset.read_list(root / "empty")


def test_every_bad_line_of_a_list_is_told_with_its_number(root: Path) -> None:
    (root / "list.txt").write_text("images/train/b.png\nimages/gone.png\n# comment\nimages\n")
    with pytest.raises(InputError) as caught:
        dataset.read_list(root / "list.txt")
    assert [(problem.line, problem.message) for problem in caught.value.problems] == [
        (2, '"images/gone.png" is not there'),
        (3, '"# comment" is not an image'),
        (4, '"images" is not an image'),
    ]


def test_an_empty_or_missing_list_is_refused(root: Path) -> None:
    (root / "list.txt").write_text("\n\n")
    for name in ("list.txt", "nothing.txt"):
        with pytest.raises(InputError):
            dataset.read_list(root / name)


def test_a_fingerprint_follows_names_contents_and_labels_only(root: Path, tmp_path: Path) -> None:
    found = read(root, YAML)
    images = found.splits["train"]
    first = dataset.fingerprint(images, root)
    assert dataset.fingerprint(tuple(reversed(images)), root) == first
    moved = tmp_path / "moved"
    shutil.copytree(root, moved, ignore=shutil.ignore_patterns("moved"))
    assert dataset.fingerprint([moved / path.relative_to(root) for path in images], moved) == first
    seen = {first, dataset.fingerprint(images[1:], root)}
    dataset.label_of(images[0]).write_text("1 0.5 0.5 0.1 0.1\n")
    seen.add(dataset.fingerprint(images, root))
    dataset.label_of(images[0]).unlink()
    seen.add(dataset.fingerprint(images, root))
    images[0].write_bytes(b"other")
    seen.add(dataset.fingerprint(images, root))
    renamed = images[0].rename(images[0].with_name("z.JPG"))
    seen.add(dataset.fingerprint([renamed, *images[1:]], root))
    assert len(seen) == 6


def test_a_list_larger_than_a_document_is_read_whole(root: Path) -> None:
    line = "images/train/" + "./" * 40 + "a.JPG"
    (root / "list.txt").write_text(f"{line}\n" * 12_000)
    assert (root / "list.txt").stat().st_size > 1_100_000
    assert len(dataset.read_list(root / "list.txt")) == 12_000
