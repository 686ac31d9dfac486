"""What a board is, beside what `npu_inference.py` tells of it; as far as it lets itself be read.

Part of the archive of `mcwbuild board pack`. Python 3.8.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(os.environ.get("NPU_INFERENCE_ROOT", "/"))  # where /proc and /sys are, as for npu_inference.py
PACKAGE = "rknn-toolkit-lite2"
_ARM = ("aarch64", "arm64")  # the only machines that the package runs on


def text_of(path: Path) -> str | None:
    """The file's text in one line, None where it cannot be read."""
    try:
        return path.read_bytes()[:500].decode("ascii", "replace").replace("\0", " ").strip()
    except OSError:
        return None


def is_stand_in() -> bool:
    """Whether no NPU computes here: the runtime says so of itself, or the machine is none that could have one."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        named = version(PACKAGE)
    except PackageNotFoundError:
        named = ""
    return "standin" in named or platform.machine() not in _ARM


def board() -> dict[str, Any]:
    """The `board` block."""
    compatible = text_of(ROOT / "proc/device-tree/compatible")
    chips = re.findall(r"rockchip,(r[kv]\d{4}[a-z]?)(?![a-z0-9])", compatible or "")
    memory = re.search(r"MemTotal: +(\d+) kB", text_of(ROOT / "proc/meminfo") or "")
    return {
        "chip": chips[-1] if chips else None,
        "compatible": compatible,
        "machine": platform.machine(),
        "kernel": platform.release(),
        "memory_mb": round(int(memory.group(1)) / 1024) if memory else None,
    }


def device(chip: str | None, versions: Mapping[str, str | None]) -> dict[str, Any]:
    """The `device` block."""
    kind = "stand-in" if is_stand_in() else "NPU"
    return {"kind": kind, "model": chip, "backend": PACKAGE, "versions": dict(versions)}


def governors() -> dict[str, str]:
    """The governors of NPU, memory and CPU clocks, by the kernel's names."""
    found = {}
    for pattern in ("sys/class/devfreq/*/governor", "sys/devices/system/cpu/cpufreq/policy*/scaling_governor"):
        for place in sorted(ROOT.glob(pattern)):
            text = text_of(place)
            if text:
                found[place.parent.name] = text
    return found
