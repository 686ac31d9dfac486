"""A call's inputs as a tree: on the driver what belongs to it, on the worker laid out below a folder at the same paths.

What stands in a `data.yaml` or a list of images relative to it means the same there, and so do symbolic links.
Entries that are absolute paths are written anew, with the folder before them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from mcwbuild.contract import dataset, documents, look
from mcwbuild.contract.bounds import LIST_BYTES
from mcwbuild.contract.dataset import Dataset
from mcwbuild.contract.errors import InputError
from mcwbuild.engines import StageCall
from mcwbuild.engines.dask.objects import Objects, take

_LINKS = 40  # links in one path, as Linux follows them
_SPLITS = ("train", "val", "validation", "test")
Form = Literal["yaml", "lines"]


@dataclass
class Tree:
    """Absolute paths: `files` and `folders` without links in them, `links` with where they lead, `lists` to rewrite."""

    files: dict[str, None] = field(default_factory=dict)
    folders: dict[str, None] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    lists: dict[str, Form] = field(default_factory=dict)
    _known: dict[Path, Path] = field(default_factory=dict)

    def add(self, path: Path, form: Form | None = None) -> None:
        """The file or folder, and every link on the way to it; nothing where nothing is there."""
        place = self._walk(path.absolute())
        if look.is_folder(place):
            self.folders[str(place)] = None
        elif look.is_file(place):
            self.files[str(place)] = None
            if form is not None:
                self.lists[str(place)] = form

    def add_whole(self, folder: Path) -> None:
        """A folder with all that lies in it."""
        self.add(folder)
        for place, _, names in os.walk(folder, followlinks=True):
            self.add(Path(place))
            for name in names:
                self.add(Path(place, name))

    def _walk(self, path: Path) -> Path:
        """The path without links; those that were followed are noted."""
        folder = self._known.get(path.parent)
        at, parts = (folder, [path.name]) if folder is not None else (Path("/"), list(reversed(path.parts[1:])))
        for _ in range(_LINKS):
            while parts:
                part = parts.pop()
                if part == "..":
                    self.folders[str(at)] = None
                    at = at.parent
                elif (at / part).is_symlink():
                    aim = os.path.join(at, (at / part).readlink())
                    self.links[str(at / part)] = aim
                    at, parts = Path("/"), parts + list(reversed(Path(aim).parts[1:]))
                    break
                else:
                    at = at / part
            else:
                if path.name != ".." and not path.is_symlink():
                    self._known[path.parent] = at.parent
                return at
        return at


def of(call: StageCall) -> Tree:
    """Everything that the call's stage may read. Raises InputError where a list cannot be read at all."""
    tree = Tree()
    for flag, path in call.inputs:
        if flag == "--data":
            _add_dataset(tree, path)
        elif flag == "--dataset":
            tree.add(path, "lines")
            for image, _ in dataset.examine_list(path)[0]:
                _add_image(tree, image)
        elif look.is_folder(path):
            tree.add_whole(path)
        else:
            tree.add(path)
    return tree


def _add_dataset(tree: Tree, data: Path) -> None:
    found, _ = dataset.examine(data)  # what is wrong with it is the stage's to tell, all at once
    tree.add(data, "yaml")
    for named in _named(data, found):
        tree.add(named)
    for place in found.places:
        tree.add(place, "lines" if not dataset.is_image(place) else None)
    if found.by_folder:
        for split in dataset.SPLITS:
            if (folder := dataset.folder_of(found.root, split)) is not None:
                tree.add_whole(folder)
    for images in found.splits.values():
        for image in images:
            _add_image(tree, image)
    for folder in {dataset.label_of(image).parent for images in found.splits.values() for image in images}:
        for file in folder.glob("*.txt") if "labels" in folder.parts else ():  # labels without an image are told
            tree.add(file)


def _add_image(tree: Tree, image: Path) -> None:
    tree.add(image)
    label = dataset.label_of(image)
    if look.is_file(label):
        tree.add(label)


def _named(data: Path, found: Dataset) -> Iterator[Path]:
    """The folders and files as the data.yaml writes them: there may be links on the way to each."""
    written = {} if look.is_folder(data) else _load(data) or {}
    root = written.get("path")
    if isinstance(root, str):
        yield look.real(data).parent / root
    for entry in _entries(written):
        yield found.root / entry


def _entries(written: Mapping[str, Any]) -> Iterator[str]:
    for split in _SPLITS:
        entries = written.get(split)
        yield from (entry for entry in (entries if isinstance(entries, list) else [entries]) if isinstance(entry, str))


def _load(data: Path) -> dict[str, Any] | None:
    try:
        found = yaml.safe_load(documents.read_text(data))
    except (yaml.YAMLError, ValueError, RecursionError, InputError):
        return None
    return found if isinstance(found, dict) else None


def store(tree: Tree, objects: Objects, *, again: bool = False) -> str:
    """Puts every file into the shared folder; the SHA-256 of the object that lists them. Raises EnvironmentLacking."""
    listed = {
        "files": {path: objects.put(Path(path), again=again) for path in tree.files},
        "folders": list(tree.folders),
        "links": tree.links,
        "lists": tree.lists,
    }
    return objects.put_bytes(json.dumps(listed).encode(), again=again)


def lay_out(sha256: str, objects: Objects, root: Path, scratch: Path) -> None:
    """Lays the tree out below `root`. Raises EnvironmentLacking (kind `copy`, `disk`), OSError."""
    index = scratch / "tree.json"
    take(objects.place(sha256), index, sha256)
    listed = json.loads(index.read_bytes())
    for folder in listed["folders"]:
        below(root, folder).mkdir(parents=True, exist_ok=True)
    for path, aim in listed["links"].items():
        place = below(root, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(below(root, aim))
    for path, content in listed["files"].items():
        place = below(root, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        take(objects.place(content), place, content)
    for path, form in listed["lists"].items():
        (_rewrite_yaml if form == "yaml" else _rewrite_lines)(below(root, path), root)


def below(root: Path, path: str) -> Path:
    """Where an absolute path lies below `root`."""
    return Path(f"{root}{path}")


def _rewrite_yaml(file: Path, root: Path) -> None:
    data = _load(file)
    entries = [data.get("path"), *_entries(data)] if data else []
    if data is None or not any(isinstance(entry, str) and entry.startswith("/") for entry in entries):
        return

    def moved(entry: Any) -> Any:
        if isinstance(entry, list):
            return [moved(one) for one in entry]
        return str(below(root, entry)) if isinstance(entry, str) and entry.startswith("/") else entry

    made = {key: moved(value) if key in ("path", *_SPLITS) else value for key, value in data.items()}
    file.write_text(yaml.safe_dump(made, sort_keys=False, allow_unicode=True), "utf-8")


def _rewrite_lines(file: Path, root: Path) -> None:
    lines = documents.read_text(file, LIST_BYTES.value).removeprefix("\ufeff").split("\n")
    if any(line.lstrip().startswith("/") for line in lines):
        moved = (f"{root}{line.lstrip()}" if line.lstrip().startswith("/") else line for line in lines)
        file.write_text("\n".join(moved), "utf-8")
