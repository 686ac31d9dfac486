"""The list of models: `models.txt`, a line for each with its own options, or `models.yaml`; what is wrong, at once."""

from __future__ import annotations

import glob
import io
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mcwbuild.contract import documents, look, names, validate
from mcwbuild.contract.errors import InputError, Problem
from mcwbuild.contract.targets import TARGETS
from mcwbuild.options import BY_NAME

KEYS = {"name": "name", "source": "source", "data": "data", "dataset": "dataset", "dtype": "dtype", "target": "target",
        "size": "imgsz"}  # fmt: skip
_MOST = 10_000  # models of one list
CELLS = 256  # of a matrix: GitHub's own limit


@dataclass(frozen=True)
class Listed:
    """One model: its file, what it is called (and its folder's name), its own options by name, where it is listed
    (`file:line`, and the column where its name is from).
    """

    model: Path
    name: str
    own: Mapping[str, str]
    place: str
    column: int = 1

    def builds(self, targets: Sequence[str]) -> list[list[str]]:
        """Its targets, or else `targets`; those that share a build stand together."""
        shared: dict[str, list[str]] = {}
        for target in BY_NAME["target"].parse(self.own["target"]) if "target" in self.own else targets:
            shared.setdefault(TARGETS[target].build, []).append(target)
        return list(shared.values())

    def without(self, name: str) -> Listed:
        """The same without an option of its own."""
        return replace(self, own={key: value for key, value in self.own.items() if key != name})


def read(path: Path) -> tuple[Listed, ...]:
    """Every model of the list. Raises one InputError with everything that is wrong with it."""
    if path.suffix.lower() in (".yaml", ".yml"):
        entries = list(_of_yaml(path))
        problems: list[Problem] = []
    else:
        entries, problems = _of_text(path)
    found: list[Listed] = []
    for entry in entries:
        found += _models(entry, path.parent, problems)
    problems += _twice(found)
    if not found and not problems:
        problems.append(Problem("no model is listed", str(path)))
    if len(found) > _MOST:
        problems.append(Problem(f"{len(found)} models are listed, and {_MOST} are the most", str(path)))
    if problems:
        raise InputError(f"{path} is no usable list of models.", remedy="Correct it.", problems=problems, kind="models")
    return tuple(found)


@dataclass(frozen=True)
class _Entry:
    """A line: the file or pattern, its options, where it stands (line and column), and each option's column."""

    pattern: str
    own: Mapping[str, str]
    file: str
    line: int
    column: int
    places: Mapping[str, tuple[int, int]]  # an option's line and column

    def problem(self, message: str, key: str = "") -> Problem:
        """A problem with the option, or with the file where none is named."""
        return Problem(message, self.file, *self.places.get(key, (self.line, self.column)))


def chosen(listed: tuple[Listed, ...], only: Sequence[str], targets: Sequence[str]) -> tuple[Listed, ...]:
    """The models called as `only` says, all where it says nothing. Raises InputError: unknown names, no target."""
    unknown = sorted(set(only) - {one.name for one in listed})
    if unknown:
        raise InputError(
            f"No model of the list is called {', '.join(unknown)}.",
            f"There are {', '.join(one.name for one in listed)}.",
            "Give --only a name of the list.",
        )
    found = tuple(one for one in listed if not only or one.name in only)
    lacking = [one.place for one in found if not targets and "target" not in one.own]
    if lacking:
        raise InputError(
            "Some models have no target.", f"{', '.join(lacking)}.", "Give --target, or target= in their lines."
        )
    return found


def matrix(listed: Sequence[Listed], targets: Sequence[str]) -> list[dict[str, str]]:
    """A cell for each model and target; targets that share a build are one. Raises InputError: too many."""
    cells = []
    for one in listed:
        cells += [
            {"name": one.name, "folder": names.folder_name(one.name), "target": ",".join(group)}
            for group in one.builds(targets)
        ]
    if len(cells) > CELLS:
        raise InputError(
            f"The matrix would have {len(cells)} cells.",
            f"GitHub takes {CELLS} at most.",
            "Split the list of models, or give fewer targets.",
            kind="matrix",
        )
    return cells


@dataclass(frozen=True)
class _Word:
    """A word without its quotes, and the column where it begins, quotes included."""

    text: str
    column: int


