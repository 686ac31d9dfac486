"""The stages' Python environments: one folder each in the cache, made whole or not at all.

`<cache>/environments/<phase>-<12 digits of the locks' hash>/`. It is made under another name, its
marker written last, and renamed into place under a lock; what an interrupted making left is removed
by the next one. Nothing changes an environment afterwards.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mcwbuild.contract import disk
from mcwbuild.contract.errors import EnvironmentLacking
from mcwbuild.contract.events import Emit, Finished, Noted, Progressed, Started
from mcwbuild.contract.phases import Phase
from mcwbuild.engines import machine, python311, uvtool
from mcwbuild.engines.locks import Locks, TorchBuild
from mcwbuild.engines.torch_source import TorchSource, decide, wanted

MARKER = "mcwbuild-environment.json"
UNPACKED = 3.5  # bytes on disk for a byte of wheel, bytecode included: measured on the three sets
WAIT = 3600.0  # seconds for another process that makes the same environment


def cache_folder() -> Path:
    """`MCWBUILD_CACHE`, else the user's cache folder for mcwbuild."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("MCWBUILD_CACHE") or user_cache_path("mcwbuild")).absolute()


@dataclass(frozen=True)
class Environment:
    """An environment by its locks, whether it is there or not."""

    locks: Locks

    @property
    def folder(self) -> Path:
        """Where it is or will be."""
        return cache_folder() / "environments" / self.locks.name

    @property
    def log(self) -> Path:
        """What uv said while it was made."""
        return self.folder.with_name(f"{self.locks.name}.log")

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def lacking(self) -> str | None:
        """None: it is whole; else what is missing, in a few words."""
        if not (self.folder / MARKER).is_file():
            return "its environment is not made yet"
        if not self.python.exists():
            return f"the Python that its environment was made from is gone ({self.python.resolve()})"
        return None


def find(phase: Phase) -> Environment | None:
    """The phase's finished environment, or None: one with CUDA will do where CPU was wanted, not otherwise."""
    builds: tuple[TorchBuild, ...] = ("cuda",) if wanted(phase) == "cuda" else ("cpu", "cuda")
    made = (Environment(Locks(phase, build)) for build in builds)
    return next((environment for environment in made if environment.lacking() is None), None)


def intended(phase: Phase) -> Environment:
    """The finished environment, or the one that `make` would make."""
    return find(phase) or Environment(Locks(phase, decide(phase, _anchor()).build))


def make(phase: Phase, emit: Emit) -> Environment:
    """The phase's environment, made if it is not there. Raises EnvironmentLacking."""
    from filelock import FileLock, Timeout

    if found := find(phase):
        return found
    machine.require_suitable()
    parent = cache_folder() / "environments"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(parent / f".{phase.name}.lock")
        try:
            lock.acquire(timeout=1)
        except Timeout:
            emit(Noted(f"Another process is making the {phase.name} environment; waiting for it."))
            lock.acquire(timeout=WAIT)
        try:
            return find(phase) or _make(phase, emit)
        finally:
            lock.release()
    except Timeout as error:
        raise EnvironmentLacking(
            f"The {phase.name} environment is being made by another process.",
            f"It was not done after {WAIT / 60:.0f} minutes.",
            f"End that process, or put the cache elsewhere with MCWBUILD_CACHE; the lock is {error.lock_file}.",
        ) from error
    except OSError as error:
        raise EnvironmentLacking(
            f"The {phase.name} environment cannot be written.",
            f"{error.strerror or error}: {error.filename or parent}.",
            "Free disk space, or put the cache elsewhere with MCWBUILD_CACHE.",
            kind="disk",
        ) from error


def _anchor() -> Path:
    """The folder that uv runs in: the nearest one to the cache that is there, outside of people's projects."""
    cache = cache_folder()
    return next(folder for folder in (cache, *cache.parents) if folder.is_dir())


