"""What is ready on this machine, what will be made at the first run, what is lacking, and what to do about it.

Nothing is installed or changed, and nothing outside of this machine is asked.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mcwbuild import __version__
from mcwbuild.contract.errors import EnvironmentLacking
from mcwbuild.contract.phases import PHASES
from mcwbuild.process import answer
from mcwbuild.report.text import size_text

if TYPE_CHECKING:
    from mcwbuild.engines import Wanted
    from mcwbuild.engines.docker.recipes import Recipe

State = Literal["ok", "later", "absent", "lacking"]
NEEDED_DISK = 4_000_000_000  # bytes: three environments with CPU torch take about 3 GB (with CUDA about 7 GB)
NEEDED_BESIDE = 500_000_000  # bytes, where the environments are there: packages, the store
NEEDED_TEMPORARY = 1_000_000_000  # bytes: the toolkit's own files for a network at 640 x 640
NEEDED_MEMORY = 3_000_000_000  # bytes: export and conversion of nets up to 30 M parameters
_FAST = ("avx2", "fma")  # what PyTorch's and ONNX Runtime's fast kernels use; the wheels were tried with them only


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    `state`: `ok`; `later`, which the first run makes; `absent`, which is not needed and would be of use; `lacking`,
    without which it does not work. `remedy` is what to do, empty where nothing is.
    """

    what: str
    state: State
    detail: str
    remedy: str = ""


def checks(engine_name: str, wanted: Wanted | None = None) -> Iterator[Check]:
    """Look at the machine, for the engine of this name."""
    yield Check("mcwbuild", "ok", f"{__version__} on Python {platform.python_version()}")
    yield _machine()
    yield _processor()
    yield _memory()
    yield from _disks()
    yield _gpu()
    docker = _docker()
    yield docker
    if engine_name == "docker" and docker.state != "ok":
        yield Check("engine", "lacking", "docker, which does not answer", docker.remedy)
    else:
        yield from _engine(engine_name, wanted)
    yield _locks()
    yield _boards()


def key(engine_name: str) -> str:
    """What the stages of this engine are made from, in one word: a CI keeps them under it. No network is asked.

    The environments' folders are called so, each by a hash over its locks and the version of Python; images are
    known by the hashes of their code, locks and Dockerfiles.
    """
    import hashlib

    from mcwbuild.engines.docker import recipes
    from mcwbuild.engines.locks import Locks
    from mcwbuild.engines.torch_source import wanted

    if engine_name != "docker":
        return "-".join(Locks(phase, wanted(phase)).name for phase in PHASES.values())
    parts = [f"{label} {value}" for phase in PHASES.values() for label, value in _identity(recipes.recipe(phase))]
    return f"images-{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:24]}"


def _identity(recipe: Recipe) -> list[tuple[str, str]]:
    """What an image of the recipe depends on, its base images too."""
    return [*sorted(recipe.identity().items()), *sorted(recipe.arguments().items())]


def _machine() -> Check:
    from mcwbuild.engines.machine import unsuitable

    detail = f"{platform.system()} on {platform.machine()}, {os.cpu_count()} CPU threads"
    if reason := unsuitable():
        return Check("machine", "absent", f"{detail}; {reason}", "Use --engine docker, on a Docker for Linux x86-64.")
    return Check("machine", "ok", f"{detail}, glibc {platform.libc_ver()[1]}")


def _processor() -> Check:
    lines = _lines(Path("/proc/cpuinfo"))
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    missing = [flag for flag in _FAST if flag not in flags]
    if not missing:
        return Check("processor", "ok", f"{name}: {', '.join(_FAST)}")
    remedy = "The wheels were only tried with them: expect a slow run, or `Illegal instruction`; take a newer machine."
    return Check("processor", "absent", f"{name}, without {', '.join(missing)}", remedy)