def _of_text(path: Path) -> tuple[list[_Entry], list[Problem]]:
    entries: list[_Entry] = []
    problems: list[Problem] = []
    for number, line in enumerate(documents.read_text(path).splitlines(), 1):
        words, torn = _words(line)
        if torn is not None:
            problems.append(Problem("the quotes do not match: No closing quotation", str(path), number, torn))
            continue
        if not words:
            continue
        own: dict[str, str] = {}
        places: dict[str, tuple[int, int]] = {}
        for word in words[1:]:
            key, _, value = word.text.partition("=")
            if told := _unusable(word.text, own):
                problems.append(Problem(told, str(path), number, word.column))
            else:
                own[key], places[key] = value, (number, word.column)
        entries.append(_Entry(words[0].text, own, str(path), number, words[0].column, places))
    return entries, problems


def _unusable(word: str, own: Mapping[str, str]) -> str | None:
    """Why a word is no further option of the line; None where it is one."""
    key, equals, value = word.partition("=")
    if not equals:
        return f"{word} is no key=value (quote a path with spaces)"
    if key not in KEYS:
        return f"{key} is no key of a model: there are {', '.join(KEYS)}"
    if not value:
        return f"{key} is given no value"
    return f"{key} is given twice" if key in own else None


def _words(line: str) -> tuple[list[_Word], int | None]:
    """The line's words, and the column of one whose quotes are open; a `#` begins a remark only where a word would."""
    stream = io.StringIO(line)
    lexer = shlex.shlex(stream, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[_Word] = []
    while True:
        rest = line[stream.tell() :].lstrip()
        column = len(line) - len(rest) + 1
        if rest.startswith("#"):
            return words, None
        try:
            text = lexer.get_token()
        except ValueError:  # the end of the line inside of quotes, or behind a backslash
            return words, column
        if text is None:
            return words, None
        words.append(_Word(text, column))


def _of_yaml(path: Path) -> Iterator[_Entry]:
    document = documents.read_yaml(path)
    validate.require(document, "models")
    for number, item in enumerate(document.value["models"]):
        line, column = (place or 1 for place in document.place(("models", number))[:2])
        if isinstance(item, str):
            yield _Entry(item, {}, str(path), line, column, {})
            continue
        own = {key: _text(value) for key, value in item.items() if key != "path"}
        found = {key: document.place(("models", number, key)) for key in own}
        places = {key: (place[0] or line, place[1] or column) for key, place in found.items()}
        yield _Entry(item["path"], own, str(path), line, column, places)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _models(entry: _Entry, folder: Path, problems: list[Problem]) -> Iterator[Listed]:
    """The models that an entry means, and what is wrong with it."""
    own = {}
    for key, value in entry.own.items():
        option = BY_NAME[KEYS[key]]
        given = str(folder / value) if option.is_path else value
        try:
            option.parse(given)
        except (ValueError, TypeError) as error:
            problems.append(entry.problem(f"{key}: {error}", key))
            continue
        if option.is_path and not os.path.lexists(given):
            problems.append(entry.problem(f"{key}: there is no {given}", key))
        own[option.name] = given
    files = _files(entry.pattern, folder)
    if not files:
        problems.append(entry.problem(f"no file is called {entry.pattern}"))
    if len(files) > 1 and "name" in own:
        problems.append(entry.problem(f"name is given to {len(files)} files", "name"))
    for file in files:
        try:
            name = names.model_name(own.get("name") or _name(file), given="name" in own)
        except InputError as error:
            problems.append(entry.problem(f"{error.what} {error.found}".strip(), "name"))
            continue
        _line, column = entry.places.get("name", (entry.line, entry.column))
        yield Listed(file, name, {**own, "name": name}, f"{entry.file}:{entry.line}", column)


def _files(pattern: str, folder: Path) -> list[Path]:
    there = folder / pattern
    if look.is_file(there):
        return [there]
    if not glob.has_magic(pattern):
        return []
    base = Path(there.anchor) if Path(pattern).is_absolute() else folder
    return sorted(file for file in base.glob(pattern.removeprefix(there.anchor or "/")) if look.is_file(file))


def _name(file: Path) -> str:
    """`best.pt` is called as its folder is (`train` of train/weights/best.pt), any other file as itself."""
    if file.stem not in ("best", "last"):
        return file.stem
    folder = file.absolute().parent
    return (folder.parent if folder.name == "weights" else folder).name or file.stem


def _twice(found: list[Listed]) -> Iterator[Problem]:
    """Models whose packages would lie in one folder."""
    first: dict[str, Listed] = {}
    for one in found:
        other = first.setdefault(names.folder_name(one.name), one)
        if other is not one:
            file, _, line = one.place.rpartition(":")
            told = f"the name {one.name} is taken by {other.model} (line {other.place.rpartition(':')[2]}); add name="
            yield Problem(told, file, int(line), one.column)
