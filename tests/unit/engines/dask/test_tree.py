"""Inputs laid out elsewhere: what a list or a data.yaml names means the same there."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcwbuild.contract import dataset, disk
from mcwbuild.contract.errors import EnvironmentLacking
from mcwbuild.contract.phases import ONNX
from mcwbuild.engines import StageCall
from mcwbuild.engines.dask import tree
from mcwbuild.engines.dask.objects import COPY, Objects


def image(path: Path, label: bool = True) -> Path:
    """A file that is called as an image, and its label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(str(path).encode())
    if label:
        text = dataset.label_of(path)
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text("0 0.5 0.5 0.1 0.1\n")
    return path


def elsewhere(tmp_path: Path, flag: str, path: Path) -> tuple[Path, Path]:
    """The folder in which the call's input is laid out, and the input there."""
    call = StageCall(ONNX, ((flag, path),), (), tmp_path / "staging", tmp_path / "log", "n")
    objects = Objects(tmp_path / "shared")
    sha256 = tree.store(tree.of(call), objects)
    root = tmp_path / "scratch" / "in"
    root.parent.mkdir()
    tree.lay_out(sha256, Objects(tmp_path / "shared"), root, root.parent)
    return root, tree.below(root, str(path))


def same(root: Path, here: Path, there: Path) -> None:
    """Both datasets name the same images, one below `root`."""
    first, second = dataset.read(here), dataset.read(there)
    assert first.names == second.names
    for split, images in first.splits.items():
        wanted = sorted(disk.sha256_of(path) for path in images)
        assert sorted(disk.sha256_of(path) for path in second.splits[split]) == wanted
        assert all(root in path.parents for path in second.splits[split])
        labels = [dataset.label_of(path).is_file() for path in second.splits[split]]
        assert labels == [dataset.label_of(path).is_file() for path in images]


@pytest.mark.parametrize("written", ["relative", "absolute", "absolute root", "lists", "absolute lists", "roboflow"])
def test_a_data_yaml_names_the_same_images(tmp_path: Path, written: str) -> None:
    home = tmp_path / "set"
    images = {split: image(home / "images" / split / f"{split}.jpg") for split in ("train", "val")}
    image(home / "images" / "val" / "bare.jpg", label=False)
    (home / "train.txt").write_text(f"./images/train/train.jpg\n{images['train']}\n")
    (home / "val.txt").write_text(f"{images['val']}\n")
    entries = {
        "relative": "train: images/train\nval: images/val\n",
        "absolute": f"train: {home}/images/train\nval: [{home}/images/val]\n",
        "absolute root": f"path: {home}\ntrain: images/train\nval: images/val\n",
        "lists": "train: train.txt\nval: val.txt\n",
        "absolute lists": f"train: {home}/train.txt\nval: {home}/val.txt\n",
        "roboflow": "train: ../images/train\nval: ../images/val\n",
    }
    data = home / "data.yaml"
    data.write_text(entries[written] + "names: {0: ün, 1: 'no'}\n")
    root, there = elsewhere(tmp_path, "--data", data)
    same(root, data, there)
    if written in ("relative", "lists", "roboflow"):
        assert there.read_bytes() == data.read_bytes()


def test_links_lead_to_the_same_places(tmp_path: Path) -> None:
    stored = tmp_path / "stored" / "images"
    image(stored / "train" / "a.jpg")
    image(tmp_path / "blobs" / "b.jpg", label=False)
    home = tmp_path / "set"
    home.mkdir()
    (home / "images").symlink_to("../stored/images")
    (stored / "train" / "b.jpg").symlink_to(tmp_path / "blobs" / "b.jpg")
    (home / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [a]\n")
    root, there = elsewhere(tmp_path, "--data", home / "data.yaml")
    same(root, home / "data.yaml", there)
    assert (there.parent / "images").is_symlink()
    assert not [path for path in root.rglob("*") if path.is_symlink() and root not in path.resolve().parents]


def test_a_classification_keeps_its_empty_classes(tmp_path: Path) -> None:
    home = tmp_path / "set"
    for split in ("train", "val"):
        image(home / split / "cat" / "a.jpg", label=False)
        (home / split / "dog").mkdir()
    (home / "train" / "cat" / "stray.md").write_text("told as no image")
    root, there = elsewhere(tmp_path, "--data", home)
    same(root, home, there)
    assert (there / "train" / "cat" / "stray.md").is_file()


def test_texts_come_with_their_lists(tmp_path: Path) -> None:
    home = tmp_path / "set"
    for name in ("a", "b"):
        image(home / "crops" / f"{name}.png", label=False)
    (home / "train.txt").write_text(f"crops/a.png\tword\n{home}/crops/b.png\t two words\n")
    (home / "val.txt").write_text("crops/b.png\tword\n")
    _, there = elsewhere(tmp_path, "--data", home)
    found = dataset.read(there)
    assert [line.text for line in found.texts["train"]] == ["word", " two words"]


@pytest.mark.parametrize("absolute", [True, False])
def test_a_list_names_the_same_images(tmp_path: Path, absolute: bool) -> None:
    listed = [image(tmp_path / "set" / name) for name in ("a.jpg", "b c.jpg")]
    listing = tmp_path / "set" / "list.txt"
    listing.write_text("".join(f"{path if absolute else path.name}\n" for path in listed) + "\n")
    root, there = elsewhere(tmp_path, "--dataset", listing)
    found = dataset.read_list(there)
    assert [path.read_bytes() for path in found] == [path.read_bytes() for path in listed]
    assert all(root in path.parents for path in found)


def test_a_folder_comes_whole(tmp_path: Path) -> None:
    (tmp_path / "pack" / "deep").mkdir(parents=True)
    (tmp_path / "pack" / "deep" / "file").write_text("x")
    (tmp_path / "pack" / "empty").mkdir()
    _, there = elsewhere(tmp_path, "--pack", tmp_path / "pack")
    assert sorted(path.name for path in there.rglob("*")) == ["deep", "empty", "file"]


def test_an_object_that_is_another_one_is_noticed_and_mended(tmp_path: Path) -> None:
    model = tmp_path / "best.pt"
    model.write_bytes(b"weights")
    objects = Objects(tmp_path / "shared")
    made = tree.Tree()
    made.add(model)
    sha256 = tree.store(made, objects)
    objects.place(disk.sha256_of(model)).write_bytes(b"WEIGHTS")
    with pytest.raises(EnvironmentLacking) as raised:
        tree.lay_out(sha256, objects, tmp_path / "in", tmp_path)
    assert raised.value.kind == COPY
    disk.remove_tree(tmp_path / "in")
    (tmp_path / "tree.json").unlink()
    tree.lay_out(tree.store(made, objects, again=True), objects, tmp_path / "in", tmp_path)
    assert tree.below(tmp_path / "in", str(model)).read_bytes() == b"weights"


def test_what_was_not_used_for_two_weeks_is_swept(tmp_path: Path) -> None:
    import os

    objects = Objects(tmp_path / "shared")
    old, new = objects.put_bytes(b"old"), objects.put_bytes(b"new")
    os.utime(objects.place(old), (0, 0))
    objects.call("c").mkdir(parents=True)
    os.utime(objects.call("c"), (0, 0))
    objects.sweep()
    assert not objects.place(old).exists()
    assert objects.place(new).exists()
    assert not objects.call("c").exists()
