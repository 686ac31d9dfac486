"""Which architecture the name of one of Ultralytics' own YAMLs stands for: `yolo11n.yaml`, `yolov8s-p2.yaml`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcwbuild.contract import disk, documents
from mcwbuild.contract.errors import InputError
from stages.families.yolo.architectures import ARCHITECTURES, SUFFIXES, TASKS, Architecture
from stages.families.yolo.custom import HEADS, Unsound, sound_yaml

DEFAULT_CLASSES = 80  # of a YAML; the dataset's number takes its place
_SIZE = re.compile(r"yolo(?:e-)?v?\d+([nslmx])")  # as the library finds it in a file's name (guess_model_scale)


@dataclass(frozen=True)
class Stock:
    """An architecture to train from nothing: its YAML's name, its size's letter (empty: one size), the task's word.

    `yaml` is the YAML itself where it is the user's own, `sha256` that file's.
    """

    name: str
    architecture: Architecture
    size: str
    task: str
    yaml: Mapping[str, Any] | None = None
    sha256: str | None = None


def own_stock(path: Path, task: str | None = None) -> Stock:
    """The architecture of a YAML file of the user's own, made of the library's modules.

    Raises InputError where it is no YAML, names what is not known here, or is for another task than `task`.
    """
    found = documents.read_yaml(path).value
    rows = found.get("head") if isinstance(found, dict) else None
    last = rows[-1][2] if isinstance(rows, list) and rows and isinstance(rows[-1], list) and len(rows[-1]) > 2 else None
    meant = next((known for known, heads in HEADS.items() if isinstance(last, str) and last in heads), None)
    if meant is None:
        raise _refusal(
            f"{path} is no architecture that can be trained.",
            "Its `head` does not end with the head of a task that is supported.",
            f"Its last layer has to be one of {', '.join(sorted(set().union(*HEADS.values())))}.",
        )
    if task not in (None, meant):
        raise _refusal(f"{path} is not a network for the task {task}.", f"Its task is {meant}.", "Leave `task` out.")
    size = _SIZE.search(path.stem)
    named = size is not None and size.group(1) in (found.get("scales") or ()) and not found.get("scale")
    try:
        sound = sound_yaml({**found, "scale": size.group(1)} if size and named else found, meant, DEFAULT_CLASSES)
    except Unsound as error:
        raise _refusal(
            f"{path} is no architecture that can be trained.",
            f"{str(error)[0].upper()}{str(error)[1:]}.",
            "Take modules of Ultralytics' own detection models, and plain numbers for their arguments.",
        ) from error
    architecture = Architecture("custom YOLO", re.compile(""), "", "", (meant,))
    yaml = {**sound, "yaml_file": path.name, **({"kpt_shape": [1, 3]} if meant == "pose" else {})}
    return Stock(path.name, architecture, str(sound["scale"]), meant, yaml, disk.sha256_of(path))


def stock(name: str, task: str | None = None) -> Stock:
    """The architecture whose YAML is called `name`; `task` is Ultralytics' word, where it is written beside it.

    Raises InputError where it is none of the library's own, has no such size, or its task is not supported.
    """
    stem = name.removesuffix(".yaml").lower()
    ends = {known: end for known, end in SUFFIXES.items() if end and stem.endswith(end)}
    meant = next(iter(ends), "detect")
    matches = ((one, one.stem.fullmatch(stem.removesuffix(ends.get(meant, "")))) for one in ARCHITECTURES)
    architecture, match = next(((one, found) for one, found in matches if found), (None, None))
    if architecture is None or match is None:
        near = difflib.get_close_matches(stem, list(_names()), 1, 0.5)
        raise _refusal(
            f"The architecture {ascii(name)[1:-1][:80]} is not known.",
            "It is no model of Ultralytics' own that is supported.",
            f"Did you mean {near[0]}.yaml?" if near else "Take for example yolo11n.yaml.",
        )
    if task not in (None, meant):
        raise _refusal(
            f"{name} is not a network for the task {task}.", f"Its task is {meant}.", "Leave `task` out, or the model."
        )
    if meant not in architecture.tasks:
        able = ", ".join(TASKS[known] for known in architecture.tasks)
        raise _refusal(
            f"{name} cannot be trained here.",
            f"Its task is {TASKS[meant]}, and of {architecture.type} networks for {able} are supported.",
            f"Take for example yolo11n{SUFFIXES[meant]}.yaml.",
        )
    size = (match.group(1) or architecture.sizes[0]) if architecture.sizes else ""  # no letter: as the library does
    return Stock(name, architecture, size, meant)


def _refusal(what: str, found: str, remedy: str) -> InputError:
    return InputError(what, found, remedy, kind="architecture")


def _names() -> Iterator[str]:
    """Every architecture in every size and task, for a word about what may have been meant."""
    for one in ARCHITECTURES:
        name = one.stock.rpartition("/")[2].removesuffix(".yaml")
        head, dash, tail = name.partition("-")
        for size in one.sizes or " ":
            whole = name.format(size=size) if "{size}" in name else f"{head}{size.strip()}{dash}{tail}"
            yield from (whole + SUFFIXES[task] for task in one.tasks)
