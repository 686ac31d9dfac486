"""What librknnrt.so, the driver and the NPU do on the stand-in's board."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcwbuild.contract.artefacts import RknnFacts, read_rknn
from mcwbuild.contract.errors import InputError
from rknnlite.settings import Settings

STANDIN = "stand-in for tests, no NPU computes here"
MASKS = {"AUTO": 0, "0": 1, "1": 2, "2": 4, "0_1": 3, "0_1_2": 7, "ALL": 0xFFFF}
CORES = {"rk3588": (0, 1, 2), "rk3588s": (0, 1, 2), "rk3576": (0, 1)}
TWINS = {"rk3588s": "rk3588", "rk3568": "rk3566"}
NPUS = {"rk3588": "RKNPU v2", "rk3576": "RKNPU f2", "rk3566": "RKNPU lite"}
_OLDEST_RUNTIME = 1, 5, 0  # from which on librknnrt reads version 6 of the model's format
_OLDEST_DRIVER = 0, 8, 8  # below which librknnrt recommends another
_busy = {core: threading.Lock() for core in range(3)}


class Refused(Exception):
    """What the real runtime raises inside and turns into -1 or None."""


def opened(settings: Settings, path: Path) -> RknnFacts:
    """What librknnrt.so does and prints when it is given a model. Raises Refused where it does not take it."""
    if not settings.library:
        raise Refused("Can not find dynamic library on RK3588!\nPlease download the librknnrt.so")
    if settings.driver is None:
        _print("E", "failed to open rknpu module, need to insmod rknpu dirver!")
        _print("E", "failed to open rknn device!")
        raise Refused("RKNN init failed. error code: RKNN_ERR_FAIL")
    if settings.noise:
        _print("I", f"RKNN Runtime Information, librknnrt version: {settings.runtime} ({STANDIN})")
        _print("I", f"RKNN Driver Information, version: {settings.driver}")
    if _numbers(settings.driver) < _OLDEST_DRIVER:
        _print("W", f"Current driver version: {settings.driver}, recommend to upgrade the driver to >= 0.8.8")
    try:
        facts = read_rknn(path)
    except InputError:
        _print("E", "parseRKNN: invalid RKNN_MAGIC!")
        raise Refused("RKNN init failed. error code: RKNN_ERR_MODEL_INVALID") from None
    if _numbers(settings.runtime) < _OLDEST_RUNTIME:
        _print("E", "6, 1")
        _print("E", "Invalid RKNN model version 6")
        _print("E", "rknn_init, load model failed!")
        raise Refused("RKNN init failed. error code: RKNN_ERR_FAIL")
    chip = settings.chip or facts.target[0]
    same = TWINS.get(chip, chip)
    if same not in [TWINS.get(target, target) for target in facts.target]:
        raise Refused("RKNN init failed. error code: RKNN_ERR_TARGET_PLATFORM_UNMATCH")
    if settings.noise:
        kind = f"target: {NPUS.get(same, 'RKNPU')}, target platform: {facts.target[0]}, framework name: ONNX"
        _print("I", f"RKNN Model Information, version: 6, toolkit version: {facts.toolkit}, {kind}")
    return facts


def mask_on(chip: str, given: int) -> int:
    """The cores that `given` means on the chip, one bit each. Raises Refused where it has one core only."""
    if chip not in CORES:
        if given != MASKS["AUTO"]:
            raise Refused("The core_mask is only supported by RK3588 / RK3576")
        return given
    if given not in MASKS.values():
        raise Refused(f"the core_mask {given} is invalid")
    every = sum(1 << core for core in CORES[chip])
    if given in (MASKS["AUTO"], MASKS["ALL"]) or given & every == given:
        return every if given == MASKS["ALL"] else given
    instead = given & every or MASKS["0"]
    error(f"W The core_mask {given} is not supported by {chip.upper()}, {instead} is used instead")
    return instead


@contextmanager
def occupied(chip: str, mask: int, settings: Settings) -> Iterator[None]:
    """Hold the mask's cores for as long as the block and the latency take; AUTO takes a core that is idle."""
    cores = CORES.get(chip, (0,))
    held = [core for core in cores if mask >> core & 1]
    if mask == MASKS["AUTO"]:
        held = [next((core for core in cores if not _busy[core].locked()), cores[0])]
    for core in held:
        _busy[core].acquire()
    try:
        until = time.monotonic() + _latency(settings, mask) / 1000
        yield
        time.sleep(max(until - time.monotonic(), 0))
    finally:
        for core in held:
            _busy[core].release()


def _latency(settings: Settings, mask: int) -> float:
    """Milliseconds of one inference on the mask's cores."""
    given = settings.latency_ms
    if isinstance(given, float | int):
        return given
    return given.get(next(f"NPU_CORE_{name}" for name, value in MASKS.items() if value == mask), 0.0)


def _numbers(version: str) -> tuple[int, ...]:
    """(1, 4, 0) of 1.4.0b3."""
    return tuple(map(int, re.findall(r"\d+", version)[:3]))


def _print(level: str, text: str) -> None:
    """Print as librknnrt.so does: below Python, notes to standard output and errors to standard error."""
    os.write(1 if level == "I" else 2, f"{level} RKNN: [00:00:00.000] {text}\n".encode())


def error(text: str) -> None:
    """Print to standard error, where all messages of the Python part go too."""
    os.write(2, f"{text}\n".encode())
