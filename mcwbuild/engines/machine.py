"""What this machine is, as far as the local engine's environments ask."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

from mcwbuild.contract.errors import EnvironmentLacking

MINIMUM_GLIBC = (2, 28)  # torch's wheels are manylinux_2_28


def unsuitable() -> str | None:
    """Why the stages' wheels do not run here, in a few words; None where they do."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        return f"{platform.system()} on {platform.machine()} is not Linux on x86-64"
    library, version = platform.libc_ver()
    if library != "glibc":
        return "this Linux has no glibc"
    if tuple(int(part) for part in version.split(".")[:2]) < MINIMUM_GLIBC:
        return f"glibc {version} is older than {'.'.join(map(str, MINIMUM_GLIBC))}"
    return None


def require_suitable() -> None:
    """Raises EnvironmentLacking where the local engine cannot work at all."""
    if reason := unsuitable():
        raise EnvironmentLacking(
            "The local engine runs the stages on Linux with glibc on x86-64 only.",
            f"Here {reason}." if not reason.startswith("this") else f"And {reason}.",
            "Run mcwbuild where Docker is, with --engine docker.",
            kind="platform",
        )


def has_nvidia_gpu() -> bool:
    """True where an NVIDIA driver is loaded."""
    return Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None


def free_bytes(folder: Path) -> int:
    """Free disk for `folder`, which need not exist yet."""
    there = next(place for place in (folder, *folder.parents) if place.is_dir())
    return shutil.disk_usage(there).free
