"""A classification as folders, looked at before a training: train/CLASS/ and val/CLASS/, and what else lies there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mcwbuild.contract import dataset
from mcwbuild.contract.dataset import Dataset
from mcwbuild.contract.errors import Problem

_SPLITS = ("train", "val")


def class_of(image: Path, found: Dataset) -> tuple[int | None, str]:
    """The number of the image's class, which is the folder below its split's; or None, and why it has none."""
    split = next((place for place in _places(found) if image.is_relative_to(place)), None)
    folders = image.relative_to(split).parts[:-1] if split else ()
    if not folders:
        return None, "it lies in no class's folder"
    if folders[0] not in found.names:
        return None, ""  # told once of the folder
    other = next((name for name in reversed(folders[1:]) if name in found.names and name != folders[0]), None)
    if other is not None:
        return None, f"it lies in folders of two classes, {folders[0]} and {other}"
    return found.names.index(folders[0]), ""


def folder_problems(found: Dataset) -> Iterator[Problem]:
    """Classes that cannot be learned: those without an image to learn from, and those of val alone."""
    train, val = (dataset.folder_of(found.root, split) for split in _SPLITS)
    learned = _filled(found, train, "train")
    for name in found.names if train else ():
        if name not in learned:
            yield Problem(f"the class {name} has no image to learn from", f"{train}/{name}")
    for folder in sorted(val.iterdir()) if val else ():
        if folder.is_dir() and not folder.name.startswith(".") and folder.name not in found.names:
            hint = "the classes are the folders of train"
            yield Problem(f"the class {folder.name} is in val and not in train", str(folder), hint=hint)


def folder_doubts(found: Dataset) -> dict[str, list[Problem]]:
    """Classes that are not measured, and files that are no images."""
    place = dataset.folder_of(found.root, "val")
    measured = _filled(found, place, "val")
    unmeasured = [name for name in found.names if place and name not in measured]
    stray = [
        file
        for folder in _places(found)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not dataset.is_image(file) and not file.name.startswith(".")
    ]
    return {
        "classes without an image in val: they are not measured": [
            Problem("the class has no image in val", f"{place}/{name}") for name in unmeasured
        ],
        "files that are no images": [Problem("it is no image that is read here", str(file)) for file in stray],
    }


def _places(found: Dataset) -> list[Path]:
    return [place for split in _SPLITS if (place := dataset.folder_of(found.root, split)) is not None]


def _filled(found: Dataset, folder: Path | None, split: str) -> set[str]:
    """The names of the folders right below a split's that hold images."""
    return {image.relative_to(folder).parts[0] for image in found.splits.get(split, ())} if folder else set()
