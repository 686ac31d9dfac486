"""`training_source.yaml` from a checkpoint: what Ultralytics recorded when it trained."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mcwbuild.contract.errors import InputError
from mcwbuild.contract.marks import shown, text_problems
from stages.common.checkpoint import Checkpoint
from stages.families.yolo.architectures import TASKS, architecture_of, size_of, stem
from stages.families.yolo.preparation import preparation

MAX_CLASSES = 1000
MAX_KEYPOINTS = 1000  # as the schema says
MAX_NAME = 200  # characters, as the schema says
_NAMES_THAT_SAY_NOTHING = {"best", "last", "weights", "model", ""}
_TRAINING = (
    *("imgsz", "epochs", "batch", "optimizer", "lr0", "lrf", "momentum", "weight_decay", "warmup_epochs", "cos_lr"),
    *("seed", "deterministic", "single_cls", "rect", "multi_scale", "close_mosaic", "amp", "fraction", "freeze"),
    *("dropout", "pretrained", "patience", "hsv_h", "hsv_s", "hsv_v", "degrees", "translate", "scale", "shear"),
    *("perspective", "flipud", "fliplr", "bgr", "mosaic", "mixup", "cutmix", "copy_paste", "copy_paste_mode"),
    *("auto_augment", "erasing", "overlap_mask", "mask_ratio", "pose", "kobj", "rle", "angle", "box", "cls", "dfl"),
)


def describe(
    checkpoint: Checkpoint, name: str | None = None, imgsz: int | Sequence[int] | None = None
) -> dict[str, Any]:
    """The whole `training_source` document of `checkpoint`.

    `name` is the model's name (default: the file's, or the folder's where the file is called best
    or last), `imgsz` a side or [height, width] in pixels (default: what the training used).
    Raises InputError where the checkpoint is not supported, or the size does not fit its strides.
    """
    architecture = architecture_of(checkpoint)
    return document(checkpoint, architecture.type, size_of(checkpoint, architecture) or None, name, imgsz)


def document(
    checkpoint: Checkpoint, kind: str, scale: str | None, name: str | None, imgsz: int | Sequence[int] | None
) -> dict[str, Any]:
    """As `describe`, for a network that the caller calls `kind`; `scale` is the letter of its size, or None."""
    names = class_names(checkpoint)
    size = input_size(checkpoint, imgsz)
    return {
        "schema": "training_source/1",
        "checkpoint": {"file": _file(checkpoint), "sha256": checkpoint.sha256, "size": checkpoint.size},
        "model": {
            "name": name or default_name(checkpoint),
            "version": _version(checkpoint),
            "type": kind,
            "task": TASKS[checkpoint.task],
            **_created(checkpoint),
        },
        "classes": {
            "names": list(names),
            "num_classes": len(names),
            **({"keypoints": keypoints(checkpoint)} if checkpoint.task == "pose" else {}),
        },
        "input": {"size": size, "channels": 3, "format": "RGB", "dtype": "float32", "layout": "NCHW"},
        "preprocessing": preparation(checkpoint, size),
        **_references(checkpoint, scale),
    }


def input_size(checkpoint: Checkpoint, imgsz: int | Sequence[int] | None = None) -> list[int]:
    """[height, width] in pixels. Raises InputError where it is no multiple of the largest stride."""
    asked = checkpoint.train_args.get("imgsz", 640) if imgsz is None else imgsz
    sides = [asked, asked] if isinstance(asked, int) else list(asked) if isinstance(asked, Sequence) else []
    sides = sides * 2 if len(sides) == 1 else sides
    stride = max(checkpoint.stride, default=32)
    if len(sides) != 2 or not all(type(side) is int and 0 < side <= 16_384 for side in sides):
        raise InputError(
            "The input size cannot be used.",
            f"{'The training of ' + checkpoint.file if imgsz is None else 'The request'} names {_shown(asked)}.",
            "Give one side or height,width in pixels, for example --imgsz 640 or --imgsz 384,640.",
            kind="size",
        )
    if any(side % stride for side in sides):
        near = ",".join(str(max(stride, round(side / stride) * stride)) for side in sides)
        raise InputError(
            f"The input size {sides} does not fit the network.",
            f"Height and width have to be multiples of its largest stride, {stride}.",
            f"Give for example --imgsz {near}.",
            kind="size",
        )
    return sides


def class_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The class names in the order of the network's outputs. Raises InputError where they cannot be carried on."""
    names = checkpoint.names
    found = ""
    if not 1 <= len(names) <= MAX_CLASSES:
        found = f"It has {len(names)} classes, and 1 to {MAX_CLASSES} are supported."
    elif checkpoint.yaml.get("nc", len(names)) != len(names):
        found = f"It names {len(names)} classes, but its architecture has {_shown(checkpoint.yaml.get('nc'))}."
    elif len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        found = f"Two of its classes have the name {_shown(twice)}."
    else:
        refused = ((index, reason) for index, name in enumerate(names) if (reason := _name_problem(name)))
        found = next((f"The name of class {index}, {shown(names[index])}: {reason}." for index, reason in refused), "")
    if found:
        raise InputError(
            f"The classes of {checkpoint.file} cannot be used.",
            found,
            "Correct `names`, and save it again.",
            kind="names",
        )
    return names