def _memory() -> Check:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = next(
        (int(line.split()[1]) * 1024 for line in _lines(Path("/proc/meminfo")) if "MemAvailable" in line), whole
    )
    detail = f"{size_text(free)} free of {size_text(whole)}"
    if free < NEEDED_MEMORY:
        return Check("memory", "lacking", detail, f"Free some: a stage needs about {size_text(NEEDED_MEMORY)}.")
    return Check("memory", "ok", detail)


def _disks() -> Iterator[Check]:
    import tempfile

    from mcwbuild.engines import environments
    from mcwbuild.engines.local import cache_folder
    from mcwbuild.engines.machine import free_bytes

    there = all(environments.find(phase) for phase in PHASES.values())
    for what, place, needed, variable in (
        ("disk", cache_folder(), NEEDED_BESIDE if there else NEEDED_DISK, "MCWBUILD_CACHE"),
        ("temporary", Path(tempfile.gettempdir()), NEEDED_TEMPORARY, "TMPDIR"),
    ):
        free = free_bytes(place)
        remedy = "" if free > needed else f"Free {size_text(needed - free)}, or name another folder in {variable}."
        yield Check(what, "lacking" if remedy else "ok", f"{size_text(free)} free for {place}", remedy)


def _gpu() -> Check:
    from mcwbuild.engines.machine import has_nvidia_gpu

    driver = next(iter(_lines(Path("/proc/driver/nvidia/version"))), "")
    if has_nvidia_gpu():
        return Check("GPU", "ok", driver or "an NVIDIA driver is loaded")
    return Check("GPU", "absent", "no NVIDIA driver is loaded", "Training runs on the CPU; nothing else needs a GPU.")


def _docker() -> Check:
    from mcwbuild.engines.docker import daemon

    try:
        client = daemon.connect()
    except EnvironmentLacking as error:
        return Check("Docker", "absent", error.found, error.remedy)
    try:
        return Check("Docker", "ok", f"a daemon answers, version {client.version()['Version']}")
    finally:
        client.close()


def _engine(name: str, wanted: Wanted | None) -> Iterator[Check]:
    from mcwbuild.engines import choose

    engine = choose(name, wanted)
    yield Check("engine", "ok", engine.name)
    for phase in PHASES.values():
        what, reason = f"{phase.name} stage", engine.health(phase)
        if reason is None:
            yield Check(what, "ok", "ready")
        elif (never := engine.can_prepare(phase)) is None:
            yield Check(what, "later", reason, "Nothing: the first run does it.")
        else:
            make = {"docker": f"Run: mcwbuild images build {phase.name}", "dask": "See docs/dask.md."}
            remedy = make.get(engine.name, "Use --engine docker.")
            yield Check(what, "lacking", reason if reason == never else f"{reason}; {never}", remedy)


def _locks() -> Check:
    from mcwbuild.contract import assets
    from mcwbuild.engines.locks import Locks

    missing = [
        str(file.relative_to(assets.locks_dir()))
        for phase in PHASES.values()
        for build in ("cpu", "cuda")
        for file in Locks(phase, build).files
        if not file.is_file()
    ]
    if missing:
        return Check("locks", "lacking", f"missing: {', '.join(missing)}", "Install mcwbuild again.")
    return Check("locks", "ok", "every package of every stage has its version and hash")


def _boards() -> Check:
    said = answer("adb", "devices")
    if said is None:
        ssh = answer("ssh", "-V") is not None
        how = "ssh is there" if ssh else "neither adb nor ssh is here"
        return Check("boards", "absent", f"adb does not answer; {how}", "Needed by `mcwbuild board run --adb` only.")
    rows = [line.split() for line in said.splitlines()[1:] if len(line.split()) >= 2]
    listed = [row[0] for row in rows if row[1] == "device"]
    closed = [f"{row[0]} is {row[1]}" for row in rows if row[1] != "device"]
    if closed and not listed:
        return Check(
            "boards", "absent", f"adb: {', '.join(closed)}", "Allow this machine on the board, or attach it anew."
        )
    if not listed:
        return Check("boards", "absent", "adb lists none", "Attach one, or give `mcwbuild board run --ssh`.")
    return Check("boards", "ok", f"adb lists {', '.join(listed)}")


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
