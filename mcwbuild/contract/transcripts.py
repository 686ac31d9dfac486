"""Datasets of text recognition: lists with an image and its text in each line, as PaddleOCR and others have them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcwbuild.contract import look
from mcwbuild.contract.bounds import LIST_BYTES
from mcwbuild.contract.documents import read_text
from mcwbuild.contract.errors import Problem
from mcwbuild.contract.marks import shown

SPLITS = ("train", "val", "test")
_FIRST = 1 << 16  # bytes that tell what a list is
# What the lists in a folder are called: PaddleX and PaddleOCR's guide; deep-text-recognition-benchmark and many more.
LISTS = ("{split}.txt", "rec_gt_{split}.txt", "{split}/labels.txt", "{split}/gt.txt")


@dataclass(frozen=True)
class Transcript:
    """One line of a list: an image and what is written in it."""

    image: Path
    text: str
    file: Path
    line: int

    def problem(self, message: str, hint: str | None = None) -> Problem:
        """A problem with this line."""
        return Problem(message, str(self.file), self.line, None, None, hint)


def list_of(folder: Path, split: str) -> Path | None:
    """The folder's list of that split, if there is one with texts."""
    places = (folder / name.format(split=split) for name in LISTS)
    return next((place for place in places if is_list(place)), None)


def is_list(file: Path) -> bool:
    """Whether the file is a list with texts: there is a tab in its first lines."""
    if file.suffix.lower() not in (".txt", ".tsv") or not look.is_file(file):
        return False
    with file.open("rb") as stream:
        return b"\t" in stream.read(_FIRST)


def lists_in(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The lists with texts of each split in a folder; empty where it is no dataset of text."""
    found = {split: list_of(folder, split) for split in SPLITS}
    return {split: (place,) for split, place in found.items() if place is not None}


def lists_of(root: Path, written: Mapping[str, Any]) -> dict[str, tuple[Path, ...]]:
    """The same of a `data.yaml` whose splits are written as a list file or several; empty where one is none."""
    found = {}
    for split in SPLITS:
        entries = written.get(split) or []
        entries = entries if isinstance(entries, list) else [entries]
        places = tuple(look.real(root / entry) for entry in entries if isinstance(entry, str))
        if places and any(is_list(place) for place in places):
            found[split] = places
    return found


def read(file: Path, root: Path, suffixes: frozenset[str]) -> tuple[tuple[Transcript, ...], list[Problem]]:
    """Every line of the list, and what is wrong with the others. Raises InputError where it cannot be read.

    An image is named relative to the list's folder, or to `root`. White space belongs to a text, save at the line's
    end; a line that comes again counts once.
    """
    found: dict[Path, Transcript] = {}
    problems: list[Problem] = []
    lines = read_text(file, LIST_BYTES.value).removeprefix("\ufeff").split("\n")  # U+2028 and the like belong to a text
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, tab, text = (part.rstrip() if part != "\t" else part for part in line.partition("\t"))
        image = next((place / name for place in (file.parent, root) if look.is_file(place / name)), file.parent / name)
        made = Transcript(image, text, file, number)
        wrong = _wrong(made, bool(tab), name, suffixes, found.get(image))
        if wrong:
            problems.append(made.problem(*wrong))
        found.setdefault(image, made)
    return tuple(made for made in found.values() if made.text), problems


def _wrong(
    made: Transcript, tab: bool, name: str, suffixes: frozenset[str], before: Transcript | None
) -> tuple[str, str] | None:
    """What is wrong with a line, and what to do; None where nothing is."""
    if not tab:
        return "there is no tab", "a line is the image's name, a tab, and its text"
    if made.image.suffix.lower() not in suffixes:
        return f"{shown(name)} is not an image", f"known are {', '.join(sorted(suffixes))}"
    if not look.is_file(made.image):
        return f"{shown(name)} is not there", f"looked in {made.image.parent}"
    if not made.text:
        return f"{shown(name)} has no text", "leave the line out where nothing is written in the image"
    if before is not None and before.text != made.text:
        return f"{shown(name)} has another text in line {before.line}", "leave one of them out"
    return None


def fingerprint(lines: Iterable[Transcript], images: str) -> str:
    """SHA-256 over the texts, in the order of the images' names, and over `images`, the images' own fingerprint."""
    written = sorted(f"{made.image.name}\t{made.text}\n" for made in lines)
    return hashlib.sha256("".join([f"{images}\n", *written]).encode("utf-8", "surrogateescape")).hexdigest()
