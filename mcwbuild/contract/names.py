"""Names from outside that documents repeat, of files and of the model: taken as they are, or refused."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from mcwbuild.contract.errors import InputError, Problem
from mcwbuild.contract.marks import shown, text_problems

_NOT_IN_FILE_NAMES = {"\t": "a tab", "\n": "a line break", "\r": "a line break", "\\": "a backslash"}
_NOT_IN_FOLDER_NAMES = re.compile(r"[\x00-\x1f/\\]+")
_FOLDER_BYTES = 120  # of 255: packages' names and staging folders stand below it, not beside it


def file_name_problems(path: Path) -> list[Problem]:
    """Why documents cannot name this file; empty where they can. Its folder does not matter."""
    reasons = [f"{told} is not accepted" for part, told in _NOT_IN_FILE_NAMES.items() if part in path.name]
    reasons += [message for _, message, _ in text_problems(path.name)]
    return [
        Problem(f"{shown(path.name)} cannot be named in documents: {reason}", hint="rename it") for reason in reasons
    ]


def require_file_names(paths: Iterable[Path]) -> None:
    """Raises InputError with every file whose name documents cannot hold."""
    problems = [problem for path in paths for problem in file_name_problems(path)]
    if problems:
        raise InputError(
            "A file's name cannot be written into documents.",
            problems[0].message[0].upper() + problems[0].message[1:] + ".",
            "Rename the file.",
            kind="name",
            problems=problems,
        )


def model_name(text: str, *, given: bool) -> str:
    """The text as the model's name: as it is where somebody wrote it, in normal form C where it was a folder's.

    File systems write names in other normal forms. Raises InputError where documents cannot hold it.
    """
    name = text if given else unicodedata.normalize("NFC", text)
    if reason := next((message for _, message, _ in text_problems(name)), None):
        raise InputError(
            f"{shown(text)} cannot be the model's name.", f"In it {reason}.", "Give --name another one.", kind="name"
        )
    return name


def folder_name(name: str) -> str:
    """The name as that of one folder below the present one, whatever it holds; at most 120 bytes."""
    one = _NOT_IN_FOLDER_NAMES.sub("-", name)
    short = one.encode("utf-8", "surrogateescape")[:_FOLDER_BYTES].decode("utf-8", "ignore").strip()
    return short if short.strip(".") else "model"
