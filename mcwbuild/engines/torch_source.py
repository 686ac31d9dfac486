"""Which build of torch an environment gets, and from where."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from mcwbuild.contract.phases import PT, Phase
from mcwbuild.engines import machine, uvtool
from mcwbuild.engines.locks import PYTHON, Locks, TorchBuild

PROBE = 12.0  # seconds for all attempts together to reach PyTorch's index
_FAST = {"UV_HTTP_TIMEOUT": "5", "UV_HTTP_RETRIES": "0", "UV_HTTP_CONNECT_TIMEOUT": "5"}


@dataclass(frozen=True)
class TorchSource:
    """The build; the `--torch-backend` for uv where PyTorch's own index gives it; why, for people."""

    build: TorchBuild
    backend: str | None
    reason: str
    folder: str | None = None  # the wheel folder that holds it: nothing is downloaded then


def wanted(phase: Phase) -> TorchBuild:
    """CUDA for the one phase that uses a GPU, where there is one; else CPU, a fifteenth of the size."""
    return "cuda" if phase is PT and machine.has_nvidia_gpu() else "cpu"


@cache
def decide(phase: Phase, folder: Path) -> TorchSource:
    """Asks, in this order: wheel folders, PyTorch's CPU index. A few seconds at most; asked once per process."""
    if wanted(phase) == "cuda":
        return TorchSource("cuda", None, "because this machine has an NVIDIA GPU")
    lock = Locks(phase, "cpu").files[1]
    if held := wheel_folder(lock):
        return TorchSource("cpu", None, f"from {held}", held)
    if _resolves(lock, folder, []):
        return TorchSource("cpu", None, "from the package index")
    if _resolves(lock, folder, ["--torch-backend", "cpu"]):
        return TorchSource("cpu", "cpu", "from PyTorch's CPU index")
    return TorchSource("cuda", None, "because neither a wheel folder nor PyTorch's CPU index gives the CPU build")


def wheel_folder(lock: Path) -> str | None:
    """The local wheel folder that holds the wheel which the lock names, or None."""
    version = lock.read_text("utf-8").split()[0].replace("==", "-")
    for entry in uvtool.wheel_folders():
        place = Path(entry).expanduser()
        if place.is_dir() and any(_is_wheel(path.name, version) for path in place.iterdir()):
            return str(place)
    return None


def _is_wheel(name: str, version: str) -> bool:
    return unquote(name).startswith(f"{version}-cp311-cp311-") and name.endswith("x86_64.whl")


def _resolves(lock: Path, folder: Path, more: list[str]) -> bool:
    """True where uv finds the wheel: a resolution, which fetches a list of names at most."""
    arguments = ["pip", "compile", str(lock), "--no-deps", "--quiet", "--only-binary", ":all:", *more]
    arguments += ["--python", sys.executable, "--python-version", PYTHON]
    arguments += ["--python-platform", f"x86_64-manylinux_{'_'.join(map(str, machine.MINIMUM_GLIBC))}"]
    for entry in uvtool.wheel_folders():
        arguments += ["--find-links", entry]
    return uvtool.attempt(arguments, folder, extra=_FAST, timeout=PROBE)[0] == 0
