"""Lists of images: a YOLO `data.yaml` read as Ultralytics reads it, or a text file with one image a line."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import yaml

from mcwbuild.contract import class_lists, look, transcripts
from mcwbuild.contract.bounds import LIST_BYTES
from mcwbuild.contract.documents import read_text
from mcwbuild.contract.errors import InputError, Problem
from mcwbuild.contract.marks import shown
from mcwbuild.contract.transcripts import Transcript

# What Ultralytics takes as images (ultralytics/data/utils.py, IMG_FORMATS), less the kinds that OpenCV cannot read.
IMAGE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".jp2", ".mpo", ".png", ".tif", ".tiff", ".webp"))
SPLITS = ("train", "val", "test")
KEYPOINTS = ("kpt_shape", "flip_idx", "kpt_oks_sigmas")  # what a data.yaml says of the keypoints of a pose
_FOLDERS = {"train": ("train",), "val": ("val", "validation", "valid"), "test": ("test",)}  # of a classification
Item = TypeVar("Item")
Listed: TypeAlias = "tuple[Path, int | None]"  # an image, and the line that names it; None where the list is a folder
_UNPRINTABLE = re.compile("[^\x09\x0a\x0d\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")


@dataclass(frozen=True)
class Dataset:
    """A labelled dataset: its `data.yaml`, its root folder, its class names, the images of each split.

    `places` are the folders and list files that the splits name. Of a classification `file` is the root folder,
    and the classes are folders: `by_folder` is true. `keypoints` are the entries of a pose, as they are written. Of
    text recognition `texts` has the line of each image of each split, in the images' order, and `names`, the
    characters, may be empty: only the contract has to know them.
    """

    file: Path
    root: Path
    names: tuple[str, ...]
    splits: Mapping[str, tuple[Path, ...]]
    places: tuple[Path, ...] = ()
    by_folder: bool = False
    keypoints: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, tuple[Transcript, ...]] = field(default_factory=dict)


class _Findings:
    """Problems in one file, collected so that all are told at once."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def add(self, message: str, path: str | None = None, hint: str | None = None, line: int | None = None) -> None:
        """Note a problem; reading goes on."""
        self.problems.append(Problem(message, str(self.file), line, None, path, hint))

    def raise_any(self, what: str) -> None:
        """Raises InputError with every problem noted, if there is one; `what` says what the file is not."""
        if self.problems:
            count = len(self.problems)
            found = f"{count} problem{'s' if count > 1 else ''} found."
            raise InputError(f"{self.file} {what}.", found, "Correct it.", kind="dataset", problems=self.problems)


def read(data_yaml: Path) -> Dataset:
    """The dataset that `data_yaml` describes, or that lies in it where it is a folder.

    A split whose images are not there counts as empty if it is `test`.

    As Ultralytics 8.4: YAML 1.1, `path` relative to the working folder or to the file, splits that are folders,
    lists of images, or lists of those; `names` as a list or by number, or `nc` alone.
    Raises InputError with every problem.
    """
    found, findings = _examine(data_yaml)
    findings.raise_any("is not a usable dataset")
    return found


def examine(data_yaml: Path) -> tuple[Dataset, list[Problem]]:
    """The dataset as far as it can be made out, and everything that `read` would raise.

    Raises InputError where the file cannot be read at all.
    """
    found, findings = _examine(data_yaml)
    return found, findings.problems


def text_lists(data: Path) -> tuple[Path, ...]:
    """The lists of a dataset of text recognition, none of any other. Raises InputError where `data` cannot be read."""
    written = {} if look.is_folder(data) else _load(data)
    lists = transcripts.lists_of(_root(written, data), written) if written else transcripts.lists_in(data)
    return tuple(place for those in lists.values() for place in those)


def _examine(data_yaml: Path) -> tuple[Dataset, _Findings]:
    findings = _Findings(data_yaml)
    if look.is_folder(data_yaml):
        lists = transcripts.lists_in(data_yaml)
        return _texts(data_yaml, data_yaml, (), lists, findings) if lists else _folders(data_yaml, findings)
    data = _load(data_yaml)
    root = _root(data, data_yaml)
    lists = transcripts.lists_of(root, data)
    names = () if lists and "names" not in data else class_lists.names_in(data, findings.add)
    if lists:
        return _texts(data_yaml, root, names, lists, findings)
    if "val" not in data and "validation" in data:
        data["val"] = data["validation"]
    splits: dict[str, tuple[Path, ...]] = {}
    places: list[Path] = []
    for split in SPLITS:
        images = _split(root, data.get(split), split, findings, places)
        if images:
            splits[split] = images
    if not findings.problems and not splits:
        findings.add("there are no images: neither train nor val names any", "$", f"the root is {root}")
    keypoints = {key: data[key] for key in KEYPOINTS if key in data}
    return Dataset(data_yaml, root, names, splits, tuple(dict.fromkeys(places)), keypoints=keypoints), findings


