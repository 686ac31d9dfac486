"""A document together with where each of its values stands, and which text is accepted at all."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeAlias

from mcwbuild.contract.bounds import DOCUMENT_BYTES
from mcwbuild.contract.errors import InputError, Problem

Path: TypeAlias = tuple[str | int, ...]
Mark: TypeAlias = tuple[int, int]  # line and column, both from 1

MAX_DEPTH = 20
INTEGERS = range(-(2**63), 2**64)  # what other readers of YAML and JSON keep exactly

MAX_PLACES = 20  # hostile characters told of one file: a binary file has thousands

_WHITE_SPACE = "\t\n\r"
_UNUSUAL = re.compile(r"[^\t\n\r -~]")
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True)
class Document:
    """The value of a document, the file it came from, and the place of every value and key in it."""

    value: Any
    file: str
    marks: Mapping[Path, Mark] = field(default_factory=dict, repr=False)
    key_marks: Mapping[Path, Mark] = field(default_factory=dict, repr=False)

    def place(self, path: Path) -> Mark | tuple[None, None]:
        """Line and column of the value at `path`, else of the nearest parent that has a place."""
        return next((self.marks[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.marks), (None, None))

    def key_place(self, path: Path) -> Mark | tuple[None, None]:
        """Line and column of the key that leads to `path`; of the value where there is no key."""
        return self.key_marks.get(path) or self.place(path)

    def problem(self, path: Path, message: str, hint: str | None = None, *, at_key: bool = False) -> Problem:
        """A problem at `path` in this document."""
        line, column = self.key_place(path) if at_key else self.place(path)
        return Problem(message, self.file, line, column, path_text(path), hint)


def path_text(path: Path) -> str:
    """The path as people read it: `$.preprocessing.normalize.mean[0]`."""
    parts = []
    for part in path:
        if isinstance(part, int):
            parts.append(f"[{part}]")
        else:
            plain = part.isascii() and part.replace("-", "_").isidentifier()
            parts.append(f".{part}" if plain else f"[{shown(part)}]")
    return "$" + "".join(parts)


def shown(text: str, limit: int = 60) -> str:
    """The text in quotes, ASCII, shortened: safe in a terminal and in a log, whatever it holds."""
    whole = ascii(text if len(text) <= limit else text[:limit] + "...")
    return '"' + whole[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'


def hostile(character: str) -> str | None:
    """Why this character is refused, or None.

    Control characters and line separators are read differently by different libraries, and reordering
    marks show people another text than the one that is there.
    """
    category = unicodedata.category(character)
    code = f"U+{ord(character):04X}"
    if character in _WHITE_SPACE:
        return None
    if character in _REORDERING:
        return f"{code}, which changes the direction of the text around it,"
    if category in ("Cc", "Zl", "Zp") or character == "\ufeff":
        return f"the control character {code}"
    if category == "Cs" or ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF:
        return f"{code}, which is not a character,"
    return None


def text_problems(text: str) -> Iterator[tuple[int, str, str]]:
    """Every refused place in a text: its index, what is there, what to do."""
    for found in _UNUSUAL.finditer(text):
        if reason := hostile(found.group()):
            yield found.start(), f"{reason} is not accepted", "remove it"
    if not text.isascii() and not unicodedata.is_normalized("NFC", text):
        normal = unicodedata.normalize("NFC", text)
        index = next((i for i, (a, b) in enumerate(zip(text, normal, strict=False)) if a != b), 0)
        yield index, "this text is not in Unicode's normal form C, so that equal names may differ", "save it as NFC"


def check_text(text: str, file: str) -> list[Problem]:
    """Why a file's text is refused as it is: too large, or characters that are not accepted, with their places."""
    most = DOCUMENT_BYTES.value
    if len(text.encode("utf-8", "surrogatepass")) > most:
        return [Problem(f"the file is larger than {most // 1000} kB", file)]
    problems = []
    for index, message, hint in islice(text_problems(text), MAX_PLACES):
        line, column = mark_of(text, index)
        problems.append(Problem(message, file, line, column, None, hint))
    return problems


def mark_of(text: str, index: int) -> Mark:
    """Line and column, from 1, of a character's index."""
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def unreadable(file: str, problems: list[Problem]) -> InputError:
    """The error for a document that could not be read."""
    count = f"{len(problems)} problems" if len(problems) != 1 else "1 problem"
    found = f"{count} found."
    return InputError(f"{file} cannot be read.", found, "Correct the file.", kind="document", problems=problems)
