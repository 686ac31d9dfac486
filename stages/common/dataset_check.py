"""A dataset looked at before a training: every image read once, every label line checked, one report of all faults."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from mcwbuild.contract import dataset, fingerprints
from mcwbuild.contract.dataset import Dataset
from mcwbuild.contract.errors import InputError, Problem
from mcwbuild.contract.marks import shown, text_problems
from stages.common.dataset_folders import class_of, folder_doubts, folder_problems
from stages.common.dataset_tasks import (
    form_of,
    keypoint_doubts,
    keypoint_problems,
    require_task,
    turned_problems,
)
from stages.common.ground_truth import Form, examine_labels
from stages.common.image_set import match_task
from stages.common.images import damage

SPLITS = ("train", "val")  # both are needed: one to learn from, one to choose the best epoch by
SMALLEST = 10  # pixels of a side; Ultralytics leaves smaller images out (ultralytics/data/utils.py, check_image)
MAX_CLASSES, MAX_NAME = 1000, 200  # classes; characters of a name: what the documents hold
NAMED = 3  # files that stand for all of their kind where nothing is grave
SHOWN = 20  # warnings of one kind that are told one by one: a dataset may have thousands of images without objects
_REDUCED = 8  # a JPEG is decoded at an eighth of its size, in a third of the time
_NOTES = frozenset(("classes.txt", "labels.txt", "notes.txt", "readme.txt"))  # what labelling tools leave beside labels


@dataclass(frozen=True)
class Split:
    """One split in numbers: images, those without objects, objects by class; `sha256` over its images and labels."""

    images: int
    background: int
    objects: tuple[int, ...]
    sha256: str


@dataclass(frozen=True)
class Survey:
    """A dataset that can be trained on: what is in it, and what is doubtful about it, by kind."""

    dataset: Dataset
    splits: Mapping[str, Split]
    warnings: Mapping[str, tuple[Problem, ...]]


@dataclass(frozen=True)
class _Look:
    """One image looked at; `sha256` is empty where it cannot be read, `doubts` are lines of its labels."""

    image: Path
    sha256: str
    classes: tuple[int, ...]
    errors: tuple[Problem, ...]
    warning: str
    doubts: tuple[Problem, ...] = ()


def survey(data_yaml: Path, task: str, threads: int, progress: Callable[[int, int], None]) -> Survey:
    """Read the whole dataset, which is for the task `task`, the documents' word.

    Raises one InputError with every fault, warnings among them, where one is grave; or one that says which task the
    dataset is for, where it is another.
    """
    found, errors = dataset.examine(data_yaml)
    if found.texts:
        errors = [*errors, Problem("these are images with texts, and no network of Ultralytics reads", str(data_yaml))]
    else:
        match_task(found, task)
    if not found.by_folder and not found.texts:
        require_task(found, task)
    errors = [*errors, *_name_problems(found), *(folder_problems(found) if found.by_folder else ())]
    errors += keypoint_problems(found) if task == "pose" else ()
    for name in SPLITS:
        if name not in found.splits and not any(problem.path == f"$.{name}" for problem in errors):
            errors.append(Problem(f"there is no {name} split", str(data_yaml), hint=_hint(found, name)))
    looks = _look_at_all(found, task, threads, progress)
    errors += [problem for split in SPLITS for look in looks.get(split, ()) for problem in look.errors]
    if looks.get("train") and not any(look.classes for look in looks["train"]) and not errors:
        errors.append(Problem("no image of the train split has an object: there is nothing to learn", str(data_yaml)))
    warnings = _warnings(found, task, looks)
    if errors:
        raise _report(data_yaml, errors, warnings)
    splits = {name: _split(found, name, looks[name]) for name in SPLITS}
    of_task = found if task == "pose" else replace(found, keypoints={})  # else nobody has looked at them
    return Survey(of_task, splits, warnings)


def _hint(found: Dataset, split: str) -> str:
    return f"add {split}/<class>/*.jpg" if found.by_folder else f"add `{split}: <images>`"


def doubts(warnings: Mapping[str, Sequence[Problem]]) -> Iterator[str]:
    """A line for each kind of warning: how many there are, and the first of them."""
    for kind, problems in warnings.items():
        names = ", ".join(str(problem.file) for problem in problems[:NAMED])
        yield f"{kind}: {len(problems)}, for example {names}"


def _told(warnings: Mapping[str, Sequence[Problem]]) -> Iterator[Problem]:
    """The warnings as people are told them: the first ones of each kind, and how many more there are."""
    for kind, problems in warnings.items():
        yield from problems[:SHOWN]
        if len(problems) > SHOWN:
            yield Problem(f"{len(problems) - SHOWN} more of this kind: {kind}")


def _report(data_yaml: Path, errors: Sequence[Problem], warnings: Mapping[str, Sequence[Problem]]) -> InputError:
    doubtful = sum(map(len, warnings.values()))
    doubts = [replace(problem, message=f"warning: {problem.message}") for problem in _told(warnings)]
    count = "1 fault" if len(errors) == 1 else f"{len(errors)} faults"
    return InputError(
        f"The dataset {data_yaml} cannot be trained on.",
        f"{count} and {doubtful} warning{'' if doubtful == 1 else 's'} found.",
        "Mend or remove what is named; nothing was trained.",
        kind="dataset",
        problems=[*errors, *doubts],
    )


def _name_problems(found: Dataset) -> Iterator[Problem]:
    """Class names that the documents of the phases could not hold."""
    names = found.names
    if len(names) > MAX_CLASSES:
        yield Problem(f"{len(names)} classes, and 1 to {MAX_CLASSES} are supported", str(found.file), path="$.names")
    for name, times in Counter(names).items():
        if times > 1:
            yield Problem(f"the class name {shown(name)} is there {times} times", str(found.file), path="$.names")
        elif not 1 <= len(name) <= MAX_NAME or any(text_problems(name)):
            yield Problem(f"the class name {shown(name)} cannot be carried on", str(found.file), path="$.names")


def _look_at_all(
    found: Dataset, task: str, threads: int, progress: Callable[[int, int], None]
) -> dict[str, tuple[_Look, ...]]:
    form = form_of(found, task)
    images = [(split, image) for split in SPLITS for image in found.splits.get(split, ())]
    looks: dict[str, list[_Look]] = {}
    with ThreadPoolExecutor(threads) as pool:
        seen = pool.map(lambda item: _look(item[1], found, form), images)
        for done, ((split, _), look) in enumerate(zip(images, seen, strict=True), 1):
            looks.setdefault(split, []).append(look)
            progress(done, len(images))
    return {split: tuple(those) for split, those in looks.items()}


def _look(image: Path, found: Dataset, form: Form | None) -> _Look:
    try:
        data = image.read_bytes()
        reason = damage(data) or _undecodable(data)
    except OSError as error:
        data, reason = b"", error.strerror or type(error).__name__
    unreadable = [Problem(reason, str(image))] if reason else []
    digest = "" if reason else hashlib.sha256(data).hexdigest()
    if found.by_folder:
        label, wrong_place = class_of(image, found)
        errors = (*unreadable, *([Problem(wrong_place, str(image))] if wrong_place else []))
        return _Look(image, digest, () if label is None else (label,), errors, "")
    if form is None:  # nobody knows what its label file would have to hold
        return _Look(image, digest, (), tuple(unreadable), "")
    labels, wrong = examine_labels(image, len(found.names), form)
    file = dataset.label_of(image)
    if not wrong and form.kind == "box" and _mixed(file):
        wrong = [Problem("boxes and polygons are mixed in one file; Ultralytics leaves it out", str(file))]
    warning = ""
    if not wrong and not len(labels.classes):
        warning = "the label file is empty: background" if file.is_file() else "there is no label file: background"
    doubtful: list[Problem] = []
    if not wrong and not reason and form.kind == "corners":
        whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert whole is not None  # it was decoded at an eighth of its size
        wrong, doubtful = turned_problems(file, (whole.shape[0], whole.shape[1]))
    classes = tuple(int(label) for label in labels.classes)
    return _Look(image, digest, classes, (*unreadable, *wrong), warning, tuple(doubtful))


def _undecodable(data: bytes) -> str:
    """Why the bytes are no image to train on, decoded; empty where nothing is found."""
    packed = np.frombuffer(data, np.uint8)
    small = cv2.imdecode(packed, cv2.IMREAD_REDUCED_GRAYSCALE_8)
    if small is None:
        return "no image that OpenCV can read"
    if min(small.shape) * _REDUCED < SMALLEST + _REDUCED:
        whole = cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE)
        if whole is None or min(whole.shape) < SMALLEST:
            return f"smaller than {SMALLEST} pixels"
    return ""


def _mixed(file: Path) -> bool:
    try:
        counts = {len(line.split()) for line in file.read_text("utf-8-sig").splitlines() if line.strip()}
    except OSError:
        return False
    return 5 in counts and len(counts) > 1


def _warnings(found: Dataset, task: str, looks: Mapping[str, Sequence[_Look]]) -> dict[str, tuple[Problem, ...]]:
    """What is doubtful: background, labels of no image, images that are learned from and measured on."""
    every = [look for split in SPLITS for look in looks.get(split, ())]
    learned: dict[str, Path] = {look.sha256: look.image for look in looks.get("train", ()) if look.sha256}
    kinds = {
        "images without objects, taken as background": [
            Problem(look.warning, str(look.image)) for look in every if look.warning
        ],
        "label files without an image": [
            Problem("there is no image for this label file", str(file)) for file in _lonely_labels(found)
        ],
        "objects that are no rectangles: learned as the smallest ones around them": [
            problem for look in every for problem in look.doubts
        ],
        "images of val that are in train too: val measures too well": [
            Problem(f"the same image is in train: {learned[look.sha256]}", str(look.image))
            for look in looks.get("val", ())
            if look.sha256 in learned
        ],
        **(folder_doubts(found) if found.by_folder else keypoint_doubts(found) if task == "pose" else {}),
    }
    return {kind: tuple(problems) for kind, problems in kinds.items() if problems}


def _lonely_labels(found: Dataset) -> list[Path]:
    """Label files in the `labels` folders of the dataset's images that belong to none of them."""
    if found.by_folder:
        return []
    wanted = {dataset.label_of(image) for images in found.splits.values() for image in images}
    folders = {file.parent for file in wanted if "labels" in file.parts}
    there = (file for folder in sorted(folders) for file in sorted(folder.glob("*.txt")))
    return [file for file in there if file not in wanted and file.name.lower() not in _NOTES]


def _split(found: Dataset, name: str, looks: Sequence[_Look]) -> Split:
    objects = Counter(label for look in looks for label in look.classes)
    digest = fingerprints.fingerprint(found.splits[name], found.root, {look.image: look.sha256 for look in looks})
    counted = tuple(objects[number] for number in range(len(found.names)))
    return Split(len(looks), sum(not look.classes for look in looks), counted, digest)
