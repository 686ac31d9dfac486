"""Where a stage finds its files in the container: each input read-only under /in, the staging folder at /out.

A list of files (`data.yaml`, `dataset.txt`) keeps its own path, and so do the folders of the images and
labels that it names: what is written in it, and links between those folders, mean the same inside.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mcwbuild import gate
from mcwbuild.contract import dataset, disk, look
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.events import Emit, Event, from_line, to_line
from mcwbuild.engines import StageCall

OUT = "/out"
LISTS: Mapping[str, Callable[[Path], tuple[Path, ...]]] = {
    "--data": lambda path: _of_dataset(path),
    "--dataset": lambda path: dataset.folders(dataset.read_list(path)),
}
MOST = 200  # mounts: each costs the daemon a few milliseconds and a line in every process's mount table
# Folders of the image, or of the kernel: data that lies there on the host cannot be shown at its own path.
_TAKEN = ("/bin", "/dev", "/etc", "/in", "/lib", "/lib64", "/opt/mcwbuild", "/out", "/proc", "/sbin", "/sys", "/usr")


@dataclass(frozen=True)
class Binding:
    """A file or folder of the host, without links in its path, as the container sees it."""

    source: Path
    target: str
    writable: bool = False


def bindings(call: StageCall) -> tuple[Binding, ...]:
    """Every mount of the call, targets sorted, none inside another read-only one. Raises InputError."""
    made = {OUT: Binding(look.real(call.staging), OUT, writable=True)}
    shown: dict[Path, None] = {}
    for flag, path in call.inputs:
        if flag in LISTS:
            shown |= dict.fromkeys((path, *LISTS[flag](path)))
        else:
            made[place(flag, path)] = Binding(look.real(path), place(flag, path))
    for path in _outermost(shown):
        made[str(path)] = Binding(look.real(path), _free(path))
    return tuple(made[target] for target in sorted(made))


def place(flag: str, path: Path) -> str:
    """The path of an input in the container. Raises InputError where no container can be told it."""
    target = str(path) if flag in LISTS else f"/in/{flag.lstrip('-')}/{path.name}"
    try:
        target.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{str(path)!a} cannot be mounted.", "Its name is not UTF-8.", "Rename it, or use --engine local."
        ) from error
    return target


def readable_copy(binding: Binding, folder: Path) -> Binding:
    """The binding itself where every user may read its file, else of a copy in `folder` that every user may."""
    if binding.writable or not look.is_file(binding.source) or binding.source.stat().st_mode & 0o004:
        return binding
    copy = folder / binding.target.strip("/").replace("/", "-")
    folder.mkdir(exist_ok=True)
    shutil.copyfile(binding.source, copy)
    copy.chmod(0o444)
    return Binding(copy, binding.target)


class Names:
    """What the caller calls the files that a stage names by their places in its container."""

    def __init__(self, call: StageCall) -> None:
        self._given = {
            _quoted(place(flag, path)): _quoted(str(path)) for flag, path in call.inputs if flag not in LISTS
        }
        longest_first = sorted(self._given, key=len, reverse=True)
        self._places = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def telling(self, emit: Emit) -> Emit:
        """A listener that hears of the caller's files, in front of one that knows no others."""

        def tell(event: Event) -> None:
            emit(from_line(self._named(to_line(event))) or event)

        return tell

    def tell(self, staging: Path) -> None:
        """Has the outcome that a stage left in `staging` name the caller's files. All its processes have ended."""
        outcome = gate.outcome(staging)
        if outcome is not None:
            with suppress(OSError):  # then people read the container's paths
                disk.write_atomic(staging / "result.json", self._named(json.dumps(outcome)).encode("ascii"))

    def _named(self, text: str) -> str:
        return self._places.sub(lambda found: self._given[found[0]], text)


def _quoted(path: str) -> str:
    """As it stands within a string of ASCII JSON."""
    return json.dumps(path)[1:-1]


def _of_dataset(data_yaml: Path) -> tuple[Path, ...]:
    found, _ = dataset.examine(data_yaml)  # what is wrong with it is the stage's to tell, all at once
    images = (image for split in found.splits.values() for image in split)
    return (*found.places, *dataset.folders(images))


def _outermost(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The paths and what their links lead to, less what lies below another of them."""
    every = {path for named in paths for path in (Path(os.path.abspath(named)), look.real(named))}  # noqa: PTH100
    outermost = tuple(path for path in sorted(every) if every.isdisjoint(path.parents))
    if len(outermost) > MOST:
        raise InputError(
            f"The images lie in {len(outermost)} folders, and a container is given {MOST} at most.",
            f"The first is {outermost[0]}.",
            "Gather them below one folder, or use --engine local.",
            kind="dataset",
        )
    return outermost


def _free(path: Path) -> str:
    """The path as a target, where a container has room for it. Raises InputError."""
    target = place("--data", path)
    taken = [
        folder for folder in _TAKEN if PurePosixPath(folder) in (PurePosixPath(target), *PurePosixPath(target).parents)
    ]
    if target == "/" or taken:
        raise InputError(
            f"Images in {target} cannot be shown to a container.",
            f"{taken[0] if taken else 'The root folder'} is the container's own.",
            "Move the dataset, or use --engine local.",
            kind="dataset",
        )
    return target