def _make(phase: Phase, emit: Emit) -> Environment:
    """Under the lock, and none is there."""
    source = decide(phase, _anchor())
    environment = Environment(Locks(phase, source.build))
    parent = environment.folder.parent
    for left in parent.glob(f".tmp-{phase.name}-*"):
        with suppress(OSError):  # a uv whose mcwbuild was killed may still be writing there
            disk.remove_tree(left)
    environment.log.write_text("", encoding="utf-8")
    base = python311.obtain(parent, environment.log, emit)
    temporary = parent / f".tmp-{phase.name}-{secrets.token_hex(4)}"
    start = time.monotonic()
    try:
        what = f"The {phase.name} environment could not be made."
        uvtool.run(
            ["venv", "--quiet", "--relocatable", "--python", str(base), str(temporary)], parent, environment.log, what
        )
        size = _announce(environment, source, temporary, emit)
        emit(Started("environment", f"{phase.name}, Python {base}"))
        _install(environment, source, temporary, emit, size)
        os.sync()  # the marker may not be on disk before the files that it stands for
        marker = {"locks": environment.locks.identity(), "python": str(base), "torch": source.reason}
        disk.write_atomic(temporary / MARKER, json.dumps(marker, indent=2).encode() + b"\n")
        disk.remove_tree(environment.folder)  # one whose Python is gone
        temporary.replace(environment.folder)
        disk.sync_folder(parent)
    finally:
        disk.remove_tree(temporary)
    emit(Finished("environment", round(time.monotonic() - start, 1), str(environment.folder)))
    return environment


def _announce(environment: Environment, source: TorchSource, temporary: Path, emit: Emit) -> int:
    """Says what will be downloaded, and checks the disk; gives the bytes. Nothing is fetched before."""
    locks, phase = environment.locks, environment.locks.phase.name
    code, output = uvtool.attempt(
        [*uvtool.install_arguments(temporary / "bin" / "python", locks.files, source.backend), "--dry-run", "-v"],
        temporary,
        timeout=120,
    )
    cached = set(re.findall(r"already cached: ([A-Za-z0-9._-]+)==", output)) if code == 0 else set()
    sizes = locks.sizes()
    if source.folder is not None:
        sizes["torch"] = 0
    download = sum(size for name, size in sizes.items() if name not in cached)
    build = f"torch's {'CPU build' if source.build == 'cpu' else 'build with CUDA'} {source.reason}"
    if download:
        emit(Noted(f"The {phase} environment is made once: {download / 1e6:.0f} MB to download; {build}."))
    else:
        emit(Noted(f"The {phase} environment is made once: nothing to download, uv's cache has it all; {build}."))
    need = int(sum(locks.sizes().values()) * UNPACKED)
    free = machine.free_bytes(temporary)
    if free < need:
        raise EnvironmentLacking(
            f"The disk has too little room for the {phase} environment.",
            f"It takes about {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free at {temporary.parent}.",
            "Free disk space, or put the cache elsewhere with MCWBUILD_CACHE.",
            kind="disk",
        )
    return download


def _install(environment: Environment, source: TorchSource, temporary: Path, emit: Emit, download: int) -> None:
    """All but torch first: the torch backend's index must not give its own build of anything else."""
    sizes, done = environment.locks.sizes(), 0

    def on_line(line: str) -> None:
        nonlocal done
        if arrived := re.match(r"\s*Downloaded (\S+)$", line):
            done += sizes.get(arrived[1].lower().replace("_", "-").replace(".", "-"), 0)
            emit(Progressed("environment", min(done, download), download))

    what = f"The {environment.locks.phase.name} environment could not be made."
    requirements, torch = environment.locks.files
    for files, backend in (([requirements], None), ([torch], source.backend)):
        # Bytecode is written as modules are imported: compiling all of torch took most of a first run's time.
        arguments = uvtool.install_arguments(temporary / "bin" / "python", files, backend)
        uvtool.run(arguments, temporary, environment.log, what, on_line)
