"""The part of `npu_inference.py` that meets the board: model file, chip, runtime.

Used here only as text, like `board.py`. Python 3.8 and numpy only; rknn-toolkit-lite2 never raises, it
prints and returns -1 or None.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

COMPATIBLE = Path("/proc/device-tree/compatible")  # NUL-separated, "rockchip,rk3588s-orangepi-5\0rockchip,rk3588s"
DONE, INPUT, RUNTIME, ENVIRONMENT, REFUSED = 0, 2, 4, 5, 6  # exit codes

# What librknnrt prints, and what it means (Rockchip's FAQ and issue threads).
RUNTIME_MESSAGES = (
    (
        r"Invalid RKNN model version|E RKNN: 6, 1",
        "librknnrt.so is older than the model",
        "Replace /usr/lib/librknnrt.so with version {toolkit} or newer of Rockchip's runtime.",
    ),
    (
        r"invalid RKNN_MAGIC",
        "the model file is damaged or a Git LFS pointer",
        "Copy the .rknn from the package again.",
    ),
    (
        r"failed to open rknpu module",
        "the NPU's driver is missing or this user may not open it",
        "Load the rknpu driver, or run as root or as a member of the groups video and render.",
    ),
    (
        r"Can not find dynamic library",
        "librknnrt.so is not in /usr/lib",
        "Copy librknnrt.so {toolkit} there; in a container, mount it.",
    ),
    (
        r"RKNN_ERR_TARGET_PLATFORM_UNMATCH",
        "the model was built for another chip than this one",
        "Convert again with --target of this board.",
    ),
    (
        r"Unsupport CPU op: (\w+)",
        "the runtime does not know one of the model's operators",
        "Install a newer librknnrt.so, or change the model so that it does without that operator.",
    ),
    (
        r"failed to submit",
        "driver, runtime and model do not fit together",
        "Update the rknpu driver and use librknnrt.so {toolkit}.",
    ),
    (
        r"RKNN_ERR_MALLOC_FAIL|failed to allocate|Out of memory",
        "the NPU found no memory",
        "End other programs that use the NPU, or enlarge the CMA memory.",
    ),
)


class Stop(Exception):
    """Ends the program with one line: what failed, why, and what to do."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@contextlib.contextmanager
def captured(lines: list[str]) -> Iterator[None]:
    """Collect what C code prints on both outputs, which Python does not see, and pass it on to standard error."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(kept[0], 1)
            os.dup2(kept[1], 2)
            os.close(kept[0])
            os.close(kept[1])
            log.seek(0)
            text = log.read().decode("utf-8", "replace")
            lines.append(text)
            sys.stderr.write(text)


def explain(call: str, result: Any, printed: str, data: Mapping[str, Any]) -> Stop:
    """The error for a runtime call that returned `result`, with what its messages mean."""
    for pattern, meaning, remedy in RUNTIME_MESSAGES:
        match = re.search(pattern, printed)
        if match:
            text = f"{call} failed: {meaning} ({match.group(0)}). {remedy.format(**data)}"
            return Stop(RUNTIME, text)
    return Stop(
        RUNTIME,
        f"{call} failed: it returned {result!r}. See the runtime's messages above; driver, librknnrt.so and this"
        f" model's toolkit {data['toolkit']} have to fit together.",
    )


def check_model(path: Path, data: Mapping[str, Any]) -> None:
    """Refuse a model file that is not the one whose data stands in this program."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Stop(INPUT, f"{path} cannot be read: {error.strerror}. Give --model the package's .rknn.") from None
    if content[:4] != b"RKNN":
        raise Stop(INPUT, f"{path} is not a .rknn file (damaged, or a Git LFS pointer). Copy it again.")
    if data["contract_sha256"].encode("ascii") not in content:
        raise Stop(
            REFUSED,
            f"{path} was made under another contract (input, colours, normalisation, classes) than this program."
            " Use the model and the program of one package.",
        )
    if hashlib.sha256(content).hexdigest() not in [model["sha256"] for model in data["models"]]:
        raise Stop(
            REFUSED, f"{path} is not the file that was measured: its SHA-256 differs. Copy it from the package again."
        )


def check_chip(data: Mapping[str, Any], compatible: Path) -> None:
    """Refuse to start on another chip than the model's; where the chip is unknown, only say so."""
    if not data["lite"]:
        raise Stop(
            ENVIRONMENT,
            f"rknn-toolkit-lite2 does not run on {data['target']}. Use Rockchip's C interface there; this program shows"
            " the steps.",
        )
    try:
        text = compatible.read_bytes().decode("ascii", "replace")
    except OSError:
        sys.stderr.write(f"note: {compatible} is not there, so the chip was not checked\n")
        return
    chips = re.findall(r"rockchip,(r[kv]\d{4}[a-z]?)(?![a-z0-9])", text)
    if not chips:
        found = text.strip("\0").replace("\0", ", ")
        raise Stop(ENVIRONMENT, f"No chip that this program knows: {found}. Run it on {data['target']}.")
    if not set(chips) & set(data["chips"]):
        raise Stop(
            ENVIRONMENT,
            f"The model was built for {data['target']}, this board has {chips[-1]}. Convert again with"
            f" --target {chips[-1]}.",
        )


def open_runtime(path: Path, core: str, data: Mapping[str, Any]) -> Any:
    """The model, loaded on the NPU."""
    try:
        from rknnlite.api import RKNNLite
    except ImportError as error:
        raise Stop(
            ENVIRONMENT,
            f"rknn-toolkit-lite2 cannot be imported ({error}). Install it on the board:"
            f" pip install rknn-toolkit-lite2=={data['toolkit']}",
        ) from None
    runtime = RKNNLite()
    printed: list[str] = []
    with captured(printed):
        result = runtime.load_rknn(str(path))
    if result != 0:
        raise explain("load_rknn", result, printed[-1], data)
    mask = "NPU_CORE_" + core.upper()
    if core != "auto" and mask not in data["core_masks"]:
        raise Stop(INPUT, f"--core {core}: {data['target']} does not have it. Leave it out.")
    options = {"core_mask": getattr(RKNNLite, mask)} if core != "auto" else {}
    with captured(printed):
        result = runtime.init_runtime(**options)
    if result != 0:
        raise explain("init_runtime", result, printed[-1], data)
    return runtime


def infer(runtime: Any, prepared: np.ndarray, data: Mapping[str, Any]) -> list[np.ndarray]:
    """The network's outputs, float32, for uint8 [H, W, C] in the contract's colour format."""
    printed: list[str] = []
    with captured(printed):
        outputs = runtime.inference(inputs=[prepared[None]])
    if outputs is None:
        raise explain("inference", outputs, printed[-1], data)
    shapes = [list(output.shape) for output in outputs]
    if shapes != data["shapes"]:
        wrong = f"The model gave outputs of shape {shapes} instead of {data['shapes']}."
        raise Stop(RUNTIME, f"{wrong} Convert again.")
    if not all(np.isfinite(output).all() for output in outputs):
        raise Stop(RUNTIME, "The model gave values that are not finite. Use best_int8.rknn, or convert again.")
    return [np.asarray(output, np.float32) for output in outputs]
