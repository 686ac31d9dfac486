"""Looking at paths that somebody else named: too long, looped or forbidden ones are not there, and raise nothing."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def is_file(path: Path) -> bool:
    """Whether a file that can be looked at lies there."""
    return _seen(path, Path.is_file)


def is_folder(path: Path) -> bool:
    """Whether a folder that can be looked at lies there."""
    return _seen(path, Path.is_dir)


def exists(path: Path) -> bool:
    """Whether anything that can be looked at lies there."""
    return _seen(path, Path.exists)


def is_special(path: Path) -> bool:
    """Whether a pipe, a socket or a device lies there: reading it may wait for ever, or never end."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def opened(path: Path) -> BinaryIO:
    """The regular file at `path`, open for reading; a pipe is not waited for. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, os.strerror(number) if stat.S_ISDIR(mode) else "it is no regular file", str(path))
    return os.fdopen(descriptor, "rb")


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
