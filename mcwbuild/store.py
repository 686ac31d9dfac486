"""Packages that were made once, by their keys: another output folder, target or clone takes them from here.

`<cache>/store/packages/<key>/` is a whole package with its SHA256SUMS. It appears by one rename, is held against its
hashes whenever it is taken, and is copied, never linked: what somebody does to a package does nothing to the store.
What does not hold is put aside (`damaged/`), and made again. Entries that were not taken for longest go first.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mcwbuild import freshness, inspection
from mcwbuild.contract import disk
from mcwbuild.contract.events import Emit, Noted
from mcwbuild.contract.phases import Phase

if TYPE_CHECKING:
    from filelock import BaseFileLock

_FICLONE = 0x40049409  # linux/fs.h: the copy shares its blocks until one side is written
_WAIT = 10.0  # seconds for another run that puts something in or takes something out


@dataclass(frozen=True)
class Entry:
    """A package of the store: its key, its size in bytes, when it was last taken (seconds of the epoch)."""

    key: str
    folder: Path
    size: int
    used: float


@dataclass(frozen=True)
class Store:
    """The store in `folder`, of at most `limit` bytes."""

    folder: Path
    limit: int

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and (self._packages / key).is_dir()

    @property
    def _packages(self) -> Path:
        return self.folder / "packages"

    @property
    def damaged(self) -> Path:
        """Where entries are put that do not hold what they were."""
        return self.folder / "damaged"

    def take(self, key: str, phase: Phase, into: Path, emit: Emit) -> bool:
        """Copy the package of this key into the empty folder `into`. False where there is none that holds.

        One that does not hold is put aside and told. Nothing is raised for what is wrong with the store: then the
        package is made.
        """
        entry = self._packages / key
        if not entry.is_dir():
            return False
        try:
            for file in sorted(entry.iterdir()):
                _copy(file, into / file.name)
        except OSError:  # it was just removed by another run, or cannot be read
            _empty(into)
            return False
        if freshness.is_fresh(into, key) and not inspection.inspect(into, phase):
            with suppress(OSError):
                os.utime(entry)
            return True
        _empty(into)
        self._put_aside(entry)
        emit(Noted(f"The store's {phase.name} package {key[:12]} was damaged: put aside, and made again.", "warning"))
        return False

    def put(self, key: str, package: Path) -> None:
        """Keep a copy of a published package, and let go what exceeds the limit. Does nothing where it cannot."""
        target = self._packages / key
        if target.exists():
            return
        partial = self.folder / f".tmp-{secrets.token_hex(8)}"
        try:
            partial.mkdir(parents=True)
            for file in sorted(package.iterdir()):
                _copy(file, partial / file.name)
            if not freshness.is_fresh(partial, key):  # somebody changed the package meanwhile
                return
            self._packages.mkdir(exist_ok=True)
            with self._lock():  # nothing is synced: what a power cut tears is noticed by its hashes
                if not target.exists():
                    partial.rename(target)
                self._evict()
        except (OSError, TimeoutError):  # a full disk, a store of somebody else's: the run does not need it
            return
        finally:
            with suppress(OSError):
                disk.remove_tree(partial)

    def entries(self) -> list[Entry]:
        """Every package, the one that was not taken for longest first."""
        found = []
        for folder in _folders(self._packages):
            with suppress(OSError):
                size = sum(file.stat().st_size for file in folder.iterdir())
                found.append(Entry(folder.name, folder, size, folder.stat().st_mtime))
        return sorted(found, key=lambda entry: entry.used)

    def leftovers(self) -> list[Path]:
        """What is of no use: damaged entries, and what killed runs left."""
        return [*_folders(self.damaged), *(path for path in _folders(self.folder) if path.name.startswith(".tmp-"))]

    def remove(self, folders: list[Path]) -> None:
        """Remove entries or leftovers, each at once by its name. Raises OSError."""
        with self._lock():
            for folder in folders:
                self._drop(folder)

    def _evict(self) -> None:
        entries = self.entries()
        size = sum(entry.size for entry in entries)
        for entry in entries[:-1]:  # the newest one stays, however large it is
            if size <= self.limit:
                return
            self._drop(entry.folder)
            size -= entry.size

    def _drop(self, folder: Path) -> None:
        """Gone by its name first, so that nobody takes half of it."""
        gone = self.folder / f".tmp-{secrets.token_hex(8)}"
        folder.rename(gone)
        disk.remove_tree(gone)

    def _put_aside(self, entry: Path) -> None:
        with suppress(OSError):
            self.damaged.mkdir(exist_ok=True)
            entry.rename(self.damaged / f"{entry.name}-{secrets.token_hex(4)}")

    def _lock(self) -> BaseFileLock:
        """The kernel lets go of it when its owner dies."""
        from filelock import FileLock

        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / ".lock", timeout=_WAIT)


def _copy(source: Path, target: Path) -> None:
    """A copy of one regular file with blocks of its own, or shared ones that part when written. Raises OSError."""
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as read, target.open("xb") as write:
        try:
            fcntl.ioctl(write, _FICLONE, read.fileno())
        except OSError:  # the file system cannot
            shutil.copyfileobj(read, write, 1 << 20)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _folders(place: Path) -> Iterator[Path]:
    try:
        yield from sorted(path for path in place.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return
