"""Stand-ins for the base images, for machines that can pull none: Debian 12 by debootstrap, imported into Docker.

    python -m tests.support.standin_base        makes both, and prints their names

`PYTHON` stands in for the official python:3.11-slim: Debian's own Python 3.11, moved to /usr/local where the official
one is, with pip. `UBUNTU` stands in for ubuntu:20.04: the same system without any Python. It has a newer glibc than
Ubuntu 20.04; what the rknn image asks of glibc is held by a test of its own. Both are labelled `mcwbuild.standin`.
"""

from __future__ import annotations

import ensurepip
import hashlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from mcwbuild.engines.docker import daemon
from mcwbuild.engines.environments import cache_folder

if TYPE_CHECKING:
    from docker import DockerClient

PYTHON, UBUNTU = "standin/python:3.11-slim", "standin/ubuntu:20.04"
LABEL = "mcwbuild.standin"
SUITE = "bookworm"
UNUSED = ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/lib/apt/lists", "var/cache/apt")
OF_PYTHON = ("usr/local/bin", "usr/local/lib", "usr/bin/python3*", "usr/lib/python3*", "usr/share/python3")
_PATH = "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


def make(client: DockerClient) -> None:
    """Both stand-ins, unless the daemon has them as this file makes them; about 30 seconds and 100 MB the first time.

    The systems are kept as tars in the user's cache. Raises CalledProcessError where debootstrap fails.
    """
    version = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    if all(version in labels(client, name) for name in (PYTHON, UBUNTU)):
        return
    folder = cache_folder() / "standins"
    folder.mkdir(parents=True, exist_ok=True)
    tars = {name: folder / f"{name.replace('/', '-').replace(':', '-')}-{version}.tar" for name in (PYTHON, UBUNTU)}
    with FileLock(folder / ".lock"):
        if not all(tar.is_file() for tar in tars.values()):
            _bootstrap(folder, tars)
    for name, tar in tars.items():
        repository, _, tag = name.rpartition(":")
        client.api.import_image(str(tar), repository, tag, changes=[_PATH, f"LABEL {LABEL}={version}"])


def labels(client: DockerClient, name: str) -> str:
    """The stand-in's label; empty where there is no such image."""
    found = client.images.list(name=name)
    return str(found[0].labels.get(LABEL, "")) if found else ""


def _bootstrap(folder: Path, tars: dict[str, Path]) -> None:
    """A Debian system with Python, written as one tar with it and one without."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tmp-") as scratch:
        root = Path(scratch, "root")
        command = ["debootstrap", "--variant=minbase", "--include=python3.11,ca-certificates", SUITE, str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        _move_python(root)
        for unused in UNUSED:
            shutil.rmtree(root / unused, ignore_errors=True)
        for name, without in ((PYTHON, ()), (UBUNTU, OF_PYTHON)):
            excluded = [f"--exclude=./{place}/*" if "*" not in place else f"--exclude=./{place}" for place in without]
            temporary = Path(scratch, "system.tar")
            subprocess.run(["tar", "-C", str(root), *excluded, "-cf", str(temporary), "."], check=True)
            temporary.replace(tars[name])


def _move_python(root: Path) -> None:
    """Debian's Python as the official image has it: /usr/local/bin/python3.11, its library beside, and pip."""
    local = root / "usr/local"
    shutil.copy2(root / "usr/bin/python3.11", local / "bin")
    library = shutil.copytree(root / "usr/lib/python3.11", local / "lib/python3.11", symlinks=True, dirs_exist_ok=True)
    for debians in ("EXTERNALLY-MANAGED", "sitecustomize.py", "_distutils_system_mod.py"):
        (library / debians).unlink(missing_ok=True)
    with zipfile.ZipFile(next(_pip_wheels())) as archive:
        archive.extractall(library / "dist-packages")


def _pip_wheels() -> Iterator[Path]:
    """pip, as this Python or its distribution brings it for new environments."""
    for folder in (Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels")):
        yield from folder.glob("pip-*.whl")


def obstacle() -> str | None:
    """Why no stand-in can be made on this machine; None where one can."""
    if os.geteuid() != 0:
        return "debootstrap needs root"
    return None if shutil.which("debootstrap") else "debootstrap is not installed (`bash .ci/docker` does it)"


if __name__ == "__main__":
    make(daemon.connect())
    print(f"{PYTHON}\n{UBUNTU}")
