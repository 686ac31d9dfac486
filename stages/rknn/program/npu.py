"""The part of `npu_inference.py` that meets the NPU: the runtime, what it prints, contexts, inference.

rknn-toolkit-lite2 never raises: it prints below Python and returns -1 or None. Python 3.8 and numpy only.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

DONE, INPUT, RUNTIME, ENVIRONMENT, REFUSED = 0, 2, 4, 5, 6  # exit codes
_KEPT_BYTES = 1 << 16  # of what the runtime printed
_KEPT_LINES = 1000  # that are known again
_CLOCK = re.compile(rb"\[\d\d:\d\d:\d\d\.\d+\]")
_MARK = b"\0npu_inference\0"
_PATIENCE = 2.0  # seconds for the last words of a failing call

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
    (
        r"core_mask is only supported|Not support core mask",
        "this chip or driver does not run the model on those cores",
        "Give another --core, or update the rknpu driver.",
    ),
)


class Stop(Exception):
    """Ends the program with one line: what failed, why, and what to do."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class RuntimeLog:
    """Keeps standard output clean: what the runtime prints on either output, below Python, goes to standard error.

    Its last words are kept, because nothing but them says why a call failed. From now on the outputs 1 and 2 of this
    process are a pipe that a thread reads; Python's own streams keep the real ones. A line that was passed on once is
    not again: every context says the same at its start, and some say something with every frame.
    """

    def __init__(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self._real = os.dup(1), os.dup(2)
        self._streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (self._stream(number) for number in self._real)
        source, target = os.pipe()
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.close(target)
        self._heard = self._unfinished = b""
        self._said: set[bytes] = set()
        self._marked = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(source,), daemon=True)
        self._reader.start()

    @staticmethod
    def _stream(number: int) -> Any:
        # Boards often run in the C locale, which has ASCII only.
        return os.fdopen(os.dup(number), "w", encoding=sys.stdout.encoding, errors="backslashreplace", buffering=1)

    def _read(self, source: int) -> None:
        while True:
            part = os.read(source, 1 << 16)
            if not part:
                os.close(source)
                self._pass_on(b"\n" if self._unfinished else b"")
                return
            asked = _MARK in part  # a write as short as that is never split
            part = part.replace(_MARK, b"")
            self._heard = (self._heard + part)[-_KEPT_BYTES:]
            self._pass_on(part)
            if asked:
                self._marked.set()

    def _pass_on(self, part: bytes) -> None:
        *lines, self._unfinished = (self._unfinished + part).split(b"\n")
        for line in lines:
            words = _CLOCK.sub(b"", line)
            if words not in self._said:
                with contextlib.suppress(BrokenPipeError):
                    os.write(self._real[1], line + b"\n")
            if len(self._said) < _KEPT_LINES:
                self._said.add(words)

    def text(self) -> str:
        """What was printed up to now."""
        self._marked.clear()
        os.write(1, _MARK)
        self._marked.wait(_PATIENCE)
        return self._heard.decode("utf-8", "replace")

    def forget(self) -> None:
        """What was printed explains nothing that comes."""
        self._heard = b""

    def close(self) -> None:
        """Give the outputs back, when all that was printed has been passed on."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BrokenPipeError:  # whoever read it is gone, and so is what is left to be written
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        for number, real in enumerate(self._real, 1):
            os.dup2(real, number)
        self._reader.join(_PATIENCE)
        sys.stdout, sys.stderr = self._streams


def explain(call: str, result: Any, log: RuntimeLog, data: Mapping[str, Any]) -> Stop:
    """The error for a runtime call that returned `result`, with what its messages mean."""
    printed = log.text()
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


def masks_of(core: str, data: Mapping[str, Any], contexts: int) -> Sequence[str]:
    """The core masks to open a context on: one for each core where `core` is `all`, at most `contexts` of them."""
    single = [mask for mask in data["core_masks"] if mask[len("NPU_CORE_") :].isdigit()]
    if core == "all":
        return single[:contexts] if contexts > 1 and single else ["NPU_CORE_AUTO"]
    mask = "NPU_CORE_" + core.upper()
    if core != "auto" and mask not in data["core_masks"]:
        raise Stop(INPUT, f"--core {core}: {data['target']} does not have it. Leave it out.")
    return [mask]


def open_runtime(path: str, mask: str, log: RuntimeLog, data: Mapping[str, Any]) -> Any:
    """A context of its own: the model, loaded on the cores of the mask."""
    try:
        from rknnlite.api import RKNNLite
    except ImportError as error:
        raise Stop(
            ENVIRONMENT,
            f"rknn-toolkit-lite2 cannot be imported ({error}). Install it on the board:"
            f" pip install rknn-toolkit-lite2=={data['toolkit']}",
        ) from None
    runtime = RKNNLite()
    result = runtime.load_rknn(path)
    if result != 0:
        raise explain("load_rknn", result, log, data)
    options = {} if mask == "NPU_CORE_AUTO" else {"core_mask": getattr(RKNNLite, mask)}
    result = runtime.init_runtime(**options)
    if result != 0:
        raise explain("init_runtime", result, log, data)
    return runtime


def infer(runtime: Any, prepared: np.ndarray, log: RuntimeLog, data: Mapping[str, Any]) -> list[np.ndarray]:
    """The network's outputs, float32, for uint8 [H, W, C] in the contract's colour format."""
    outputs = runtime.inference(inputs=[prepared[None]])
    if outputs is None:
        raise explain("inference", outputs, log, data)
    shapes = [list(output.shape) for output in outputs]
    if shapes != data["shapes"]:
        wrong = f"The model gave outputs of shape {shapes} instead of {data['shapes']}."
        raise Stop(RUNTIME, f"{wrong} Convert again.")
    if not all(np.isfinite(output).all() for output in outputs):
        raise Stop(RUNTIME, "The model gave values that are not finite. Use best_int8.rknn, or convert again.")
    return [np.asarray(output, np.float32) for output in outputs]
