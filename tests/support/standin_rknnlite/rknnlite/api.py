"""A stand-in for `rknnlite.api`: gives recorded outputs, and fails as the real one does: prints, returns -1 or None.

The recording is a folder named by STANDIN_RKNNLITE: `outputs.npz` (arrays in the order of their names, one set
for all images), `seen.npy` (written: what inference was given last), and `failure.json`, where the board shall
fail: {"call": "load_rknn"|"init_runtime"|"inference", "print": text}.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np


class RKNNLite:
    """The calls that npu_inference.py makes."""

    NPU_CORE_AUTO, NPU_CORE_0, NPU_CORE_1, NPU_CORE_0_1 = 0, 1, 2, 3

    def __init__(self) -> None:
        self._folder = Path(os.environ["STANDIN_RKNNLITE"])
        failure = self._folder / "failure.json"
        self._failure: dict[str, str] = json.loads(failure.read_text()) if failure.exists() else {}
        self._ready = False

    def load_rknn(self, path: str) -> int:
        """0, or -1 after printing why."""
        os.write(1, b"I RKNN: noise on standard output, as librknnrt prints it\n")
        return self._fails("load_rknn") or (0 if Path(path).is_file() else -1)

    def init_runtime(self, core_mask: int = NPU_CORE_AUTO) -> int:
        """0, or -1 after printing why."""
        (self._folder / "core_mask.txt").write_text(str(core_mask))
        self._ready = not self._fails("init_runtime")
        return 0 if self._ready else -1

    def inference(self, inputs: list[Any]) -> list[Any] | None:
        """The recorded outputs, or None after printing why."""
        if not self._ready or self._fails("inference"):
            return None
        (given,) = inputs
        assert given.dtype == np.uint8
        assert given.ndim == 4
        np.save(self._folder / "seen.npy", given)
        with np.load(self._folder / "outputs.npz") as recorded:
            return [recorded[name] for name in sorted(recorded.files)]

    def release(self) -> None:
        """Nothing is held."""

    def _fails(self, call: str) -> int:
        if self._failure.get("call") != call:
            return 0
        os.write(2, (self._failure["print"] + "\n").encode())
        return -1
