"""The shared folder: files by their SHA-256, written whole, believed only when their hash was seen."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mcwbuild.contract import disk
from mcwbuild.contract.errors import EnvironmentLacking
from mcwbuild.gate import lacking_disk

COPY = "copy"  # an error's kind: a file did not arrive as it was sent
KEPT = 14 * 86400.0  # seconds that an object, or what a killed driver left, is kept after its last use
_Stamp = tuple[int, int, int, int]


@dataclass
class Objects:
    """The files of the folder `shared`; remembers what it has hashed as long as those files stay as they are."""

    shared: Path
    known: dict[_Stamp, str] = field(default_factory=dict)

    def place(self, sha256: str) -> Path:
        """Where the object is or will be."""
        return self.shared / "objects" / sha256[:2] / sha256

    def call(self, call: str) -> Path:
        """The folder of a call's attempts."""
        return self.shared / "calls" / call

    def put(self, path: Path, *, again: bool = False) -> str:
        """The SHA-256 of a file that is in the folder afterwards. `again`: what is there is hashed, not believed.

        Raises EnvironmentLacking (disk).
        """
        try:
            found = path.stat()
            stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            sha256 = self.known.get(stamp) or disk.sha256_of(path)
            if not self._has(sha256, found.st_size, again):
                sha256 = self._store(path, sha256)
            self.known[stamp] = sha256
        except OSError as error:
            raise lacking_disk(self.shared, error) from error
        return sha256

    def put_bytes(self, data: bytes, *, again: bool = False) -> str:
        """The same of bytes."""
        sha256 = hashlib.sha256(data).hexdigest()
        try:
            if not self._has(sha256, len(data), again):
                self.place(sha256).parent.mkdir(parents=True, exist_ok=True)
                disk.write_atomic(self.place(sha256), data)
        except OSError as error:
            raise lacking_disk(self.shared, error) from error
        return sha256

    def _has(self, sha256: str, size: int, again: bool) -> bool:
        """Whether the object is there; it counts as used now."""
        place = self.place(sha256)
        try:
            if place.stat().st_size != size or (again and disk.sha256_of(place) != sha256):
                return False
            os.utime(place)
        except PermissionError:  # another user's: it is there all the same
            return True
        except OSError:
            return False
        return True

    def _store(self, path: Path, sha256: str) -> str:
        """Copies the file in; its hash, which is another one where it changed in the meantime."""
        place = self.place(sha256)
        place.parent.mkdir(parents=True, exist_ok=True)
        private = place.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            seen = copy(path, private)
            with private.open("rb") as file:
                os.fsync(file.fileno())
            place = self.place(seen)
            place.parent.mkdir(parents=True, exist_ok=True)
            private.replace(place)
        finally:
            private.unlink(missing_ok=True)
        return seen

    def sweep(self) -> None:
        """Removes what nobody has used for `KEPT` seconds; a worker that misses an object asks for it again."""
        old = time.time() - KEPT
        for place in (*self.shared.glob("objects/*/*"), *self.shared.glob("calls/*"), *self.shared.glob("probe-*")):
            with suppress(OSError):  # another driver sweeps as well, or it is another user's
                if place.stat().st_mtime < old:
                    disk.remove_tree(place)


def copy(source: Path, target: Path) -> str:
    """Copies a file to the new place `target`; the SHA-256 of what was written. Raises OSError."""
    digest = hashlib.sha256()
    with source.open("rb") as read, target.open("xb", buffering=0) as write:
        while chunk := read.read(disk.CHUNK):
            digest.update(chunk)
            disk.write_all(write.fileno(), chunk)
    return digest.hexdigest()


def take(source: Path, target: Path, sha256: str) -> None:
    """Copies a file of the shared folder to `target`, and removes it again where it is not the one that was meant.

    Raises EnvironmentLacking (kind `copy`; `disk` where this side's disk does not take it).
    """
    try:
        found = copy(source, target) if source.is_file() else "no file"
    except OSError as error:
        raise lacking_disk(target, error) from error
    if found != sha256:
        with suppress(OSError):
            target.unlink()
        raise EnvironmentLacking(
            "A file did not arrive as it was sent.",
            f"{source} should have the SHA-256 {sha256[:12]}, and is {found[:12]}.",
            "Look whether all machines see the same shared folder, and run again.",
            kind=COPY,
        )
