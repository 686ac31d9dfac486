"""Whether driver, scheduler and workers run the same program: one hash over all that decides a result."""

from __future__ import annotations

import hashlib
from pathlib import Path

import distributed

from mcwbuild.contract import assets, disk
from mcwbuild.contract.errors import EnvironmentLacking

_PACKAGE = Path(__file__).resolve().parents[2]
_LEFT_OUT = ("__pycache__", "_shipped")  # the latter are the other rooms, in an installation from a wheel


def sha256() -> str:
    """The hash over names and contents of mcwbuild, stages, schemas and locks, as they lie on the disk now."""
    rooms = {"mcwbuild": _PACKAGE, "stages": assets.stages_dir(), "schemas": assets.schemas_dir()}
    digest = hashlib.sha256()
    for room, folder in {**rooms, "docker": assets.locks_dir()}.items():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not {*_LEFT_OUT} & {*path.relative_to(folder).parts}:
                name = path.relative_to(folder).as_posix()
                digest.update(f"{room}/{name}\0{disk.sha256_of(path)}\n".encode())
    return digest.hexdigest()


LOADED = sha256()  # what this process has imported; an update of its files does not reach it any more


def own() -> str:
    """This process's version, as one text that must be equal on every side."""
    now = sha256()
    changed = "" if now == LOADED else f" (started before its files became {now[:12]})"
    return f"mcwbuild {LOADED[:12]}{changed}, Dask {distributed.__version__}"


def mismatch(here: str, there: str, whose: str) -> EnvironmentLacking:
    """The error for two sides that differ."""
    return EnvironmentLacking(
        "The cluster runs another program than this machine.",
        f"Here is {here}; on {whose} is {there}.",
        "Install the same mcwbuild[dask] on all of them, and start scheduler and workers anew.",
        kind="version",
    )
