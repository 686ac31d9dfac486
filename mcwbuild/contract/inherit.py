"""The critical values: copied by one function, compared by one function, hashed by one function.

Which fields are critical stands in `schemas/common.schema.json` (`x-category: critical`) and nowhere else.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcwbuild.contract.errors import ContractBroken, Problem
from mcwbuild.contract.marks import Document, Path, shown
from mcwbuild.contract.phases import PHASES
from mcwbuild.contract.schemas import critical_paths

CHANNELS = {"RGB": 3, "BGR": 3, "Grayscale": 1, "RGBA": 4}
LETTERBOX_COLOUR = 114  # Ultralytics' grey, what its models are trained with

_ABSENT: Any = type("Absent", (), {"__repr__": lambda _: "absent"})()


@dataclass(frozen=True)
class Difference:
    """A critical field that differs: its path with dots, and both values (None where it is absent)."""

    field: str
    a: Any
    b: Any


def value_at(source: Any, path: Path, default: Any = None) -> Any:
    """The value at `path`, or `default` where there is none."""
    for part in path:
        if not isinstance(source, Mapping) or part not in source:
            return default
        source = source[part]
    return source


def critical(source: Mapping[str, Any]) -> dict[str, Any]:
    """The block of critical values, nested as in the source; what the source lacks is left out."""
    block: dict[str, Any] = {}
    for path in critical_paths():
        value = value_at(source, path, _ABSENT)
        if value is not _ABSENT:
            target = block
            for part in path[:-1]:
                target = target.setdefault(part, {})
            target[path[-1]] = copy.deepcopy(value)
    return block


def canonical(value: Any) -> str:
    """JSON with sorted keys, no spaces, ASCII, and whole numbers without a fraction: equal values, equal text."""
    return json.dumps(_by_value(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _by_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _by_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_by_value(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def contract_sha256(source: Mapping[str, Any]) -> str:
    """SHA-256 of the critical block's canonical JSON, lower-case hexadecimal; the same with defaults left out."""
    return hashlib.sha256(canonical(critical(complete(source))).encode("ascii")).hexdigest()


def complete(source: Mapping[str, Any]) -> dict[str, Any]:
    """The source with the critical values that may be left out, as if their defaults were written.

    Works on what a schema has not seen yet too: a part that is not a mapping stays as it is.
    """
    whole: dict[str, Any] = copy.deepcopy(dict(source))
    channels = CHANNELS.get(str(value_at(whole, ("input", "format"))))
    names = value_at(whole, ("classes", "names"))
    _default(whole, ("classes", "num_classes"), len(names) if isinstance(names, list) else None)
    if value_at(whole, ("model", "task")) == "ocr":
        _default(whole, ("classes", "blank"), "first")
    _default(whole, ("input", "channels"), channels)
    _default(whole, ("input", "dtype"), "float32")
    _default(whole, ("input", "layout"), "NCHW")
    method = value_at(whole, ("preprocessing", "resize", "method"))
    padded = method in ("letterbox", "resize_pad")
    _default(whole, ("preprocessing", "padding", "enabled"), padded)
    if padded:
        _default(whole, ("preprocessing", "padding", "color"), [LETTERBOX_COLOUR] * channels if channels else None)
        # Text begins at the left, and so it is trained: PaddleOCR and others pad it at the right.
        _default(whole, ("preprocessing", "padding", "position"), "top_left" if method == "resize_pad" else "center")
    _default(whole, ("preprocessing", "normalize", "enabled"), True)
    _default(whole, ("preprocessing", "normalize", "method"), "mean_std")
    return whole


def _default(whole: dict[str, Any], path: Path, value: Any) -> None:
    """Write `value` where nothing is; its parents are made, but nothing is put in place of another type."""
    if value is None:
        return
    here: Any = whole
    for part in path[:-1]:
        if not isinstance(here, dict) or (here.get(part) is None and part in here):
            return
        here = here.setdefault(part, {})
    if isinstance(here, dict):
        here.setdefault(path[-1], value)


def carry(source: Mapping[str, Any]) -> dict[str, Any]:
    """The beginning of the next phase's source: the hash, the model and the critical block, completed."""
    whole = complete(source)
    block = critical(whole)
    block["model"] = {**copy.deepcopy(whole.get("model", {})), **block.get("model", {})}
    order = ("model", "classes", "input", "preprocessing")
    return {"contract_sha256": contract_sha256(whole)} | {key: block[key] for key in order if key in block}


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    """Every critical field whose value or type differs; numbers compare by value, so 0 equals 0.0."""
    found = []
    for path in critical_paths():
        left, right = value_at(a, path, _ABSENT), value_at(b, path, _ABSENT)
        missing = left is _ABSENT or right is _ABSENT
        if left is not right if missing else canonical(left) != canonical(right):
            field = ".".join(str(part) for part in path)
            found.append(Difference(field, *(None if v is _ABSENT else v for v in (left, right))))
    return found


def compare(
    a: Document, b: Document | Mapping[str, Any], a_phase: str, b_phase: str, b_file: str | None = None
) -> None:
    """Compare the critical values of two phases; `a` is the one that a person can edit.

    `b_file` names `b` where it is no document, `best.onnx` say. Both are completed with the written defaults
    first. Raises ContractBroken with one problem for each field, naming field, files, phases and both values.
    """
    b_value = b.value if isinstance(b, Document) else b
    found = differences(complete(a.value), complete(b_value))
    if not found:
        return
    other = b.file if isinstance(b, Document) else b_file or "the artefact"
    problems = [_problem(difference, a, b, other, b_phase) for difference in found]
    fields = ", ".join(difference.field for difference in found)
    raise ContractBroken(
        f"{'A critical value differs' if len(found) == 1 else f'{len(found)} critical values differ'} between "
        f"{a.file} ({_phase(a_phase)}) and {other} ({_phase(b_phase)}): {fields}.",
        problems[0].message + ".",
        "Export again from the first, or retrain.",
        kind="contract",
        problems=problems,
    )


def _phase(name: str) -> str:
    return f"{name} phase" if name in PHASES else name


def _problem(
    difference: Difference, a: Document, b: Document | Mapping[str, Any], b_file: str, b_phase: str
) -> Problem:
    path: Path = tuple(difference.field.split("."))
    line, column = a.place(path)
    metadata = f"{b_file} (metadata, written by the {_phase(b_phase)})"
    b_place = _place(b, path) if isinstance(b, Document) else metadata
    message = (
        f"{difference.field} is {_shown(difference.a)} in {_place(a, path)} but {_shown(difference.b)} in {b_place}. "
        "It may not change between phases"
    )
    return Problem(message, a.file, line, column, "$." + difference.field, "export again from the first, or retrain")


def _place(document: Document, path: Path) -> str:
    line, _ = document.place(path)
    return document.file if line is None else f"{document.file}:{line}"


def _shown(value: Any) -> str:
    if value is None:
        return "absent"
    return shown(value) if isinstance(value, str) else _cut(json.dumps(value, ensure_ascii=True))


def _cut(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else text[:limit] + "..."


def own_hash(document: Document) -> Problem | None:
    """A problem where the document's `contract_sha256` is not that of its own critical values."""
    written = value_at(document.value, ("contract_sha256",))
    if written is None or written == contract_sha256(document.value):
        return None
    return document.problem(
        ("contract_sha256",),
        "a critical value was edited after contract_sha256 was written",
        "undo the edit; or remove this line if you mean to begin a new contract",
    )
