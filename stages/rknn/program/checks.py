"""The part of `npu_inference.py` that checks what it runs on: model file, chip, package, runtime, driver, libraries.

Each mismatch is one sentence with its remedy; a check can be left out by its name. Python 3.8 and numpy only.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2

from stages.rknn.program.npu import ENVIRONMENT, INPUT, REFUSED, RuntimeLog, Stop

CHECKS = ("contract", "file", "chip", "package", "runtime", "driver")
COMPATIBLE = "proc/device-tree/compatible"  # NUL-separated, "rockchip,rk3588s-orangepi-5\0rockchip,rk3588s"
_DRIVER_FILE = "sys/kernel/debug/rknpu/version"
_OLDEST_DRIVER = (0, 8, 8)  # librknnrt 2.3.2 itself recommends at least that


def note(text: str) -> None:
    """Say something that stops nothing."""
    sys.stderr.write(f"note: {text}\n")


def check_model(path: Path, data: Mapping[str, Any], left_out: Sequence[str]) -> None:
    """Refuse a model file that is not the one whose data stands in this program."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Stop(INPUT, f"{path} cannot be read: {error.strerror}. Give --model the package's .rknn.") from None
    if content[:4] != b"RKNN":
        raise Stop(INPUT, f"{path} is not a .rknn file (damaged, or a Git LFS pointer). Copy it again.")
    if "contract" not in left_out and data["contract_sha256"].encode("ascii") not in content:
        raise Stop(
            REFUSED,
            f"{path} was made under another contract (input, colours, normalisation, classes) than this program."
            " Use the model and the program of one package.",
        )
    known = [model["sha256"] for model in data["models"]]
    if "file" not in left_out and hashlib.sha256(content).hexdigest() not in known:
        raise Stop(
            REFUSED, f"{path} is not the file that was measured: its SHA-256 differs. Copy it from the package again."
        )


def chips_of(root: Path) -> list[str] | None:
    """What the device tree calls the chip, from the board's own name to the general one; None without device tree."""
    try:
        text = (root / COMPATIBLE).read_bytes().decode("ascii", "replace")
    except OSError:
        return None
    return re.findall(r"rockchip,(r[kv]\d{4}[a-z]?)(?![a-z0-9])", text)


def check_chip(data: Mapping[str, Any], root: Path, left_out: Sequence[str]) -> None:
    """Refuse to start on another chip than the model's; where the chip is unknown, only say so."""
    if not data["lite"]:
        raise Stop(
            ENVIRONMENT,
            f"rknn-toolkit-lite2 does not run on {data['target']}. Use Rockchip's C interface there; this program shows"
            " the steps.",
        )
    if "chip" in left_out:
        return
    chips = chips_of(root)
    if chips is None:
        note(f"{root / COMPATIBLE} is not there, so the chip was not checked")
    elif not chips:
        raise Stop(ENVIRONMENT, f"{root / COMPATIBLE} names no chip of Rockchip's. Run it on {data['target']}.")
    elif not set(chips) & set(data["chips"]):
        raise Stop(
            ENVIRONMENT,
            f"The model was built for {data['target']}, this board has {chips[-1]}. Convert again with"
            f" --target {chips[-1]}.",
        )


def check_libraries(data: Mapping[str, Any]) -> None:
    """Without OpenCV say what is missing; refuse a resize that only OpenCV has."""
    text = getattr(cv2, "note", None)  # of `WithoutOpenCV`
    if text is None:
        return
    way = data["contract"]["preprocessing"]["resize"].get("interpolation", "linear")
    if way in ("cubic", "area"):
        raise Stop(
            ENVIRONMENT,
            f"The model's resize is {way}, which needs OpenCV. Install it: pip install opencv-python-headless",
        )
    note(text)


def versions_of(runtime: Any, log: RuntimeLog, root: Path) -> dict[str, str | None]:
    """Versions of rknn-toolkit-lite2, librknnrt.so and the rknpu driver, as they say themselves; None where silent."""
    printed = f"{log.text()}\n{runtime.get_sdk_version()}\n"
    with contextlib.suppress(OSError):  # root alone may read it
        printed += (root / _DRIVER_FILE).read_text("utf-8", "replace")
    found: dict[str, str | None] = {"rknn-toolkit-lite2": _package()}
    for name, pattern in (
        ("librknnrt", r"librknnrt version: (.+)|API: (.+)"),
        ("driver", r"Driver Information[,:] version: (.+)|DRV: (?:rknnrt: )?([0-9].*)|RKNPU driver: v(.+)"),
    ):
        match = re.search(pattern, printed)
        found[name] = next(filter(None, match.groups())).strip() if match else None
    return found


def _package() -> str | None:
    try:
        return metadata.version("rknn-toolkit-lite2")
    except metadata.PackageNotFoundError:
        return None


def check_versions(found: Mapping[str, str | None], data: Mapping[str, Any], left_out: Sequence[str]) -> None:
    """Refuse a runtime older than the toolkit that built the model; say what else does not fit."""
    built = _numbers(data["toolkit"])
    remedies = {
        "package": ("rknn-toolkit-lite2", f"pip install rknn-toolkit-lite2=={data['toolkit']}"),
        "runtime": ("librknnrt", f"replace /usr/lib/librknnrt.so with Rockchip's {data['toolkit']}"),
    }
    for check, (name, remedy) in remedies.items():
        version = found[name]
        if check in left_out:
            continue
        if version is None:
            note(f"the version of {name} could not be read, so it was not checked")
        elif _numbers(version) < built:
            raise Stop(
                ENVIRONMENT,
                f"{name} {version} is older than the toolkit {data['toolkit']} that built the model. Update it:"
                f" {remedy}. To try all the same: --no-checks {check}",
            )
        elif _numbers(version)[:2] != built[:2]:
            note(f"{name} is {version}, the model's toolkit {data['toolkit']}; if results differ, {remedy}")
    driver = found["driver"]
    if driver is not None and "driver" not in left_out and _numbers(driver) < _OLDEST_DRIVER:
        least = ".".join(map(str, _OLDEST_DRIVER))
        note(f"the rknpu driver is {driver}; from {least} on all cores work. Update the board's kernel")


def _numbers(version: str) -> tuple[int, ...]:
    """(2, 3, 2) of 2.3.2+abc."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
