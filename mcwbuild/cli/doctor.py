"""`mcwbuild doctor`: what is ready on this machine."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import click

from mcwbuild import __version__
from mcwbuild.contract.errors import ExitCode
from mcwbuild.contract.phases import PHASES
from mcwbuild.report.text import size_text

NEEDED_DISK = 8_000_000_000  # bytes: three environments with CPU torch take about 3 GB, with CUDA about 7 GB
NEEDED_MEMORY = 3_000_000_000  # bytes: export and conversion of nets up to 30 M parameters


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's: `state` is `ok`, `later` (will be made when needed) or `lacking`."""

    what: str
    state: Literal["ok", "later", "lacking"]
    detail: str


def findings(engine_name: str) -> Iterator[Finding]:
    """Look at the machine. Nothing is installed or changed."""
    from mcwbuild.engines import choose
    from mcwbuild.engines.local import cache_folder

    yield Finding("mcwbuild", "ok", f"{__version__} on Python {platform.python_version()}")
    yield Finding("machine", "ok", f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU threads")
    cache = cache_folder()
    there = next(folder for folder in (cache, *cache.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    yield Finding("disk", "ok" if free > NEEDED_DISK else "lacking", f"{size_text(free)} free for {cache}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Finding("memory", "ok" if memory > NEEDED_MEMORY else "lacking", size_text(memory))
    engine = choose(engine_name)
    yield Finding("engine", "ok", engine.name)
    for phase in PHASES.values():
        reason = engine.health(phase)
        state: Literal["ok", "later", "lacking"] = "ok" if reason is None else "lacking"
        if reason is not None and engine.can_prepare(phase) is None:
            state = "later"
        yield Finding(f"{phase.name} stage", state, reason or "ready")


@click.command()
@click.option("--engine", default="auto", show_default=True, help="The engine to look at.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def doctor(engine: str, as_json: bool) -> int:
    """Tell what is ready on this machine, what will be made at the first run, and what is lacking."""
    from mcwbuild.report import console

    found = list(findings(engine))
    if as_json:
        console.show_json([vars(finding) for finding in found])
    else:
        console.show_table("", ["what", "state", ""], [[f.what, f.state, f.detail] for f in found])
    return int(ExitCode.ENVIRONMENT) if any(f.state == "lacking" for f in found) else 0
