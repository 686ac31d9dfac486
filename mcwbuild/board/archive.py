"""The archive for the board: the same bytes for the same files, and read back as if nobody vouched for it."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from mcwbuild.contract import disk
from mcwbuild.contract.errors import Problem, Refused
from mcwbuild.contract.phases import SUMS

FOLDER = "mcwbuild-board"
_TIME = 1577836800  # 2020-01-01: tar warns of times near 0
_NAME = re.compile(rf"{FOLDER}(/[A-Za-z0-9_][A-Za-z0-9_.-]*){{1,4}}")
_MOST_FILES, _MOST_BYTES = 10_000, 8 << 30


def write(target: Path, files: Mapping[str, bytes | Path]) -> None:
    """Write a .tar.gz with these files below `mcwbuild-board/` and their `SHA256SUMS`. Raises OSError."""
    sums = "".join(f"{_sha256(content)}  {name}\n" for name, content in sorted(files.items()))
    whole: dict[str, bytes | Path] = {**files, SUMS: sums.encode("ascii")}
    partial = target.with_name(f".{target.name}.partial")
    try:
        with (
            partial.open("wb") as file,
            gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            for name, content in sorted(whole.items()):
                _add(archive, f"{FOLDER}/{name}", content)
        disk.sync_tree(partial.parent)
        partial.replace(target)
        disk.sync_folder(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def _sha256(content: bytes | Path) -> str:
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else disk.sha256_of(content)


def _add(archive: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    """Without owner, mode or time of this machine."""
    member = tarfile.TarInfo(name)
    member.mtime, member.mode = _TIME, 0o644
    if isinstance(content, bytes):
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
        return
    with content.open("rb") as file:
        member.size = content.stat().st_size
        archive.addfile(member, file)


def read(file: Path, into: Path) -> Path:
    """Unpack `file` into the folder `into`; gives the folder with its files. Raises Refused, OSError.

    Only regular files with plain names below `mcwbuild-board/` are taken, and `SHA256SUMS` must fit them.
    """
    try:
        with tarfile.open(file, "r:gz") as archive:
            count = size = 0
            for member in archive:
                count, size = count + 1, size + member.size
                if not member.isreg() or not _NAME.fullmatch(member.name):
                    raise _refused(
                        file, f"it holds {ascii(member.name)[:100]}, which `mcwbuild board pack` does not write"
                    )
                if count > _MOST_FILES or size > _MOST_BYTES:
                    raise _refused(file, "it holds too much")
                _take(archive, member, into / member.name)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _refused(file, f"it is damaged: {error}") from error
    folder = into / FOLDER
    sums = folder / SUMS
    listed = (
        [line.partition("  ") for line in sums.read_text("ascii", "replace").splitlines()] if sums.is_file() else []
    )
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {SUMS}
    wrong = [name for digest, _, name in listed if name not in there or disk.sha256_of(folder / name) != digest]
    if wrong or there != {name for _, _, name in listed}:
        raise _refused(file, "its files are not those of its SHA256SUMS")
    return folder


def _take(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    content = archive.extractfile(member)
    assert content is not None
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("xb") as file:
        while chunk := content.read(disk.CHUNK):
            file.write(chunk)


def _refused(file: Path, reason: str) -> Refused:
    return Refused(
        f"{file} is not an archive of `mcwbuild board pack`.",
        f"{reason[0].upper()}{reason[1:]}.",
        "Pack again.",
        kind="archive",
        problems=[Problem(reason, str(file))],
    )
