"""What in mcwbuild's cache is of no use any more."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mcwbuild.contract import disk
from mcwbuild.contract.phases import PHASES
from mcwbuild.engines import code, environments
from mcwbuild.engines.locks import Locks
from mcwbuild.store import Entry, Store


@dataclass(frozen=True)
class Useless:
    """A folder that may go: what it is, and its size in bytes."""

    what: str
    path: Path
    size: int


def kept(store: Store) -> list[Entry]:
    """The packages that the store holds."""
    return store.entries()


def useless(store: Store, *, everything: bool) -> list[Useless]:
    """What may go: leftovers, what other versions of mcwbuild made; with `everything` all that can be made again."""
    found = [Useless("leftover of the store", path, _size(path)) for path in store.leftovers()]
    if everything:
        found += [Useless("package of the store", entry.folder, entry.size) for entry in store.entries()]
    return found + list(_of_other_versions(environments.cache_folder(), everything))


def _of_other_versions(cache: Path, everything: bool) -> Iterator[Useless]:
    own = {Locks(phase, build).name for phase in PHASES.values() for build in ("cpu", "cuda")}
    for folder in _folders(cache / "environments"):
        if everything or folder.name not in own:
            yield Useless("environment" if folder.name in own else "environment of other locks", folder, _size(folder))
    present = code.sha256()
    for folder in _folders(cache / "code"):
        if not present.startswith(folder.name):
            yield Useless("code of another version", folder, _size(folder))


def remove(store: Store, found: Sequence[Useless]) -> None:
    """Remove them; those of the store under its lock. Raises OSError."""
    inside = [one.path for one in found if store.folder in one.path.parents]
    if inside:
        store.remove(inside)
    for one in found:
        if store.folder not in one.path.parents:
            disk.remove_tree(one.path)


def _size(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total


def _folders(place: Path) -> list[Path]:
    try:
        return sorted(path for path in place.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return []
