"""The Python that a stage's environment is made from: found on the machine, else downloaded by uv."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from mcwbuild.contract.errors import EnvironmentLacking
from mcwbuild.contract.events import Emit, Noted
from mcwbuild.engines import uvtool
from mcwbuild.engines.locks import PYTHON

WANTED = f"cpython-{PYTHON}-linux-x86_64-gnu"
DOWNLOAD = 32_000_000  # bytes: uv's own build of CPython 3.11, stripped
# What distributions split off, or a build of one's own leaves out where a header was missing.
_CHECK = (
    "import sys, platform, struct, ctypes, bz2, lzma, sqlite3, ssl, zlib, venv, distutils\n"
    f"sys.exit((sys.implementation.name, '%d.%d' % sys.version_info[:2], struct.calcsize('P')) "
    f"!= ('cpython', '{PYTHON}', 8) or platform.libc_ver()[0] != 'glibc')"
)


def is_whole(python: Path) -> bool:
    """True for a 64-bit CPython of the right version on glibc with its whole standard library."""
    try:
        done = subprocess.run(
            [str(python), "-I", "-W", "ignore", "-c", _CHECK], capture_output=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def candidates(folder: Path) -> Iterator[Path]:
    """Pythons of the right version, best first; uv's search ends at the first broken one, so PATH comes after."""
    code, output = uvtool.attempt(["python", "find", "--system", "--no-python-downloads", WANTED], folder, timeout=60)
    if code == 0 and output.strip():
        yield Path(output.strip().splitlines()[-1])
    places = [*os.environ.get("PATH", "").split(os.pathsep), str(Path(sys.executable).resolve().parent)]
    for place in places:
        if (found := Path(place or ".", f"python{PYTHON}")).is_file():
            yield found


def find(folder: Path) -> Path | None:
    """A usable Python on this machine, or None."""
    return next((python for python in candidates(folder) if is_whole(python)), None)


def obtain(folder: Path, log: Path, emit: Emit) -> Path:
    """A usable Python: found, else downloaded by uv. Raises EnvironmentLacking before anything else is fetched."""
    if python := find(folder):
        return python
    emit(Noted(f"No Python {PYTHON} is here: uv downloads one, about {DOWNLOAD / 1e6:.0f} MB."))
    uvtool.run(
        ["python", "install", "--no-bin", WANTED],
        folder,
        log,
        f"The stages run on Python {PYTHON}, which is neither on this machine nor could be downloaded.",
    )
    code, output = uvtool.attempt(["python", "find", "--managed-python", WANTED], folder, timeout=60)
    installed = Path(output.strip().splitlines()[-1]) if code == 0 else None
    if installed is None or not is_whole(installed):
        raise EnvironmentLacking(
            f"The Python {PYTHON} that uv downloaded does not run here.",
            f"{uvtool.cause(output)}.",
            f"Install Python {PYTHON} and put it on PATH.",
        )
    return installed
