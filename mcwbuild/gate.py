"""The gate between a stage's output folder and a package: what a stage wrote is taken as hostile.

It runs after every process of the stage is gone. Nothing is followed, nothing blocks, nothing is
believed: only regular files with one name each, under the names that the phase declares and within
their budgets, are copied (never linked) into a folder of ours.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from mcwbuild.contract import disk, jsontext
from mcwbuild.contract.bounds import MODEL_BYTES
from mcwbuild.contract.errors import EnvironmentLacking, McwbuildError, Problem, Refused, StageFailed
from mcwbuild.contract.phases import Phase

DOCUMENT_BUDGET = 16 << 20  # bytes: 1000 classes in every metric are 0.5 MB
SHOWN = 20  # problems that are told one by one: a folder may hold a million files
_NO_SURPRISES = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}


def admit(raw: Path, phase: Phase, into: Path, only: Collection[str] = ()) -> None:
    """Copies the stage's output `raw` into the empty folder `into`, files 0644, folder 0755.

    `only` names the files where they are not all those of the phase.

    Raises Refused (links, special files, names that the phase does not declare, files beyond their
    budget), StageFailed (a file is missing, empty, or changes while it is copied) and
    EnvironmentLacking (disk). All findings are in `problems`; `into` is then of no use.
    """
    try:
        folder = os.open(raw, _NO_SURPRISES | getattr(os, "O_DIRECTORY", 0))
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise StageFailed(f"The {phase.name} stage made no package.", kind="no-package") from error
        if error.errno in (errno.EIO, errno.ENOSPC, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
            raise lacking_disk(raw, error) from error
        raise Refused(f"The {phase.name} stage's output is not a folder.", kind="output") from error
    unsafe: list[Problem] = []
    broken: list[Problem] = []
    try:
        names = list(_declared(folder, only or phase.files, unsafe))
        needed = set(only or phase.files) - set(phase.optional)
        broken += [Problem("the stage did not make it", file=name) for name in sorted(needed - set(names))]
        for name in sorted(names):
            try:
                _copy(folder, name, into / name, budget(name, phase))
            except _Unsafe as found:
                unsafe.append(Problem(str(found), file=name))
            except _Changed as found:
                broken.append(Problem(str(found), file=name))
        into.chmod(0o755)
    except OSError as error:
        raise lacking_disk(into, error) from error
    finally:
        os.close(folder)
    if unsafe or broken:
        raise _verdict(phase, unsafe, broken)


def outcome(staging: Path) -> Any:
    """What the stage wrote as its outcome, `result.json`; None where it is no plain file with JSON in it."""
    try:
        number = os.open(staging / "result.json", _NO_SURPRISES)
        with closing(os.fdopen(number, "rb", buffering=0)) as file:
            _require_plain(os.fstat(number), DOCUMENT_BUDGET)
            return jsontext.load_json(file.read(DOCUMENT_BUDGET).decode(), "result.json").value
    except (OSError, UnicodeDecodeError, McwbuildError, _Unsafe):
        return None


def admit_state(raw: Path, into: Path) -> bool:
    """Copies the state that a stopped stage left in the folder `raw` to `into`, whole and durably, 0644; names agree.

    False: there is none, or what is there is no regular file within its budget; `into` is then as it was.
    Raises OSError where the disk does not take it.
    """
    try:
        folder = os.open(raw, _NO_SURPRISES | getattr(os, "O_DIRECTORY", 0))
    except OSError:
        return False
    private = into.with_name(f".{into.name}.admitted")
    try:
        into.parent.mkdir(mode=0o700, exist_ok=True)
        private.unlink(missing_ok=True)
        _copy(folder, into.name, private, MODEL_BYTES.value)
        disk.sync_tree(into.parent)
        private.replace(into)
        disk.sync_folder(into.parent)
    except (_Unsafe, _Changed):
        return False
    finally:
        os.close(folder)
        with suppress(OSError):
            private.unlink()
        with suppress(OSError):  # there is something in it, unless nothing was admitted
            into.parent.rmdir()
    return True


def lacking_disk(place: Path, error: OSError) -> McwbuildError:
    """The error for a disk that does not take what is written to it."""
    return EnvironmentLacking(
        f"{place} cannot be written.",
        f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}.",
        "Free disk space or give --out another folder; nothing half-written was left.",
        kind="disk",
    )


class _Unsafe(Exception):
    """Not a file that may leave the stage."""


class _Changed(Exception):
    """Not a file that is whole."""


def budget(name: str, phase: Phase) -> int:
    """How many bytes a package's file may have."""
    model = name in phase.artefacts and not name.endswith(".py")
    return MODEL_BYTES.value if model else DOCUMENT_BUDGET


def _declared(folder: int, declared: Collection[str], unsafe: list[Problem]) -> Iterator[str]:
    """The names that may be there; every other one becomes a problem."""
    others = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in declared:
                yield entry.name
            elif (others := others + 1) <= SHOWN:
                name = entry.name.encode("utf-8", "surrogateescape").decode("ascii", "backslashreplace")
                unsafe.append(Problem("the phase declares no such file", file=name[:100].replace("\n", "\\n")))
    if others > SHOWN:
        unsafe.append(Problem(f"{others - SHOWN} more names that the phase does not declare"))


def _copy(folder: int, name: str, target: Path, budget: int) -> None:
    try:
        seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError as error:
        raise _Changed("it vanished") from error
    _require_plain(seen, budget)
    try:
        source = os.open(name, _NO_SURPRISES, dir_fd=folder)
    except OSError as error:
        raise _Unsafe(f"it cannot be opened: {error.strerror}") from error
    with closing(os.fdopen(source, "rb", buffering=0)):
        before = os.fstat(source)
        if (before.st_dev, before.st_ino) != (seen.st_dev, seen.st_ino):
            raise _Unsafe("it was exchanged while it was opened")
        _require_plain(before, budget)
        try:
            copied = disk.copy_open(source, target, before.st_size)
        except OSError as error:
            if error.errno == errno.EFBIG:
                raise _Changed("it grew while it was copied") from error
            raise
        after = os.fstat(source)
    if copied != before.st_size or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise _Changed("it changed while it was copied")
    if copied == 0:
        raise _Changed("it is empty")


def _require_plain(found: os.stat_result, budget: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _Unsafe(f"it is {_KINDS.get(stat.S_IFMT(found.st_mode), 'no regular file')}")
    if found.st_nlink != 1:
        raise _Unsafe(f"it has {found.st_nlink} names (hard links)")
    if found.st_size > budget:
        raise _Unsafe(f"it has {found.st_size} bytes, and {budget} are allowed")


def _verdict(phase: Phase, unsafe: list[Problem], broken: list[Problem]) -> McwbuildError:
    if unsafe:
        return Refused(
            f"What the {phase.name} stage wrote is not a {phase.package}.",
            "Nothing of it was taken over.",
            "Do not trust the model that did this; its log is kept.",
            kind="output",
            problems=[*unsafe, *broken],
        )
    return StageFailed(
        f"The {phase.name} stage made no whole package.",
        remedy="Its log is kept.",
        kind="incomplete",
        problems=broken,
    )
