"""A model file as it lies on the disk, whatever kind of model it holds."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mcwbuild.contract.bounds import MODEL_BYTES
from mcwbuild.contract.errors import InputError, McwbuildError
from stages.common.checkpoint_machine import Broken
from stages.common.checkpoint_zip import Archive, damaged, open_archive

Parsed = TypeVar("Parsed")

# What a parser of hostile bytes may stumble over; each of these means that the file is damaged.
_STUMBLES = (
    *(Broken, ValueError, TypeError, LookupError, ArithmeticError, AttributeError),
    *(RecursionError, MemoryError, BufferError),
)


@dataclass(frozen=True)
class Contents:
    """A model file as it lies on the disk: its bytes, and its records where it is an archive as PyTorch writes them."""

    path: Path
    raw: bytes
    archive: Archive | None

    @property
    def file(self) -> str:
        """The file's name as it stands in messages."""
        return label(self.path)

    @property
    def sha256(self) -> str:
        """Of the whole file."""
        return hashlib.sha256(self.raw).hexdigest()


def contents(path: str | os.PathLike[str]) -> Contents:
    """What lies at `path`. Raises InputError where it cannot be read or is damaged, Refused where it was changed."""
    path = Path(path)
    raw = read_bytes(path, label(path))
    return Contents(path, raw, open_archive(raw, label(path)) if raw.startswith(b"PK\x03\x04") else None)


def followed(file: str, parse: Callable[[], Parsed]) -> Parsed:
    """The result of `parse`, which follows hostile bytes. Raises InputError for whatever it stumbles over."""
    try:
        return parse()
    except McwbuildError:
        raise
    except Broken as error:
        raise damaged(file, f"Its contents cannot be followed: {error}.") from None
    except _STUMBLES as error:
        raise damaged(file, f"Its contents do not fit together ({type(error).__name__}).") from None


def label(path: Path) -> str:
    """The file's name, its characters that cannot be shown escaped."""
    return path.name if path.name.isprintable() else ascii(path.name)[1:-1]


def read_bytes(path: Path, file: str) -> bytes:
    """All of the file, opened without waiting: a pipe or a device is no checkpoint."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _check_status(os.fstat(descriptor), file)
            with open(descriptor, "rb", closefd=False) as stream:
                return stream.read(MODEL_BYTES.value + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "the name cannot be used"
        raise _unusable(file, f"The system says: {reason}.", "Check the path and its permissions.") from None


def _check_status(status: os.stat_result, file: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise _unusable(file, "It is a folder.", "Name the checkpoint in it, for example best.pt.")
    if not stat.S_ISREG(status.st_mode):
        raise _unusable(file, "It is no regular file.", "Copy the checkpoint to a file first.")
    if status.st_size > MODEL_BYTES.value:
        raise _unusable(
            file, f"It has {status.st_size} bytes.", f"At most {MODEL_BYTES.value} are read ({MODEL_BYTES.variable})."
        )


def _unusable(file: str, found: str, remedy: str) -> InputError:
    return InputError(f"{file} cannot be read as a checkpoint.", found, remedy, kind="unreadable")
