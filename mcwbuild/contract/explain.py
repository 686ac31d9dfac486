"""What a schema's complaint means, in words: what is wrong with the value, and what to write instead."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mcwbuild.contract import schemas
from mcwbuild.contract.errors import Problem
from mcwbuild.contract.marks import Document, Path, path_text, shown
from mcwbuild.contract.phases import PHASES

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
_SOURCES = {phase.source_schema: phase.source for phase in PHASES.values()}
_RECORDS = {phase.performance_schema: phase.performance for phase in PHASES.values()}
_SPOKEN = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}  # YAML 1.1's booleans
_MAX_SHOWN = 80  # characters of a value in a message
_WORD = re.compile(r"[a-z][a-z0-9_]*")


def explain(error: Any, document: Document, schema_name: str) -> list[Problem]:
    """The problems that one `jsonschema.ValidationError` stands for."""
    path: Path = tuple(error.absolute_path)
    keyword = str(error.validator)
    if keyword == "additionalProperties":
        return _unknown_keys(error, document, schema_name, path)
    if keyword == "required":
        return _missing_keys(error, document, path)
    if keyword == "uniqueItems":
        return _repeated(error.instance, document, path)
    if keyword == "type" and error.instance is None and not path:
        return [document.problem(path, "the document is empty")]
    say = _SENTENCES.get(keyword)
    message = say(error) if say else f"does not match the schema ({keyword})"
    return [document.problem(path, message, _hint(error))]


def value_shown(value: Any) -> str:
    """A value in a message: one line of JSON, shortened; text in quotes."""
    if isinstance(value, str):
        return f"the text {shown(value)}"
    if isinstance(value, Mapping):
        return "a mapping"
    text = json.dumps(value, ensure_ascii=True)
    if isinstance(value, list) and len(text) > _MAX_SHOWN:
        return f"a list of {len(value)}"
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


def _types(error: Any) -> str:
    expected = error.validator_value
    kinds = [_TYPES[kind] for kind in ([expected] if isinstance(expected, str) else expected)]
    says = error.schema.get("x-says")
    wanted = says or " or ".join(kinds)
    return f"must be {wanted}, found {value_shown(error.instance)}"


def _count(error: Any, word: str) -> str:
    says = error.schema.get("x-says")
    limit = error.validator_value
    if says:
        return f"must be {says}, found {value_shown(error.instance)}"
    unit = "characters" if isinstance(error.instance, str) else "values"
    if limit == 1 and word == "least":
        return "must not be empty"
    return f"must have at {word} {limit} {unit}, found {len(error.instance)}"


def _says(error: Any) -> str:
    return f"must be {error.schema.get('x-says', 'of the form ' + str(error.validator_value))}, found {_found(error)}"


def _found(error: Any) -> str:
    return value_shown(error.instance)


def _enum(error: Any) -> str:
    allowed = ", ".join(item if isinstance(item, str) else json.dumps(item) for item in error.validator_value)
    return f"must be one of {allowed}; found {_found(error)}"


def _const(error: Any) -> str:
    found = error.instance
    expected = str(error.validator_value)
    if isinstance(found, str) and "/" in expected and found.partition("/")[0] == expected.partition("/")[0]:
        return f"this version of mcwbuild reads {expected}, found {_found(error)}"
    return f"must be {expected}, found {_found(error)}"


_SENTENCES: dict[str, Callable[[Any], str]] = {
    "type": _types,
    "enum": _enum,
    "const": _const,
    "pattern": _says,
    "minimum": lambda e: f"must be {e.validator_value:g} or more, found {_found(e)}",
    "maximum": lambda e: f"must be {e.validator_value:g} or less, found {_found(e)}",
    "exclusiveMinimum": lambda e: f"must be above {e.validator_value:g}, found {_found(e)}",
    "minItems": lambda e: _count(e, "least"),
    "maxItems": lambda e: _count(e, "most"),
    "minLength": lambda e: _count(e, "least"),
    "maxLength": lambda e: _count(e, "most"),
    "maxProperties": lambda e: f"must be {e.schema['x-says']}",
}


def _hint(error: Any) -> str | None:
    """What to write instead, where it can be told from what is there."""
    found, keyword = error.instance, error.validator
    if keyword == "enum" and isinstance(found, str):
        near = _nearest(found, [item for item in error.validator_value if isinstance(item, str)])
        return f"did you mean `{near}`?" if near else None
    if keyword == "pattern" and isinstance(found, str):
        simple = found.strip().lower().replace(" ", "_").replace("-", "_")
        return f"write {simple}" if "one word" in str(error.schema.get("x-says")) and _WORD.fullmatch(simple) else None
    if keyword != "type":
        return None
    expected = [error.validator_value] if isinstance(error.validator_value, str) else list(error.validator_value)
    if isinstance(found, str):
        return _hint_for_text(found, expected)
    if "string" in expected and isinstance(found, bool | int | float):
        return f'quote it: "{json.dumps(found)}"'
    if "array" in expected and isinstance(found, Mapping):
        return "write one item a line, each after `- `"
    return None


def _hint_for_text(found: str, expected: list[str]) -> str | None:
    """Text where a number or a boolean is wanted: often what YAML 1.1 read as one."""
    if "boolean" in expected and found.casefold() in _SPOKEN:
        return f"write {_SPOKEN[found.casefold()]}"
    if "boolean" in expected and found.casefold() in ("true", "false"):
        return "remove the quotes"
    plain = found.strip().replace("_", "")
    if {"integer", "number"} & set(expected) and plain.removeprefix("-").replace(".", "", 1).isdecimal():
        return f"write {plain}, without quotes" if plain == found.strip() else f"write {plain}"
    return None


def _nearest(word: str, choices: Iterable[str], least: float = 0.6) -> str | None:
    """The choice most like the word, if their likeness (0 to 1, difflib's) is at least `least`."""
    folded = {choice.casefold(): choice for choice in choices}
    near = difflib.get_close_matches(word.casefold(), folded, 1, least)
    return folded[near[0]] if near else None


def _missing_keys(error: Any, document: Document, path: Path) -> list[Problem]:
    """jsonschema tells each missing key on its own; it stands quoted at the beginning of the message."""
    missing = [key for key in error.validator_value if key not in error.instance]
    name = next((key for key in missing if error.message.startswith(f"{key!r} ")), missing[0])
    return [document.problem((*path, name), f"`{name}` is missing", at_key=True)]


def _unknown_keys(error: Any, document: Document, schema_name: str, path: Path) -> list[Problem]:
    known = list(error.schema.get("properties", {}))
    unknown = [key for key in error.instance if key not in known]
    block = path_text(path)[2:] or "this document"
    return [
        document.problem(
            (*path, key),
            f"{f'`{key}`' if _tame(key) else shown(key)} is not a field of {block}",
            _where_it_belongs(key, path, schema_name, error),
            at_key=True,
        )
        for key in unknown
    ]


def _tame(key: str) -> bool:
    return key.isascii() and key.isprintable() and len(key) <= _MAX_SHOWN and "`" not in key


def _where_it_belongs(key: str, path: Path, schema_name: str, error: Any) -> str | None:
    """Another phase's document, or another block; else a field with nearly this name."""
    for other, file in _siblings(schema_name).items():
        if any(field.path[: len(path) + 1] == (*path, key) for field in schemas.fields(other)):
            return f"it belongs in {file}"
    if place := _misplaced(key, schema_name):
        return place
    near = _nearest(key, error.schema.get("properties", {}), 0.7)
    if near is None:
        return None
    return f"`{near}` is there already" if near in error.instance else f"did you mean `{near}`?"


def _siblings(schema_name: str) -> dict[str, str]:
    """The same document of the other phases: its schema and its file's name."""
    group = next((group for group in (_SOURCES, _RECORDS) if schema_name in group), {})
    return {name: file for name, file in group.items() if name != schema_name}


def _misplaced(key: str, schema_name: str) -> str | None:
    """The one block that has a field of this name, here or in another phase's document."""
    for name, file in {schema_name: "", **_siblings(schema_name)}.items():
        homes = {f.path[: f.path.index(key)] for f in schemas.fields(name) if key in f.path[1:]}
        if len(homes) == 1:
            return f"it belongs under `{schemas.dotted(homes.pop())}`" + (f" in {file}" if file else "")
    return None


def _repeated(values: list[Any], document: Document, path: Path) -> list[Problem]:
    first: dict[str, int] = {}
    problems = []
    for index, value in enumerate(values):
        key = json.dumps(value, sort_keys=True)
        if key in first:
            message = f"{value_shown(value)} is there twice, first as item {first[key]} (counted from 0)"
            problems.append(document.problem((*path, index), message))
        first.setdefault(key, index)
    return problems