def _folders(root: Path, findings: _Findings) -> tuple[Dataset, _Findings]:
    """A classification as Ultralytics reads it: train/<class>/, val/<class>/ and test/<class>/, classes by name."""
    places = {split: folder_of(root, split) for split in SPLITS}
    first = places["train"] or places["val"]
    if first is None:
        findings.add("it has neither a train nor a val folder", hint="train/<class>/*.jpg and val/<class>/*.jpg")
    names = tuple(sorted(folder.name for folder in first.iterdir() if folder.is_dir())) if first else ()
    splits: dict[str, tuple[Path, ...]] = {}
    for split, place in places.items():
        images = sorted(_images_below(place), key=str) if place is not None else []
        if place is not None and not images and split != "test":
            findings.add(f"{split} holds no images", hint="the folder holds none of the known kinds")
        if images:
            splits[split] = tuple(images)
    return Dataset(root, root, names, splits, (root,), by_folder=True), findings


def folder_of(root: Path, split: str) -> Path | None:
    """The folder of a classification's split, or None: `val` may be called `validation` or `valid`."""
    return next(filter(look.is_folder, (root / name for name in _FOLDERS[split])), None)


def _texts(
    file: Path, root: Path, names: tuple[str, ...], lists: Mapping[str, Sequence[Path]], findings: _Findings
) -> tuple[Dataset, _Findings]:
    """A dataset of text recognition: each split's lists, every line an image and what is written in it."""
    texts: dict[str, tuple[Transcript, ...]] = {}
    for split, places in lists.items():
        read = [transcripts.read(place, root, IMAGE_SUFFIXES) for place in places]
        findings.problems += [problem for _, problems in read for problem in problems]
        if lines := tuple({made.image: made for found, _ in read for made in found}.values()):
            texts[split] = lines
    splits = {split: tuple(made.image for made in lines) for split, lines in texts.items()}
    places = (root, *(place for those in lists.values() for place in those))
    return Dataset(file, root, names, splits, tuple(dict.fromkeys(places)), texts=texts), findings


def _load(path: Path) -> dict[str, Any]:
    """The mapping in a data.yaml, with PyYAML's own types: they are what the model was trained with."""
    text = read_text(path)
    try:
        data = yaml.safe_load(text if text.isprintable() else _UNPRINTABLE.sub("", text))
        if not isinstance(data, dict):
            raise InputError(
                f"{path} is not a dataset.",
                "It holds no mapping.",
                "Give a data.yaml with train, val and names.",
                kind="dataset",
                problems=[Problem("a data.yaml is a mapping with train, val and names", str(path))],
            )
        return data
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = (mark.line + 1, mark.column + 1) if mark else (None, None)
        reason = getattr(error, "problem", None) or type(error).__name__
        raise InputError(
            f"{path} is not a dataset.",
            f"It is not YAML: {reason}.",
            "Correct it.",
            kind="dataset",
            problems=[Problem(f"this is not YAML: {reason}", str(path), *place)],
        ) from error


def _root(data: Mapping[str, Any], data_yaml: Path) -> Path:
    """The folder that splits are relative to.

    Ultralytics takes `path` from the working folder, or from the file's folder where `path` is not written.
    Here the file's own folder comes second for a written `path` too, so that it works from anywhere.
    """
    folder = look.real(data_yaml).parent
    written = data.get("path")
    if not isinstance(written, str) or not written:
        return folder
    candidates = [look.real(Path(written)), look.real(folder / written)]
    entries = [data[split] for split in ("train", "val") if isinstance(data.get(split), str)]
    whole = [root for root in candidates if all(look.exists(root / entry) for entry in entries)]
    there = [root for root in candidates if look.exists(root)]
    return (whole or there or candidates)[0]


def _split(root: Path, written: Any, split: str, findings: _Findings, places: list[Path]) -> tuple[Path, ...]:
    """Every image of one split, sorted by path, each once; where they were found is added to `places`."""
    if not written:
        return ()
    entries = written if isinstance(written, list) else [written]
    if not all(isinstance(entry, str) for entry in entries):
        findings.add("a split is a folder, a list file, or a list of those", f"$.{split}")
        return ()
    images: list[Path] = []
    missing = False
    for entry in entries:
        place = look.real(root / entry)
        if not look.exists(place) and entry.startswith("../"):  # Roboflow's exports mean their own folder
            place = look.real(root / entry[3:])
        places += [place] if look.exists(place) else []
        if look.is_folder(place):
            images += _images_below(place)
        elif look.is_file(place):
            images += _listed(place)
        else:
            missing = True
            if split != "test":
                findings.add(f"{place} is not there", f"$.{split}", f"the root is {root}")
    if not images and not missing:
        findings.add(f"{split} holds no images", f"$.{split}", "the folder holds none of the known kinds")
    return tuple(sorted(dict.fromkeys(images), key=str))


