"""What a schema cannot say: values that follow from others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mcwbuild.contract.errors import Problem
from mcwbuild.contract.inherit import CHANNELS, value_at
from mcwbuild.contract.marks import Document, Path
from mcwbuild.contract.phases import PHASES

_SOURCES = frozenset(phase.source_schema for phase in PHASES.values())
_PER_CHANNEL: tuple[Path, ...] = (
    ("preprocessing", "normalize", "mean"),
    ("preprocessing", "normalize", "std"),
    ("preprocessing", "padding", "color"),
)


def check(document: Document, schema_name: str) -> list[Problem]:
    """Every value of a source document that contradicts another one; nothing for other documents."""
    if schema_name not in _SOURCES or not isinstance(document.value, dict):
        return []
    return [*_channels(document), *_classes(document), *_units(document), *_resize(document), *_blank(document)]


def _channels(document: Document) -> Iterator[Problem]:
    form = value_at(document.value, ("input", "format"))
    channels = CHANNELS.get(form) if isinstance(form, str) else None
    if channels is None:
        return
    written = value_at(document.value, ("input", "channels"))
    if _is_number(written) and written in CHANNELS.values() and written != channels:
        yield document.problem(("input", "channels"), f"{form} has {_count(channels)}, not {written:g}")
    for path in _PER_CHANNEL:
        values = value_at(document.value, path)
        if isinstance(values, list) and 1 <= len(values) <= 4 and len(values) != channels:
            values_are = "1 value is" if len(values) == 1 else f"{len(values)} values are"
            message = f"{form} has {_count(channels)}, but {values_are} given"
            same = _is_number(values[0]) and all(value == values[0] for value in values)
            hint = f"write {[values[0]] * channels}" if same else None
            yield document.problem(path, message, hint)


def _classes(document: Document) -> Iterator[Problem]:
    names = value_at(document.value, ("classes", "names"))
    count = value_at(document.value, ("classes", "num_classes"))
    if isinstance(names, list) and names and _is_number(count) and count >= 1 and count != len(names):
        yield document.problem(("classes", "num_classes"), f"num_classes is {count:g} but there are {len(names)} names")


def _units(document: Document) -> Iterator[Problem]:
    """A std below 1 in units of 0 to 255 comes from somebody who wrote 0 to 1: every pixel would be wrong."""
    path: Path = ("preprocessing", "normalize", "std")
    values = value_at(document.value, path)
    if isinstance(values, list) and values and all(_is_number(value) and 0 < value < 1 for value in values):
        hint = "mean and std are in units of 0 to 255: multiply both by 255"
        yield document.problem(path, "std looks like units of 0 to 1", hint)


def _blank(document: Document) -> Iterator[Problem]:
    path: Path = ("classes", "blank")
    task = value_at(document.value, ("model", "task"))
    if value_at(document.value, path) is not None and isinstance(task, str) and task != "ocr":
        yield document.problem(path, f"a model for {task} has no blank; it belongs to ocr", "leave it out")


def _resize(document: Document) -> Iterator[Problem]:
    path: Path = ("preprocessing", "resize", "shorter_side")
    method = value_at(document.value, (*path[:-1], "method"))
    if value_at(document.value, path) is not None and isinstance(method, str) and method != "center_crop":
        yield document.problem(path, f"{method} does not look at it; it belongs to center_crop", "leave it out")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(channels: int) -> str:
    return f"{channels} channel{'s' if channels > 1 else ''}"
