"""A package's manifest (what went in, what came out, how it was made) and its list of hashes."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mcwbuild.contract import disk, documents, validate
from mcwbuild.contract.errors import InputError, Problem
from mcwbuild.contract.marks import shown
from mcwbuild.contract.phases import MANIFEST, PHASES, SUMS, Phase

_SUM_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^\n]+)")


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def describe(path: Path, name: str | None = None) -> dict[str, Any]:
    """A file's name (or `name`), SHA-256 and size in bytes. Raises OSError."""
    return {"file": name or path.name, "sha256": disk.sha256_of(path), "size": path.stat().st_size}


def write(package: Path, phase: Phase, facts: Mapping[str, Any], inputs: Mapping[str, Path] | None = None) -> None:
    """Write `manifest.json`, then `SHA256SUMS` over every other file of the package.

    `facts` are further fields of the manifest's schema (command, started, tools, version, provenance, ...);
    `inputs` are the files that went in, by role. Raises InputError where a fact breaks the schema.
    """
    went_in = [describe(path) | {"role": role} for role, path in sorted((inputs or {}).items())]
    made = {
        "schema": "manifest/1",
        "phase": phase.name,
        "created": now(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        **facts,
        "inputs": [*facts.get("inputs", ()), *went_in],
        "outputs": [describe(package / name, name) for name in _files(package) if name not in (MANIFEST, SUMS)],
    }
    _store(package, made)
    _write_sums(package, {name: disk.sha256_of(package / name) for name in _files(package) if name != SUMS})


def amend(package: Path, facts: Mapping[str, Any]) -> None:
    """Add what the orchestrator knows to the manifest's `provenance`, and its new hash to `SHA256SUMS`.

    The other files' hashes stay as they were written, so that a change in between is not covered up.
    Raises InputError where the manifest or the sums cannot be read, or a fact breaks the schema.
    """
    (record,) = validate.require_all([(package / MANIFEST, "manifest")])
    sums, problems = _read_sums(package / SUMS)
    if problems:
        raise validate.refusal([str(package / SUMS)], problems)
    made = {**record.value, "provenance": {**record.value.get("provenance", {}), **facts}}
    _store(package, made)
    _write_sums(package, {**sums, MANIFEST: disk.sha256_of(package / MANIFEST)})


def add(package: Path, name: str) -> None:
    """Take the file `name`, made later than the package, into the manifest and `SHA256SUMS`, or in its new state.

    The other files' hashes stay as they were written. Raises InputError where the manifest or the sums cannot be read.
    """
    (record,) = validate.require_all([(package / MANIFEST, "manifest")])
    sums, problems = _read_sums(package / SUMS)
    if problems:
        raise validate.refusal([str(package / SUMS)], problems)
    others = [item for item in record.value["outputs"] if item["file"] != name]
    outputs = sorted([*others, describe(package / name, name)], key=lambda item: str(item["file"]))
    _store(package, {**record.value, "outputs": outputs})
    _write_sums(package, {**sums, **{file: disk.sha256_of(package / file) for file in (name, MANIFEST)}})


def _store(package: Path, made: Mapping[str, Any]) -> None:
    validate.require(documents.Document(made, MANIFEST), "manifest")
    documents.write_json(package / MANIFEST, made)


def _write_sums(package: Path, sums: Mapping[str, str]) -> None:
    """In the format of `sha256sum -c`."""
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    disk.write_atomic(package / SUMS, text.encode())


def is_whole(package: Path) -> bool:
    """Whether the package holds the files that `SHA256SUMS` names, each as it was, and nothing else.

    What `verify` finds without the schemas: quick enough for every run.
    """
    sums, problems = _read_sums(package / SUMS)
    if problems or not sums or sorted(_files(package)) != sorted({*sums, SUMS}):
        return False
    return not any(_changed(package / name, name, sums, {}) for name in sums)


def verify(package: Path) -> list[Problem]:
    """Everything in the package that is not as it was published: missing, extra, changed, unreadable.

    `SHA256SUMS` and the manifest are both held against the files.
    """
    try:
        sums, problems = _read_sums(package / SUMS)
        (record,) = validate.require_all([(package / MANIFEST, "manifest")])
    except InputError as error:
        return list(error.problems)
    outputs = {item["file"]: item["sha256"] for item in record.value["outputs"]}
    present = _files(package)
    for name in present:
        if name not in sums and name != SUMS:
            problems.append(Problem("the file is not part of the package", str(package / name)))
    for name in sorted({*sums, *outputs} - set(present)):
        problems.append(Problem("the file is missing from the package", str(package / name)))
    for name in present:
        problems += _changed(package / name, name, sums, outputs)
    return problems + _unlisted(package, record.value, sums)


def _changed(path: Path, name: str, sums: Mapping[str, str], outputs: Mapping[str, str]) -> list[Problem]:
    if name not in sums:
        return []
    if path.is_symlink() or not path.is_file():
        return [Problem("this is not a regular file", str(path))]
    try:
        found = disk.sha256_of(path)
    except OSError as error:
        return [Problem(f"the file cannot be read: {error.strerror}", str(path))]
    written = {SUMS: sums[name], MANIFEST: outputs.get(name, found)}
    wrong = [source for source, expected in written.items() if expected != found]
    were = "was" if len(wrong) == 1 else "were"
    return [Problem(f"the file has changed since {' and '.join(wrong)} {were} written", str(path))] if wrong else []


def _unlisted(package: Path, record: Mapping[str, Any], sums: Mapping[str, str]) -> list[Problem]:
    """Files that one list has and the other lacks, and required ones that both lack."""
    outputs = {item["file"] for item in record["outputs"]}
    phase = PHASES[record["phase"]]
    needed = {*phase.artefacts, phase.source, phase.performance} - set(phase.optional)
    problems = [
        Problem(f"the {phase.name} phase's {name} is not listed", str(package / MANIFEST))
        for name in sorted(needed - outputs)
    ]
    for name in sorted(({*sums} - {MANIFEST}) ^ outputs):
        holder, other = (SUMS, MANIFEST) if name in sums else (MANIFEST, SUMS)
        problems.append(Problem(f"{shown(name)} is listed in {holder} and not in {other}", str(package / holder)))
    return problems


def _read_sums(path: Path) -> tuple[dict[str, str], list[Problem]]:
    sums: dict[str, str] = {}
    problems = []
    for number, line in enumerate(documents.read_text(path).splitlines(), 1):
        found = _SUM_LINE.fullmatch(line)
        if found is None or "/" in found.group(2):
            problems.append(Problem("this is not a line of sha256sum's format", str(path), number))
        else:
            sums[found.group(2)] = found.group(1)
    return sums, problems


def _files(package: Path) -> list[str]:
    """The names in the package, sorted; folders too, so that a stray one is noticed."""
    return sorted(os.listdir(package))  # noqa: PTH208 (names only, in one call)