def keypoints(checkpoint: Checkpoint) -> list[int]:
    """[keypoints of an object, numbers of each: 2 or 3]. Raises InputError where the checkpoint's are none."""
    shape = checkpoint.yaml.get("kpt_shape")
    if isinstance(shape, list) and len(shape) == 2 and all(type(part) is int for part in shape):
        count, numbers = shape
        if 1 <= count <= MAX_KEYPOINTS and numbers in (2, 3):
            return [count, numbers]
    raise InputError(
        f"The keypoints of {checkpoint.file} cannot be used.",
        f"Its kpt_shape is {_shown(shape)}.",
        f"It has to be [1 to {MAX_KEYPOINTS}, 2 or 3].",
        kind="keypoints",
    )


def _name_problem(name: str) -> str | None:
    """Why documents cannot hold this class name, or None."""
    if not 1 <= len(name) <= MAX_NAME:
        return f"it has {len(name)} characters, and 1 to {MAX_NAME} are accepted"
    return next((message for _, message, _ in text_problems(name)), None)


def default_name(checkpoint: Checkpoint) -> str:
    """A name from the path: `best.pt` in runs/detect/cats/weights is `cats`."""
    path = checkpoint.path.absolute()
    candidates = [path.stem, *(folder.name for folder in path.parents)]
    name = next((name for name in candidates if name.lower() not in _NAMES_THAT_SAY_NOTHING), "model")
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[:100] or "model"


def _version(checkpoint: Checkpoint) -> str:
    """The day of its training as a version, 2026.11.23; its hash where no day is recorded."""
    day = re.match(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", str(checkpoint.metadata.get("date") or ""))
    return ".".join(day.groups()) if day else f"sha256.{checkpoint.sha256[:12]}"


def _file(checkpoint: Checkpoint) -> str:
    """The file's name; what the package calls it where the name cannot stand in a document."""
    name = checkpoint.path.name
    return "best.pt" if "\\" in name or _refused(name) else name


def _created(checkpoint: Checkpoint) -> dict[str, str]:
    date = checkpoint.metadata.get("date")
    return {"created_date": date} if isinstance(date, str) and not _refused(date) else {}


def _references(checkpoint: Checkpoint, scale: str | None) -> dict[str, Any]:
    """The blocks that nothing depends on: training, dataset, architecture, performance."""
    metrics = checkpoint.metadata.get("train_metrics")
    arguments = checkpoint.train_args
    blocks = {
        "training": {
            "framework": "ultralytics",
            "version": checkpoint.metadata.get("version"),
            "license": checkpoint.metadata.get("license"),
            **{key: arguments[key] for key in _TRAINING if key in arguments},
        },
        "dataset": {"data": arguments.get("data")},
        "architecture": {
            "file": stem(checkpoint) + ".yaml",
            "scale": scale,
            "parameters": parameters(checkpoint),
            "strides": list(checkpoint.stride),
        },
        "performance": metrics if isinstance(metrics, Mapping) else {},
    }
    clean = {name: _accepted(block) for name, block in blocks.items()}
    return {name: block for name, block in clean.items() if block}


def parameters(checkpoint: Checkpoint) -> int:
    """How many weights the network has; statistics of the normalisations are not counted."""
    buffers = (".running_mean", ".running_var", ".num_batches_tracked")
    return sum(math.prod(array.shape) for name, array in checkpoint.tensors.items() if not name.endswith(buffers))


def _accepted(value: Any, depth: int = 0) -> Any:
    """`value` without what a source document may not hold: None, numbers that are not finite, hostile text."""
    if isinstance(value, Mapping):
        made = {key: _accepted(part, depth + 1) for key, part in value.items() if not _refused(str(key))}
        return {key: part for key, part in made.items() if part is not None} if depth < 8 else None
    if isinstance(value, list):
        return [_accepted(part, depth + 1) for part in value[:1000]] if depth < 8 else None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str) and (len(value) > 1000 or _refused(value)):
        return None
    return value if not isinstance(value, int) or abs(value) < 2**63 else None


def _refused(text: str) -> bool:
    return any(True for _ in text_problems(text))


def _shown(value: Any) -> str:
    return ascii(value)[:80]
