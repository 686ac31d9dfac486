"""YAML read strictly, with the place of every value kept; and written so that it reads back the same.

Read: version 1.2's core types, keys as text, no anchors, aliases, tags or merge keys, no duplicate keys,
limits on size, depth and nodes. PyYAML does the scanning; the types are ours, because its own are those of
version 1.1 (`no` is False, `010` is 8, `12:30` is 750).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml import events

from mcwbuild.contract.bounds import DOCUMENT_VALUES
from mcwbuild.contract.emit import dump
from mcwbuild.contract.errors import Problem
from mcwbuild.contract.marks import (
    INTEGERS,
    MAX_DEPTH,
    Document,
    Mark,
    Path,
    check_text,
    shown,
    text_problems,
    unreadable,
)

__all__ = ["Document", "dump", "load"]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # six times as fast where libyaml is there
_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_DECIMAL = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")  # 8 or 10? Versions 1.1 and 1.2 read `010` differently
_MAX_DIGITS = 400  # beyond any number that a float can hold


class _Stop(Exception):
    """Reading cannot go on; the problems found so far are all."""


class _Builder:
    """Makes values out of parser events, depth first, and collects what is wrong."""

    def __init__(self, source: Iterator[events.Event], file: str) -> None:
        self.source, self.file = source, file
        self.marks: dict[Path, Mark] = {}
        self.key_marks: dict[Path, Mark] = {}
        self.problems: list[Problem] = []
        self.nodes, self.most = 0, DOCUMENT_VALUES.value

    def complain(self, mark: Mark, message: str, hint: str | None = None) -> None:
        """Note a problem at `mark`; reading goes on."""
        self.problems.append(Problem(message, self.file, *mark, None, hint))

    def value(self, event: events.Event, path: Path) -> Any:
        """The value that begins with this event."""
        mark = _mark(event)
        self.marks[path] = mark
        self.nodes += 1
        if len(path) > MAX_DEPTH or self.nodes > self.most:
            limit = f"{MAX_DEPTH} levels" if len(path) > MAX_DEPTH else f"{self.most} values"
            self.complain(mark, f"the document has more than {limit}")
            raise _Stop
        self._refuse_reference(event, mark)
        if isinstance(event, events.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, events.SequenceStartEvent):
            return self._sequence(path)
        if isinstance(event, events.ScalarEvent):
            return self._scalar(event, mark)
        return None  # an alias, already complained about

    def _refuse_reference(self, event: events.Event, mark: Mark) -> None:
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if isinstance(event, events.AliasEvent):
            self.complain(mark, f"the alias {shown(f'*{anchor}')} is not accepted", "write the value out")
        elif anchor is not None:
            self.complain(mark, f"the anchor {shown(f'&{anchor}')} is not accepted", "write the value where it is used")
        if tag is not None:
            self.complain(mark, f"the tag {shown(tag)} is not accepted", "remove it")

    def _mapping(self, path: Path) -> dict[str, Any]:
        made: dict[str, Any] = {}
        while not isinstance(event := next(self.source), events.MappingEndEvent):
            key = self._key(event)
            value_path = (*path, key)
            if key in made:
                line = self.key_marks[value_path][0]
                self.complain(_mark(event), f"the key {shown(key)} is there twice, first in line {line}", "remove one")
                kept = self.marks, self.key_marks
                self.marks, self.key_marks = {}, {}  # the second value is read for its problems alone
                self.value(next(self.source), value_path)
                self.marks, self.key_marks = kept
                continue
            self.key_marks[value_path] = _mark(event)
            made[key] = self.value(next(self.source), value_path)
        return made

    def _key(self, event: events.Event) -> str:
        """Keys are text, whatever they look like: 0 and "0" are the same key."""
        mark = _mark(event)
        if not isinstance(event, events.ScalarEvent):
            self._refuse_reference(event, mark)
            if not isinstance(event, events.AliasEvent):
                self.complain(mark, "a list or a mapping cannot be a key")
            raise _Stop
        self._refuse_reference(event, mark)
        if event.value == "<<" and not event.style:
            self.complain(mark, "the merge key << is not accepted", "write the keys out")
        self._check_text(event.value, mark)
        return str(event.value)

    def _sequence(self, path: Path) -> list[Any]:
        made: list[Any] = []
        while not isinstance(event := next(self.source), events.SequenceEndEvent):
            made.append(self.value(event, (*path, len(made))))
        return made

    def _scalar(self, event: events.ScalarEvent, mark: Mark) -> Any:
        text = event.value
        if event.style:
            self._check_text(text, mark)
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _LEADING_ZERO.fullmatch(text):
            plain = text.lstrip("+-0") or "0"
            self.complain(
                mark,
                f"{shown(text)} is one number in YAML 1.1 and another in 1.2",
                f'write {plain}, or "{text}" if it is a name',
            )
            return None
        return self._number(text, mark)

    def _number(self, text: str, mark: Mark) -> Any:
        number: int | float
        if len(text) > _MAX_DIGITS:
            return text
        if _DECIMAL.fullmatch(text):
            number = int(text)
        elif _BASED.fullmatch(text):
            number = int(text, 0)
        elif _FLOAT.fullmatch(text):
            number = float(text)
        elif _NOT_FINITE.fullmatch(text):
            number = math.inf
        else:
            return text
        if (isinstance(number, int) and number not in INTEGERS) or not math.isfinite(number):
            self.complain(mark, f"{shown(text)} is not a number that can be kept", "write a finite number, or quote it")
            return None
        return number

    def _check_text(self, text: str, mark: Mark) -> None:
        """Escapes can spell in quotes what the file's own text may not hold."""
        for _, message, hint in text_problems(text):
            self.complain(mark, message, hint)


