"""The build context: a tar stream of exactly the files that a recipe names, made while it is sent."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

_CHUNK = 1 << 20  # bytes
_BLOCK = tarfile.BLOCKSIZE
# One time and one mode for all files: what the checkout's umask and clock were is no reason to build again. An ordinary
# checkout has these modes: what `docker build .` has made of it is taken from the cache, and the other way round.
_MTIME, _MODE, _FOLDER_MODE = 315532800, 0o644, 0o755  # 1980-01-01, the oldest that zip files know


def size(files: Mapping[str, Path | bytes]) -> int:
    """Bytes of the contents of all files."""
    return sum(len(held) if isinstance(held, bytes) else held.stat().st_size for held in files.values())


def stream(files: Mapping[str, Path | bytes], sent: Callable[[int], object] = bool) -> Iterator[bytes]:
    """The tar, in pieces; `sent` gets the bytes of contents so far. Raises OSError.

    `files` is place in the context -> file, or its contents. Links are followed; owner, time and mode are constant.
    """
    done = 0
    for folder in sorted({folder for place in files for folder in PurePosixPath(place).parents} - {PurePosixPath()}):
        info = tarfile.TarInfo(str(folder))
        info.type, info.mtime, info.mode = tarfile.DIRTYPE, _MTIME, _FOLDER_MODE
        yield info.tobuf(tarfile.PAX_FORMAT)
    for place, held in sorted(files.items()):
        info = tarfile.TarInfo(place)
        info.size = len(held) if isinstance(held, bytes) else held.stat().st_size
        info.mtime, info.mode = _MTIME, _MODE
        yield info.tobuf(tarfile.PAX_FORMAT)
        for chunk in [held] if isinstance(held, bytes) else _chunks(held, info.size):
            yield chunk
            done += len(chunk)
            sent(done)
        yield bytes(-info.size % _BLOCK)
    yield bytes(2 * _BLOCK)


def _chunks(path: Path, wanted: int) -> Iterator[bytes]:
    left = wanted
    with path.open("rb") as file:
        while left and (chunk := file.read(min(_CHUNK, left))):
            left -= len(chunk)
            yield chunk
    if left:
        raise OSError(f"{path} became shorter while it was read")