def _images_below(folder: Path) -> Iterator[Path]:
    """As `glob` finds them: linked folders are followed, hidden files and folders are left out."""
    for found in glob.iglob(f"{glob.escape(str(folder))}/**/*.*", recursive=True):  # noqa: PTH207 (Path.rglob differs)
        path = Path(found)
        if is_image(path) and look.is_file(path):
            yield path


def _listed(file: Path) -> list[Path]:
    """The images of a split's text file: a line that begins with `./` is relative to the file."""
    if is_image(file):
        return [file]
    lines = read_text(file, LIST_BYTES.value).removeprefix("\ufeff").strip().splitlines()
    paths = [file.parent / line[2:] if line.startswith("./") else Path(line) for line in lines]
    images = [path.absolute() for path in paths if is_image(path)]
    if special := next((path for path in images if look.is_special(path)), None):
        raise InputError(
            f"{file} is not a usable list of images.",
            f"{shown(str(special))} is no regular file, and reading it might never end.",
            "Remove its line.",
            kind="dataset",
            problems=[Problem(f"{shown(str(special))} is no regular file", str(file))],
        )
    return images


def is_image(path: Path) -> bool:
    """Whether the file's suffix is one of a readable image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def label_of(image: Path) -> Path:
    """Where the image's labels are: the last `images` folder is called `labels`, the suffix is .txt."""
    before, found, after = str(image).rpartition(f"{os.sep}images{os.sep}")
    path = Path(f"{before}{os.sep}labels{os.sep}{after}") if found else image
    return path.with_suffix(".txt")


def folders(images: Iterable[Path]) -> tuple[Path, ...]:
    """Every folder that somebody who reads the images and their labels looks into; links are followed."""
    found: dict[Path, None] = {}
    for image in images:
        found |= dict.fromkeys((image.parent, label_of(image).parent))
        if image.is_symlink():
            found[look.real(image).parent] = None
    return tuple(folder for folder in found if look.is_folder(folder))


def pick(images: Sequence[Item], count: int) -> tuple[Item, ...]:
    """`count` of the images, evenly spread, always the same ones; all of them where there are no more."""
    total = len(images)
    if count >= total:
        return tuple(images)
    return tuple(images[index * total // count] for index in range(count))


def read_list(dataset_txt: Path) -> tuple[Path, ...]:
    """The images of a text file, one a line, relative to the file's folder; empty lines are left out.

    Of a folder they are all images in it, sorted by path, hidden ones left out.
    Raises InputError with every line that names no image file, and where there is none at all.
    """
    listed, findings = _examine_list(dataset_txt)
    findings.raise_any("is not a usable list of images")
    return tuple(image for image, _ in listed)


def examine_list(dataset_txt: Path) -> tuple[tuple[Listed, ...], list[Problem]]:
    """The images that `read_list` gives with their lines, and every problem that it would raise.

    Raises InputError where the list cannot be read at all.
    """
    listed, findings = _examine_list(dataset_txt)
    return listed, findings.problems


def _examine_list(dataset_txt: Path) -> tuple[tuple[Listed, ...], _Findings]:
    findings = _Findings(dataset_txt)
    if look.is_folder(dataset_txt):
        images = sorted(_images_below(dataset_txt.absolute()), key=str)
        if not images:
            findings.add("the folder holds no images", hint="give a folder of images, or a list of them")
        return tuple((image, None) for image in images), findings
    listed: list[Listed] = []
    folder = look.real(dataset_txt).parent
    for number, line in enumerate(read_text(dataset_txt, LIST_BYTES.value).removeprefix("\ufeff").splitlines(), 1):
        if not (written := line.strip()):
            continue
        path = folder / written
        if not is_image(path):
            findings.add(f"{shown(written)} is not an image", hint="one image a line", line=number)
        elif not look.is_file(path):
            findings.add(f"{shown(written)} is not there", hint=f"looked in {folder}", line=number)
        else:
            listed.append((path, number))
    if not listed and not findings.problems:
        findings.add("the list is empty", hint="write one image a line")
    return tuple(listed), findings
