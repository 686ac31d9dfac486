"""How Ultralytics prepares images: letterboxed for every task but classification."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint import Checkpoint, Module

PAD = 114  # grey level of Ultralytics' LetterBox (ultralytics/data/augment.py)
FULL_SCALE = 255.0  # Ultralytics divides 8-bit images by it and subtracts nothing

LETTERBOXED: dict[str, Any] = {
    "resize": {"method": "letterbox"},
    "padding": {"enabled": True, "color": [PAD] * 3, "position": "center"},
    "normalize": {"enabled": True, "method": "mean_std", "mean": [0.0] * 3, "std": [FULL_SCALE] * 3},
}
_CLASSIFIER = ["Resize", "CenterCrop", "ToTensor", "Normalize"]  # ultralytics/data/augment.py, classify_transforms


def preparation(checkpoint: Checkpoint, size: Sequence[int]) -> dict[str, Any]:
    """`preprocessing` of the checkpoint's `training_source` for an input of `size` [H, W].

    Raises InputError where a classifier was trained with transforms that are not Ultralytics'.
    """
    if checkpoint.task != "classify":
        return by_default(checkpoint.task, size)
    mean, std = _normalisation(checkpoint)
    return _of_classifier(size, mean, std)


def by_default(task: str, size: Sequence[int]) -> dict[str, Any]:
    """`preprocessing` of a network that Ultralytics trained with its own settings; `task` is its word for it."""
    return _of_classifier(size, [0.0] * 3, [FULL_SCALE] * 3) if task == "classify" else copy.deepcopy(LETTERBOXED)


def _of_classifier(size: Sequence[int], mean: list[float], std: list[float]) -> dict[str, Any]:
    return {
        # Ultralytics scales the shorter side of an image to a square input, and stretches it to any other.
        "resize": {"method": "center_crop" if size[0] == size[1] else "direct", "interpolation": "antialias"},
        "padding": {"enabled": False},
        "normalize": {"enabled": True, "method": "mean_std", "mean": mean, "std": std},
    }


def _normalisation(checkpoint: Checkpoint) -> tuple[list[float], list[float]]:
    """Mean and std in units of 0 to 255, as the transforms in a classifier's checkpoint say."""
    parts = checkpoint.transforms
    if not parts:
        return [0.0] * 3, [FULL_SCALE] * 3
    named = {part.kind.rpartition(".")[2]: part.settings for part in parts}
    if list(named) != _CLASSIFIER or len(parts) != len(_CLASSIFIER):
        raise _unknown(checkpoint, f"Its transforms are {', '.join(_shown(part) for part in parts)}.")
    resize, crop = (_sides(named[name].get("size")) for name in _CLASSIFIER[:2])
    if resize is None or resize != crop or named["Resize"].get("interpolation") != "bilinear":
        raise _unknown(checkpoint, f"It resizes by {ascii(named['Resize'])[:100]} and crops {ascii(crop)[:20]}.")
    values = [named["Normalize"].get(key) for key in ("mean", "std")]
    sound = all(isinstance(value, tuple) and len(value) == 3 and all(map(math.isfinite, value)) for value in values)
    if not sound or min(values[1] or (0,)) <= 0:
        raise _unknown(checkpoint, f"It normalises by {ascii(values)[:100]}.")
    # Float32 has seven digits: more would be the noise of its conversion.
    mean, std = ([float(f"{part * FULL_SCALE:.7g}") for part in value or ()] for value in values)
    return mean, std


def _sides(size: Any) -> tuple[Any, ...] | None:
    """(height, width) of a transform's `size`, which is a side or both."""
    return (size, size) if type(size) is int else size if isinstance(size, tuple) and len(size) == 2 else None


def _shown(part: Module) -> str:
    return ascii(part.kind.rpartition(".")[2])[1:-1][:40]


def _unknown(checkpoint: Checkpoint, found: str) -> InputError:
    return InputError(
        f"{checkpoint.file} was trained with a preparation of images that is not Ultralytics' own.",
        found,
        "Train it with Ultralytics' classify task, or export it to ONNX yourself.",
        kind="preparation",
    )
