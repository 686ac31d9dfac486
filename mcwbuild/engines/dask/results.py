"""What an attempt made: from the worker's scratch folder through the shared folder into the call's staging folder.

A stage is hostile until the gate has looked at what it wrote, so the worker follows no link of it and reads no
special file: where a stage left one, the driver puts something in its place that the gate refuses.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from mcwbuild.contract import disk, resumable
from mcwbuild.contract.bounds import MODEL_BYTES
from mcwbuild.contract.errors import McwbuildError, Refused
from mcwbuild.contract.phases import Phase
from mcwbuild.engines.dask.objects import take
from mcwbuild.engines.dask.order import Kept, Odd, Report
from mcwbuild.engines.dask.voice import without
from mcwbuild.gate import lacking_disk

REPORT, LOG, OUTCOME, OUT = "report.json", "log", "result.json", "out"
OTHERS = 50  # names that the phase does not declare: one is enough for the gate to refuse all
_NO_SURPRISES = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


def keep(staging: Path, log: Path, phase: Phase, attempt: Path) -> tuple[tuple[Kept, ...], tuple[Odd, ...]]:
    """Copies what the stage left in `staging`, and its log, into the folder `attempt`. Raises OSError."""
    kept: list[Kept] = []
    odd: list[Odd] = []
    for place, path in (*_places(staging, phase, odd), (LOG, log)):
        name = str(len(kept))
        found = _copied(path, attempt / name)
        if isinstance(found, str):
            kept.append(Kept(place, name, found))
        elif found is not None:
            odd.append(Odd(place, *found))
    return tuple(kept), tuple(odd)


def _places(staging: Path, phase: Phase, odd: list[Odd]) -> Iterator[tuple[str, Path]]:
    """What is looked at: the outcome, the output's files, the state of long work."""
    yield OUTCOME, staging / OUTCOME
    out = staging / OUT
    if out.is_symlink() or not out.is_dir():
        if os.path.lexists(out):
            odd.append(Odd(OUT, "link" if out.is_symlink() else "other"))
    else:
        others = 0
        with os.scandir(out) as entries:
            for entry in entries:
                others += entry.name not in phase.files
                if entry.name in phase.files or others <= OTHERS:
                    yield f"{OUT}/{entry.name}", Path(entry.path)
        odd.append(Odd(OUT, "folder"))
    for kind in resumable.KINDS:
        folder = staging / kind.staged
        if folder.is_dir() and not folder.is_symlink():
            yield f"{kind.staged}/{kind.file}", folder / kind.file


def _copied(path: Path, target: Path) -> str | tuple[str, int] | None:
    """The SHA-256 of what was copied; what it is instead of a file; None where nothing is there."""
    try:
        descriptor = os.open(path, _NO_SURPRISES)
    except FileNotFoundError:
        return None
    except OSError:
        return ("link" if path.is_symlink() else "other"), 0
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            return "other", 0
        if found.st_size > MODEL_BYTES.value:
            return "large", found.st_size
        disk.copy_open(descriptor, target, found.st_size)
    finally:
        os.close(descriptor)
    return disk.sha256_of(target)


def as_data(report: Report) -> dict[str, Any]:
    """The report as JSON data."""
    return asdict(report)


def read(folder: Path) -> Report | None:
    """The report in an attempt's folder; None where it has not ended, or nobody can read how."""
    try:
        return from_data(json.loads((folder / REPORT).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def from_data(data: Mapping[str, Any]) -> Report:
    """The report again. Raises KeyError or TypeError where `data` is none."""
    files, odd = (Kept(**one) for one in data["files"]), (Odd(**one) for one in data["odd"])
    return Report(**{**data, "files": tuple(files), "odd": tuple(odd)})


def admit(report: Report, attempt: Path, staging: Path, log: Path) -> None:
    """Puts what an attempt left where the caller looks: the log at `log`, the rest into `staging`.

    Raises EnvironmentLacking (kind `copy` where a hash does not match: nothing is in `staging` then; `disk`), Refused.
    """
    private = staging / f".arrived-{report.attempt}"
    try:
        private.mkdir(mode=0o700)
        for one in report.files:
            _require_inside(one.place)
            target = private / one.place
            target.parent.mkdir(exist_ok=True)
            take(attempt / one.name, target, one.sha256)
        for odd in report.odd:
            _require_inside(odd.place)
            _stand_in(odd, private / odd.place)
        _move(private, staging, log, report.prefix)
    except OSError as error:
        raise lacking_disk(staging, error) from error
    finally:
        with suppress(OSError):
            disk.remove_tree(private)


def _move(private: Path, staging: Path, log: Path, prefix: str) -> None:
    """From the private folder to their places; paths of the worker's become the driver's in texts for people."""
    for name in (LOG, OUTCOME):
        if (text := private / name).is_file() and not text.is_symlink():
            said = text.read_bytes().decode("utf-8", "surrogateescape")
            text.write_bytes(without(prefix, said).encode("utf-8", "surrogateescape"))
    if (private / LOG).is_file():
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes((private / LOG).read_bytes())
        (private / LOG).unlink()
    for path in list(private.iterdir()):
        disk.remove_tree(staging / path.name)  # of an earlier attempt, or an input's copy
        path.replace(staging / path.name)


def _stand_in(odd: Odd, place: Path) -> None:
    """Something of the same kind, which leads nowhere."""
    place.parent.mkdir(exist_ok=True)
    if odd.kind == "link":
        place.symlink_to("nowhere")
    elif odd.kind == "large":
        place.touch()
        os.truncate(place, odd.size)
    elif odd.kind == "folder" or odd.place != OUT:
        place.mkdir(exist_ok=True)
    else:
        place.touch()


def _require_inside(place: str) -> None:
    parts = PurePosixPath(place).parts
    allowed = {OUTCOME, LOG, OUT, *(kind.staged for kind in resumable.KINDS)}
    if not parts or parts[0] not in allowed or len(parts) > 2 or ".." in parts:
        raise Refused(
            "A worker names a file outside of the staging folder.", f"It is {place!a}.", "Do not trust that worker."
        )


def error_as_data(error: McwbuildError, prefix: str) -> dict[str, Any]:
    """The error for the way to the driver, with the driver's paths in it."""
    told: dict[str, Any] = json.loads(without(prefix, json.dumps(error.as_dict())))
    return told
