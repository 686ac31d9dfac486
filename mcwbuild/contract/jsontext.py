"""JSON read strictly, with the place of every value kept. The same limits as for YAML."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]  # not in the stubs
from typing import Any

from mcwbuild.contract.bounds import DOCUMENT_VALUES
from mcwbuild.contract.errors import Problem
from mcwbuild.contract.marks import (
    INTEGERS,
    MAX_DEPTH,
    Document,
    Mark,
    Path,
    check_text,
    mark_of,
    shown,
    text_problems,
    unreadable,
)

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORD = re.compile(r"[-+]?[A-Za-z]+")
_CONSTANTS = {"true": True, "false": False, "null": None}
_MAX_DIGITS = 400


class _Reader:
    """One pass over the text; `at` is the index of the next character."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file, self.at = text, file, 0
        self.starts = [0, *(found.end() for found in re.finditer("\n", text))]  # of the lines
        self.marks: dict[Path, Mark] = {}
        self.key_marks: dict[Path, Mark] = {}
        self.problems: list[Problem] = []
        self.nodes, self.most = 0, DOCUMENT_VALUES.value

    def mark(self) -> Mark:
        """Where the next character stands."""
        line = bisect_right(self.starts, self.at)
        return line, self.at - self.starts[line - 1] + 1

    def peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        space = _SPACE.match(self.text, self.at)
        self.at = space.end() if space else self.at
        return self.text[self.at : self.at + 1]

    def take(self, expected: str) -> None:
        """Step over one character. Raises JSONDecodeError where another one is next."""
        if self.peek() != expected:
            raise JSONDecodeError(f"expected {expected}", self.text, self.at)
        self.at += 1

    def complain(self, mark: Mark, message: str, hint: str | None = None) -> None:
        """Note a problem at `mark`; reading goes on."""
        self.problems.append(Problem(message, self.file, *mark, None, hint))

    def value(self, path: Path) -> Any:
        """The value that begins here."""
        start = self.peek()
        mark = self.marks[path] = self.mark()
        self.nodes += 1
        if len(path) > MAX_DEPTH or self.nodes > self.most:
            raise JSONDecodeError("the document is nested too deep or holds too many values", self.text, self.at)
        if start == "{":
            return self.mapping(path)
        if start == "[":
            return self.sequence(path)
        return self.string(mark) if start == '"' else self.scalar(mark)

    def mapping(self, path: Path) -> dict[str, Any]:
        """The mapping that begins here; of a key that is there twice the first value counts."""
        made: dict[str, Any] = {}
        self.take("{")
        if self.peek() == "}":
            self.at += 1
            return made
        while True:
            if self.peek() != '"':
                raise JSONDecodeError('expected a key in "', self.text, self.at)
            mark = self.mark()
            key = self.string(mark)
            self.take(":")
            below = (*path, key)
            if key in made:
                line = self.key_marks[below][0]
                self.complain(mark, f"the key {shown(key)} is there twice, first in line {line}", "remove one")
            else:
                self.key_marks[below] = mark
            value = self.value(below)
            made.setdefault(key, value)
            if self.peek() != ",":
                break
            self.at += 1
        self.take("}")
        return made

    def sequence(self, path: Path) -> list[Any]:
        """The list that begins here."""
        made: list[Any] = []
        self.take("[")
        if self.peek() == "]":
            self.at += 1
            return made
        while True:
            made.append(self.value((*path, len(made))))
            if self.peek() != ",":
                break
            self.at += 1
        self.take("]")
        return made

    def string(self, mark: Mark) -> str:
        """The text that begins here, with its escapes resolved."""
        value, self.at = scanstring(self.text, self.at + 1, True)
        for _, message, hint in text_problems(value):
            self.complain(mark, message, hint)
        return str(value)

    def scalar(self, mark: Mark) -> Any:
        """The number or constant that begins here."""
        word = _WORD.match(self.text, self.at)
        number = _NUMBER.match(self.text, self.at)
        if word and word.group() in _CONSTANTS:
            self.at = word.end()
            return _CONSTANTS[word.group()]
        if word and word.group().lstrip("-+") in ("NaN", "Infinity"):
            self.at = word.end()
            self.complain(mark, f"{word.group()} is not a number that can be kept", "write null and the reason")
            return None
        if not number:
            raise JSONDecodeError("expected a value", self.text, self.at)
        self.at = number.end()
        return self.number(number, mark)

    def number(self, found: re.Match[str], mark: Mark) -> Any:
        """The number, or None where it cannot be kept."""
        text = found.group()
        whole = not (found.group(2) or found.group(3))
        value = (int(text) if whole else float(text)) if len(text) <= _MAX_DIGITS else math.inf
        # A float is never looked for among INTEGERS: Python would walk through all of them.
        kept = value in INTEGERS if isinstance(value, int) else math.isfinite(value)
        if not kept:
            self.complain(mark, f"{shown(text)} is not a number that can be kept", "write a finite number")
            return None
        return value


def load_json(text: str, file: str) -> Document:
    """The JSON document in `text`. Raises InputError with every problem found."""
    document, problems = examine_json(text, file)
    if problems or document is None:
        raise unreadable(file, problems)
    return document


def examine_json(text: str, file: str) -> tuple[Document | None, list[Problem]]:
    """The document as far as it can be read, and every problem of its text; as `yaml.examine`."""
    text = text.removeprefix("\ufeff")
    if refused := check_text(text, file):
        return None, refused
    reader = _Reader(text, file)
    try:
        value = reader.value(())
        if reader.peek():
            raise JSONDecodeError("expected the end of the document", text, reader.at)
        return Document(value, file, reader.marks, reader.key_marks), reader.problems
    except JSONDecodeError as error:
        reader.complain(mark_of(text, error.pos), f"this is not JSON: {error.msg}")
        return None, reader.problems
