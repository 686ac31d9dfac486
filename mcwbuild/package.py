"""How packages appear: whole, durable, and one run at a time in one output folder.

Private staging on the same file system; the stage gone; its output gated and copied; every file and
folder synced; hashes read back; names exchanged in one step; the parent synced; only then reported.
What a killed run left is put right by the next one, under the lock.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from mcwbuild.contract import disk, documents, manifest
from mcwbuild.contract.errors import EnvironmentLacking, InputError, Problem, Refused
from mcwbuild.contract.phases import PHASES, SUMS, Phase
from mcwbuild.contract.resumable import KINDS, Resumable
from mcwbuild.gate import admit_state, lacking_disk

if TYPE_CHECKING:
    from filelock import BaseFileLock

PATIENCE = 5.0  # seconds for another run that is about to end
LOGS = "logs"
_STAGING = re.compile(r"\.tmp-mcwbuild-[a-z]+-[0-9a-f]{8}|\.\.lock-holder\.[0-9a-f]{8}\.tmp")  # the latter half-written
_PARKED = re.compile(rf"\.old-({'|'.join(phase.package for phase in PHASES.values())})-[0-9a-f]{{8}}")


class Workspace:
    """One output folder, held by this run alone: `with Workspace(out) as workspace: ...`."""

    def __init__(self, out: Path, patience: float = PATIENCE) -> None:
        self.out = out
        self._patience = patience
        self._lock: BaseFileLock | None = None
        self._made: list[Path] = []

    def __enter__(self) -> Workspace:
        """Takes the lock and puts right what a killed run left. Raises EnvironmentLacking, InputError."""
        from filelock import FileLock, Timeout

        documents.make_folder(self.out)
        lock = FileLock(self.out / ".lock")
        try:
            lock.acquire(timeout=self._patience)
        except Timeout as error:
            raise EnvironmentLacking(
                f"Another run of mcwbuild is at work in {self.out}.",
                f"It is {_holder(self.out)}.",
                "Wait for its end, or give --out another folder.",
                kind="locked",
            ) from error
        except OSError as error:
            raise lacking_disk(self.out, error) from error
        self._lock = lock
        try:
            me = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
            disk.write_atomic(self.out / ".lock-holder", json.dumps(me).encode())
            recover(self.out)
        except OSError as error:
            self.__exit__(None, None, None)
            raise lacking_disk(self.out, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Removes the staging folders and lets go of the lock, however the run ended."""
        for left in self._made:
            with suppress(OSError):  # the next run's recovery tries again
                _discard(left)
            if left.parent != self.out.absolute():
                with suppress(OSError):  # it holds a package, as a rule
                    left.parent.rmdir()
        self._made.clear()
        with suppress(OSError):
            (self.out / ".lock-holder").unlink()
        if self._lock is not None:
            with suppress(OSError):  # the process's end frees it too
                self._lock.release()
            self._lock = None

    def staging(self, phase: Phase, beside: Path | None = None) -> Path:
        """A new private folder in `beside`, a package's folder, or in the output's; removed when the workspace is left.

        Steps that run at the same time have a folder each, so that none takes another's state for its own.
        """
        parent = self._beside(beside)
        folder = parent / f".tmp-mcwbuild-{phase.name}-{secrets.token_hex(4)}"
        try:
            parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise lacking_disk(self.out, error) from error
        self._made.append(folder)
        return folder

    def _beside(self, beside: Path | None) -> Path:
        return (self.out if beside is None else beside).absolute()

    def state(self, kind: Resumable, beside: Path | None = None) -> Path | None:
        """The state of work that an earlier run did not end, if there is one; `beside` as for `staging`."""
        state = self._beside(beside) / kind.folder / kind.file
        return state if state.is_file() and not state.is_symlink() else None

    def forget(self, kind: Resumable, beside: Path | None = None) -> None:
        """The state is of no use any more: the package is there, or the work shall begin anew."""
        own = self._beside(beside)
        staged = [left / kind.staged for left in list(self._made) if left.parent == own]
        for folder in (*staged, own / kind.folder):
            with suppress(OSError):  # it costs space, and the next run begins anew over it
                disk.remove_tree(folder)

    def log(self, step: str) -> Path:
        """The log file of a step; it stays, whatever becomes of the step."""
        return self.out.absolute() / LOGS / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', step)}.log"


