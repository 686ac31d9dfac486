"""Looking at paths that somebody else named: too long, looped or forbidden ones are not there, and raise nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def is_file(path: Path) -> bool:
    """Whether a file that can be looked at lies there."""
    return _seen(path, Path.is_file)


def is_folder(path: Path) -> bool:
    """Whether a folder that can be looked at lies there."""
    return _seen(path, Path.is_dir)


def exists(path: Path) -> bool:
    """Whether anything that can be looked at lies there."""
    return _seen(path, Path.exists)


def real(path: Path) -> Path:
    """The absolute path without symbolic links, as far as they lead anywhere."""
    try:
        return Path(os.path.realpath(path))
    except ValueError:  # text that no file system can hold
        return path.absolute()


def _seen(path: Path, question: Callable[[Path], bool]) -> bool:
    try:
        return question(path)
    except (OSError, ValueError):  # pathlib keeps only a few of the system's refusals to itself
        return False
