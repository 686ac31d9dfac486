"""The JSON Schemas: loaded from `schemas/`, and told as a table that people read."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from mcwbuild.contract import assets
from mcwbuild.contract.marks import Path
from mcwbuild.contract.phases import PHASES

if TYPE_CHECKING:
    from referencing import Registry

CATEGORIES = ("critical", "fixed", "configurable", "recorded")
_SUFFIX = ".schema.json"


@cache
def schema(name: str) -> dict[str, Any]:
    """The schema called `name` (`training_source`, `common`, ...). Raises KeyError."""
    path = assets.schemas_dir() / f"{name}{_SUFFIX}"
    if name not in names():
        raise KeyError(name)
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


@cache
def names() -> tuple[str, ...]:
    """The names of all schemas, sorted."""
    return tuple(sorted(path.name.removesuffix(_SUFFIX) for path in assets.schemas_dir().glob(f"*{_SUFFIX}")))


@cache
def registry() -> Registry[Any]:
    """All schemas by the name of their file; there is no way out of it to the network."""
    from referencing import Registry, Resource

    return Registry().with_resources((f"{name}{_SUFFIX}", Resource.from_contents(schema(name))) for name in names())


@dataclass(frozen=True)
class Field:
    """One leaf of a schema: its path (`[]` for the items of a list, `*` for any key) and whether it must be there."""

    path: Path
    required: bool
    definition: Mapping[str, Any]

    @property
    def category(self) -> str:
        """One of CATEGORIES."""
        return str(self.definition["x-category"])


def resolve(definition: Mapping[str, Any], home: str) -> tuple[Mapping[str, Any], str]:
    """Follow `$ref`: the definition with the keywords beside the reference kept, and the schema it stands in."""
    while "$ref" in definition:
        file, _, pointer = definition["$ref"].partition("#")
        home = file.removesuffix(_SUFFIX) if file else home
        target: Any = schema(home)
        for part in pointer.strip("/").split("/") if pointer.strip("/") else ():
            target = target[part]
        definition = {**target, **{key: value for key, value in definition.items() if key != "$ref"}}
    return definition, home


def fields(name: str) -> list[Field]:
    """Every leaf of a schema, in its order. A leaf is what carries `x-category`."""
    return list(_leaves(schema(name), name, (), True))


def _leaves(definition: Mapping[str, Any], home: str, path: Path, required: bool) -> Iterator[Field]:
    definition, home = resolve(definition, home)
    if "x-category" in definition:
        yield Field(path, required, definition)
        return
    must = definition.get("required", ())
    for key, below in definition.get("properties", {}).items():
        yield from _leaves(below, home, (*path, key), required and key in must)
    if isinstance(more := definition.get("additionalProperties"), Mapping):
        yield from _leaves(more, home, (*path, "*"), False)
    if "items" in definition:
        yield from _leaves(definition["items"], home, (*path, "[]"), required)


@cache
def critical_paths() -> tuple[tuple[str, ...], ...]:
    """The paths of the critical values in a source document, in the schema's order."""
    return tuple(
        tuple(str(part) for part in field.path) for field in fields("training_source") if field.category == "critical"
    )


def field_table() -> str:
    """The README of `schemas/`: every field of the sources with its category and its place in each phase."""
    sources = {phase: {field.path: field for field in fields(PHASES[phase].source_schema)} for phase in PHASES}
    paths = list(dict.fromkeys(path for found in sources.values() for path in found))
    lines = [_HEAD, "| field | category | pt | onnx | rknn | what it is |", "|---|---|---|---|---|---|"]
    for path in sorted(paths, key=lambda path: paths.index(next(p for p in paths if p[0] == path[0]))):
        found = [table.get(path) for table in sources.values()]
        field = next(item for item in found if item)
        places = " | ".join("forbidden" if f is None else "required" if f.required else "optional" for f in found)
        lines.append(f"| `{dotted(path)}` | {field.category} | {places} | {field.definition['description']} |")
    for title, name in _OTHERS.items():
        lines += ["", f"## {title}", "", "| field | category | | what it is |", "|---|---|---|---|"]
        for field in fields(name):
            need = "required" if field.required else "optional"
            lines.append(f"| `{dotted(field.path)}` | {field.category} | {need} | {field.definition['description']} |")
    return "\n".join(lines) + "\n"


def dotted(path: Path) -> str:
    """A schema path as people read it: `onnx.shapes.inputs[]`."""
    return ".".join(str(part) for part in path).replace(".[]", "[]")


_OTHERS = {
    "performance_pt.json": "performance_pt",
    "performance_onnx.json": "performance_onnx",
    "performance_rknn.json": "performance_rknn",
    "performance_rknn.device.json": "performance_rknn.device",
    "manifest.json": "manifest",
    "mcwbuild.yaml": "mcwbuild",
    "train.yaml": "train",
    "result.json": "result",
    "the pairing program's answer": "intervals",
}
_HEAD = """\
# Fields of the documents

Generated from the schemas in this folder: `python -m mcwbuild.contract.schemas > schemas/README.md`.

Categories: **critical** values are copied from phase to phase and never changed, because a change would need
retraining; **fixed** ones follow from others; **configurable** ones are free to change; **recorded** ones are
measured, or written down for reference.

## The source documents

`training_source.yaml` (pt), `onnx_source.yaml` (onnx), `rknn_source.yaml` (rknn). A field is *required* where it
must be written when its block is; a critical field that is optional has a default, and is written by every phase.
"""


if __name__ == "__main__":
    sys.stdout.write(field_table())
