"""What the stand-in's board is like, as `standin.json` says; see `api` for where that file lies."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

FILE = "standin.json"


@dataclass(frozen=True)
class Settings:
    """The board and its faults.

    chip: what the board has; without it the model's own.
    runtime, driver: versions of librknnrt.so and of the rknpu driver; without a driver, the NPU cannot be opened.
    library: whether librknnrt.so is in /usr/lib.
    latency_ms: the least time of one inference, one number or one for each mask, {"NPU_CORE_0_1_2": 12}.
    onnx: the model that computes; without it the `best.onnx` beside the recording or the model.
    keep: write what inference was given last to `seen.npy`, and the core masks to `core_masks.txt`.
    noise: print what librknnrt prints at its start to standard output.
    fail: {"call": "load_rknn" | "init_runtime" | "inference", "print": text, "at": n}: that call fails, the n-th and
    all later ones; without "at" every one.
    """

    folder: Path
    chip: str | None = None
    runtime: str = "2.3.2"
    driver: str | None = "0.9.8"
    library: bool = True
    latency_ms: float | Mapping[str, float] = 0.0
    onnx: str | None = None
    keep: bool = False
    noise: bool = True
    fail: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, model: Path) -> Settings:
        """Those in the folder named by STANDIN_RKNNLITE, else in the model's folder."""
        folder = Path(os.environ.get("STANDIN_RKNNLITE") or model.parent)
        file = folder / FILE
        given = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        unknown = given.keys() - {one.name for one in fields(cls)}
        if unknown:
            raise ValueError(f"{file} holds {sorted(unknown)}, which the stand-in does not know")
        return cls(folder, **given)