def _mark(event: events.Event) -> Mark:
    start: Any = event.start_mark
    return start.line + 1, start.column + 1


def load(text: str, file: str) -> Document:
    """The one document in `text`; `file` is its name in messages. Raises InputError with every problem found."""
    document, problems = examine(text, file)
    if problems or document is None:
        raise unreadable(file, problems)
    return document


def examine(text: str, file: str) -> tuple[Document | None, list[Problem]]:
    """The document as far as it can be read, and every problem of its text.

    Of a key that is there twice the first value counts. There is no document where the text is not YAML, is too
    large, or holds characters that are not accepted.
    """
    text = text.removeprefix("\ufeff")  # some editors begin every file with it
    if refused := check_text(text, file):
        return None, refused
    builder = _Builder(yaml.parse(text, Loader=_LOADER), file)
    try:
        value = _whole(builder)
        return Document(value, file, builder.marks, builder.key_marks), builder.problems
    except _Stop:
        pass
    except yaml.MarkedYAMLError as error:
        builder.complain(*_syntax_problem(error, text))
    except yaml.YAMLError as error:
        builder.complain((1, 1), f"this is not YAML: {_one_line(str(error))}")
    return None, builder.problems


def _whole(builder: _Builder) -> Any:
    """The only document of the stream, or None where the stream is empty."""
    value = None
    documents = 0
    for event in builder.source:
        if isinstance(event, events.DocumentStartEvent):
            documents += 1
            if documents > 1:
                builder.complain(_mark(event), "a second document begins here", "keep one document in a file")
                raise _Stop
            if event.version not in (None, (1, 2)) or event.tags:
                builder.complain(_mark(event), "only the directive %YAML 1.2 is accepted", "remove the line with %")
            value = builder.value(next(builder.source), ())
    return value


def _one_line(text: str) -> str:
    return ascii(" ".join(text.split()))[1:-1].replace("\\'", "'")


def _syntax_problem(error: yaml.MarkedYAMLError, text: str) -> tuple[Mark, str, str | None]:
    place: Any = error.problem_mark or error.context_mark
    mark = (place.line + 1, place.column + 1) if place else (1, 1)
    line = (text.split("\n") + [""] * mark[0])[mark[0] - 1].lstrip(" ")
    if line.startswith("\t"):
        return mark, "this is not YAML: the line is indented with a tab", "indent with spaces"
    reason = " ".join(part for part in (error.context, error.problem) if part)
    if "nesting depth" in reason:  # PyYAML 6.0.4 has a limit of its own
        return mark, f"the document has more than {MAX_DEPTH} levels", None
    return (
        mark,
        f"this is not YAML: {_one_line(reason)}",
        "quote the text" if line.startswith(("@", "`", "%")) else None,
    )
