"""What RKNN-Toolkit2 builds for which chip, tried: a small detector for every chip and type of numbers.

Run in the rknn phase's environment, it prints a JSON line for each: `python -m tests.support.target_trials`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mcwbuild.contract.targets import TYPES
from tests.support import toy_onnx
from tests.support.toolkit_trials import Trial, build, trial

# What rknn.config is told for each; those of integers are calibrated.
_CONFIGS: dict[str, dict[str, Any]] = {
    "float16": {},
    "bfloat16": {"float_dtype": "bfloat16"},
    "tfloat32": {"float_dtype": "tfloat32"},
    "w8a8": {"quantized_dtype": "w8a8"},
    "w8a16": {"quantized_dtype": "w8a16"},
    "w4a16": {"quantized_dtype": "w4a16", "quantized_method": "group32"},
    "w16a16i": {"quantized_dtype": "w16a16i"},
    "w16a16i_dfp": {"quantized_dtype": "w16a16i_dfp"},
}


def tried(platform: str, kind: str, folder: Path) -> Trial:
    """One build, in a new folder below `folder`."""
    picture, listing = folder / "picture.png", folder / "list.txt"
    random = np.random.default_rng(1)
    assert cv2.imwrite(str(picture), random.integers(0, 256, (toy_onnx.SIZE, toy_onnx.SIZE, 3), np.uint8))
    listing.write_text(f"{picture}\n")
    integers = "quantized_dtype" in _CONFIGS[kind]
    steps = build(toy_onnx.network(), platform=platform, dataset=str(listing) if integers else None, **_CONFIGS[kind])
    return trial(folder / f"{platform}-{kind}", steps)


def outcome(made: Trial) -> str:
    """`built`, or how it failed: `refused` by config, `failed` later, or `crashed`."""
    if made.signal:
        return "crashed"
    if made.results == "[0, 0, 0, 0]":
        return "built"
    return "refused" if made.raised and "RKNNBase.config" in made.raised else "failed"


def table(platforms: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Every chip with every type."""
    for platform in platforms:
        for kind in TYPES:
            with tempfile.TemporaryDirectory() as folder:
                yield {"platform": platform, "type": kind, "outcome": outcome(tried(platform, kind, Path(folder)))}


if __name__ == "__main__":
    for row in table(tuple(sys.argv[1:])):
        print(json.dumps(row), flush=True)
