"""A draft of `training_source.yaml` for a network that does not tell it, for its owner to complete."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mcwbuild.contract.errors import InputError

FORMATS = {1: "Grayscale", 3: "RGB", 4: "RGBA"}  # what as many channels most often are
SHORTER_SIDES = {224: 256}  # pixels before the crop, as ImageNet's classifiers are evaluated
DEFAULT_SIDE = 224  # pixels; what classifiers of ImageNet take
DEFAULT_LINE = (32, 128)  # pixels, [H, W]; what CRNN takes
# ImageNet's mean and std in units of 0 to 255, as torchvision's own networks were trained.
_MEAN, _STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
_RESIZES = {
    "classification": {"method": "center_crop", "interpolation": "antialias"},
    "ocr": {"method": "resize_pad"},
    "generic": {"method": "direct"},
}
_HALF = 127.5  # text recognisers' usual mean and std: pixels become -1 to 1
_COMMAND = "mcwbuild init --pt {file} --task {task} --imgsz {size}"


def without_source(file: str, kind: str, shape: Sequence[int | None] | None) -> InputError:
    """The error for a network that came without its contract, with the command that begins one."""
    command = partial(_COMMAND.format, file=file, size=_size_text(shape))
    return InputError(
        f"{file} does not tell what it was trained with.",
        f"It is a {kind} network: its task, classes and preprocessing stand nowhere in it.",
        f"Begin its training_source.yaml with `{command(task='classification')} --names classes.txt`, with --task ocr "
        f"for text, or with `{command(task='generic')}` for any other network; complete it, and give it with --source.",
        kind="source",
    )


def describe(
    stamp: Mapping[str, Any], path: Path, kind: str, shape: Sequence[int | None] | None, wanted: Any
) -> dict[str, Any]:
    """The draft: what the file and the caller tell, and for the rest what is most common, named in training.guessed.

    Raises InputError where the task is another one, nobody names its classes, or the size is not the file's.
    """
    if wanted.task not in _RESIZES:
        raise InputError(
            f"A source for the task {wanted.task} cannot be begun.",
            f"Known are {', '.join(_RESIZES)}.",
            "Give one of them with --task.",
            kind="task",
        )
    text = wanted.task == "ocr"
    if (text or wanted.task == "classification") and not wanted.classes:
        raise InputError(
            f"Nothing tells the classes of {stamp['file']}.",
            "Neither --names nor --data is given.",
            "Give --names with a text file, one class a line in the order of the outputs, or --data with the folder.",
            kind="names",
        )
    told = list(shape or ())[1:] if shape is not None and len(shape) == 4 else [None, None, None]
    channels = told[0] if told[0] in FORMATS else 1 if text else 3
    usual = DEFAULT_LINE if text else (DEFAULT_SIDE,) * 2
    size = [known or asked for known, asked in zip(told[1:], wanted.size or usual, strict=True)]
    guesses = ["input.format", "preprocessing.resize.method", "preprocessing.normalize"]
    guesses += ["preprocessing.resize.shorter_side"] if wanted.task == "classification" else []
    guesses += [] if wanted.size is not None or None not in told[1:] else ["input.size"]
    guesses += ["classes.blank"] if text else []
    return {
        "schema": "training_source/1",
        "checkpoint": dict(stamp),
        "model": {
            "name": wanted.name or _name(path),
            "version": f"sha256.{stamp['sha256'][:12]}",
            "type": kind,
            "task": wanted.task,
        },
        **({"classes": _classes(wanted.classes, text)} if wanted.classes else {}),
        "input": {
            "size": size, "channels": channels, "format": FORMATS[channels], "dtype": "float32", "layout": "NCHW",
        },
        "preprocessing": {
            "resize": _resize(wanted.task, size),
            "padding": {"enabled": text, **({"color": [128] * channels, "position": "top_left"} if text else {})},
            "normalize": {"enabled": True, "method": "mean_std", **_normal(wanted.task, channels)},
        },
        "training": {"guessed": guesses},
    }  # fmt: skip


def _resize(task: str, size: Sequence[int]) -> dict[str, Any]:
    shorter = SHORTER_SIDES.get(max(size)) if task == "classification" else None
    return {**_RESIZES[task], **({"shorter_side": shorter} if shorter else {})}


def _classes(names: Sequence[str], text: bool) -> dict[str, Any]:
    return {"names": list(names), "num_classes": len(names), **({"blank": "first"} if text else {})}


def _normal(task: str, channels: int) -> dict[str, list[float]]:
    """Mean and std as networks for the task most often are trained."""
    if task == "ocr":
        return {"mean": [_HALF] * channels, "std": [_HALF] * channels}
    if task == "classification" and channels == 3:
        return {"mean": list(_MEAN), "std": list(_STD)}
    return {"mean": [0.0] * channels, "std": [1.0] * channels}


def _name(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", path.stem).strip("._-")[:100] or "model"


def _size_text(shape: Sequence[int | None] | None) -> str:
    if shape is None or len(shape) != 4 or not shape[2] or not shape[3]:
        return str(DEFAULT_SIDE)
    return f"{shape[2]},{shape[3]}"
