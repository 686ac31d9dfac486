"""Which architecture the name of one of Ultralytics' own YAMLs stands for: `yolo11n.yaml`, `yolov8s-p2.yaml`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from mcwbuild.contract.errors import InputError
from stages.families.yolo.architectures import ARCHITECTURES, SUFFIXES, TASKS, Architecture


@dataclass(frozen=True)
class Stock:
    """An architecture to train from nothing: its YAML's name, its size's letter (empty: one size), the task's word."""

    name: str
    architecture: Architecture
    size: str
    task: str


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