def _holder(out: Path) -> str:
    """The run that has the lock, as far as it could say."""
    try:
        told = json.loads((out / ".lock-holder").read_text("utf-8"))
        return f"process {told['pid']} on {told['host']}, since {told['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that has not given its number"


def recover(out: Path) -> None:
    """Puts right what a killed run left in `out`: staging is removed, a parked old package goes back.

    The lock is held. Afterwards each package is the old one or the new one, whole, and the state of long work is
    kept. Raises OSError where a parked package cannot be put back; other leftovers that cannot be removed stay.
    """
    for parked in _parked(out):
        target = disk.parked_target(parked)
        if os.path.lexists(target):
            with suppress(OSError):
                disk.remove_tree(parked)
        else:
            parked.rename(target)
            disk.sync_folder(target.parent)
    for left in [*out.iterdir(), *out.glob("*/.tmp-mcwbuild-*")]:
        if _STAGING.fullmatch(left.name):
            with suppress(OSError):
                _discard(left)


def _discard(staging: Path) -> None:
    """Removes a staging folder; the state of long work in it is kept. Raises OSError: then the folder stays."""
    for kind in KINDS:
        if not staging.name.startswith(f".tmp-mcwbuild-{kind.phase}-"):
            continue  # a stage has no say in another phase's work
        admit_state(staging / kind.staged, staging.parent / kind.folder / kind.file)
    disk.remove_tree(staging)


def _parked(out: Path) -> Iterator[Path]:
    """Packages under their parking name, in `out` and in the targets' folders below it."""
    found = [*out.glob(".old-*"), *out.glob("*/.old-*")]
    return (path for path in sorted(found) if _PARKED.fullmatch(path.name))


def foreign_files(target: Path) -> list[str]:
    """Names at `target` that mcwbuild did not publish: what a person put there must not vanish with the old package."""
    if not os.path.lexists(target):
        return []
    if target.is_symlink() or not target.is_dir():
        return ["."]
    sums = target / SUMS
    try:
        lines = sums.read_text("utf-8", "replace").splitlines() if sums.is_file() else []
    except OSError:
        lines = []
    ours = {line.partition("  ")[2] for line in lines} | ({SUMS} if lines else set())
    return sorted({path.name for path in target.iterdir()} - ours)


def require_own(target: Path) -> None:
    """Raises InputError where `target` holds files that are not of a published package: they would be lost."""
    if foreign := foreign_files(target):
        raise InputError(
            f"{target} holds files that mcwbuild did not publish; they would be lost.",
            remedy="Move them, or give --out another folder.",
            kind="foreign",
            problems=[Problem("this is not part of a published package", file=str(target / name)) for name in foreign],
        )


def publish(package: Path, target: Path) -> None:
    """Puts the finished `package` (with its SHA256SUMS) at `target`, in place of an older one, durably.

    When it returns, the package is on disk, whole, under its name. When it raises or the machine stops,
    `target` is as it was, or is the new package. Raises InputError (something of the user's is at
    `target`), Refused (the files are not those that were hashed), EnvironmentLacking (disk).
    """
    require_own(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        disk.sync_folder(target.parent.parent)
        disk.sync_tree(package)
        if wrong := manifest.verify(package):
            raise Refused(f"{package.name} changed before it was published.", kind="hash", problems=wrong)
        replaced = disk.exchange(package, target)
    except OSError as error:
        raise lacking_disk(target, error) from error
    if replaced:
        with suppress(OSError):  # the package is there; what is left is swept by the next run
            disk.remove_tree(package)
