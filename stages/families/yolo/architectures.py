"""Which Ultralytics architectures there are, and which of them are supported in which task."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint import Checkpoint

TASKS = {
    "detect": "object_detection",
    "segment": "segmentation",
    "pose": "pose",
    "obb": "oriented_detection",
    "classify": "classification",
}
# What stands behind the size in the name of a task's YAML: `yolo11n-seg`.
SUFFIXES = {"detect": "", "segment": "-seg", "pose": "-pose", "obb": "-obb", "classify": "-cls"}
EVERY_TASK = tuple(SUFFIXES)
CLASSES = {  # the library's class of each task's networks, in ultralytics.nn.tasks
    "detect": "DetectionModel",
    "segment": "SegmentationModel",
    "pose": "PoseModel",
    "obb": "OBBModel",
    "classify": "ClassificationModel",
}


@dataclass(frozen=True)
class Architecture:
    """One architecture: its name, the library's own YAML below `cfg/models`, the tasks that are supported.

    `stem` matches the name of the YAML that a checkpoint was made from, its size as the first group, if
    it has sizes; `sizes` are their letters. A `{size}` in `stock` stands where each size has its own YAML; it is
    empty where the library has none.
    """

    type: str
    stem: re.Pattern[str]
    stock: str
    sizes: str
    tasks: tuple[str, ...] = ("detect",)

    def file(self, task: str, size: str) -> str:
        """The library's YAML for a task, below `cfg/models`."""
        return self.stock.format(size=size).replace(".yaml", f"{SUFFIXES[task]}.yaml")


def _architecture(
    kind: str, stem: str, stock: str, sizes: str = "nsmlx", tasks: tuple[str, ...] = ("detect",)
) -> Architecture:
    return Architecture(kind, re.compile(stem), stock, sizes, tasks)


# The order does not matter: no two patterns match the same stem. Ultralytics' own checkpoints of its forerunners end
# in `u` (their anchors are gone), and `yolov5n6` is the old name of `yolov5n-p6`.
ARCHITECTURES = (
    _architecture("YOLOv3", r"yolov3u?", "v3/yolov3.yaml", ""),
    _architecture("YOLOv3", r"yolov3-tinyu?", "v3/yolov3-tiny.yaml", ""),
    _architecture("YOLOv3", r"yolov3-sppu?", "v3/yolov3-spp.yaml", ""),
    _architecture("YOLOv5u", r"yolov5([nsmlx]?)u?", "v5/yolov5.yaml"),
    _architecture("YOLOv5u", r"yolov5([nsmlx]?)(?:6|-p6)u?", "v5/yolov5-p6.yaml"),
    _architecture("YOLOv6", r"yolov6([nsmlx]?)", "v6/yolov6.yaml"),
    _architecture("YOLOv8", r"yolov8([nsmlx]?)", "v8/yolov8.yaml", tasks=EVERY_TASK),
    _architecture("YOLOv8", r"yolov8([nsmlx]?)-p2", "v8/yolov8-p2.yaml"),
    _architecture("YOLOv8", r"yolov8([nsmlx]?)(?:6|-p6)", "v8/yolov8-p6.yaml"),
    _architecture("YOLOv9", r"yolov9([tsmce])", "v9/yolov9{size}.yaml", "tsmce"),
    _architecture("YOLOv10", r"yolov10([nsmblx])", "v10/yolov10{size}.yaml", "nsmblx"),
    _architecture("YOLO11", r"yolo11([nsmlx]?)", "11/yolo11.yaml", tasks=EVERY_TASK),
    _architecture("YOLO12", r"yolo12([nsmlx]?)", "12/yolo12.yaml"),
    _architecture("YOLO26", r"yolo26([nsmlx]?)", "26/yolo26.yaml", tasks=EVERY_TASK),
    _architecture("YOLO26", r"yolo26([nsmlx]?)-p2", "26/yolo26-p2.yaml"),
    _architecture("YOLO26", r"yolo26([nsmlx]?)-p6", "26/yolo26-p6.yaml"),
)
_TYPES = list(dict.fromkeys(one.type for one in ARCHITECTURES))
_OTHERS = list(dict.fromkeys(one.type for one in ARCHITECTURES if len(one.tasks) > 1))
_SUPPORTED = (
    f"Supported are Ultralytics' own detection models {', '.join(_TYPES[:-1])} and {_TYPES[-1]}, and of "
    f"{', '.join(_OTHERS[:-1])} and {_OTHERS[-1]} those for classification, segmentation, pose and oriented detection; "
    "and YAMLs of one's own that are made of the same modules."
)
TASK_SUFFIX = re.compile(r"-(?:cls|seg|pose|obb|sem|depth)\Z")


def stem(checkpoint: Checkpoint) -> str:
    """The name of the YAML that the network was made from, without folders and suffix: `yolo11n`."""
    named = checkpoint.yaml.get("yaml_file")
    last = re.split(r"[\\/]", named)[-1] if isinstance(named, str) else ""
    return last.removesuffix(".yaml").removesuffix(".yml").lower()


def is_yolo(checkpoint: Checkpoint) -> bool:
    """Whether Ultralytics' package saved the checkpoint's network."""
    return checkpoint.model_class.startswith("ultralytics.")


def architecture_of(checkpoint: Checkpoint) -> Architecture:
    """The supported architecture of `checkpoint`. Raises InputError, naming task or architecture, for any other."""
    kind = checkpoint.model_class
    name = stem(checkpoint)
    found = next((one for one in ARCHITECTURES if one.stem.fullmatch(TASK_SUFFIX.sub("", name))), None)
    label = found.type if found else _by_class(kind) or f"the architecture {name or 'without a name'!a}"
    if checkpoint.task not in TASKS:
        raise _unsupported(checkpoint, f"Its task is {ascii(checkpoint.task)[:40]} ({label}).")
    if kind != f"ultralytics.nn.tasks.{CLASSES[checkpoint.task]}":
        raise _unsupported(checkpoint, f"Its architecture is {label} ({TASKS[checkpoint.task]}).")
    if checkpoint.metadata.get("modelopt"):
        raise _unsupported(checkpoint, f"It is a {label} trained with quantization in the loop.")
    if found is None or checkpoint.task not in found.tasks:
        return _own(found.type if found else "custom YOLO")
    return found


def _own(kind: str) -> Architecture:
    """An architecture that is not one of the library's own in that task: a network is what its own YAML says."""
    return Architecture(kind, re.compile(r".*"), "", "", EVERY_TASK)


def newer(checkpoint: Checkpoint) -> str:
    """A sentence where a later version of ultralytics saved the checkpoint than the one that is here; else empty."""
    saved, here = str(checkpoint.metadata.get("version") or ""), _installed()
    if not (re.fullmatch(r"\d{1,4}(?:\.\d{1,6}){1,3}", saved) and here) or _parts(saved) <= _parts(here):
        return ""
    return f" It was saved by ultralytics {saved}, which is newer than {here}, the version here."


def _installed() -> str:
    try:
        return version("ultralytics-opencv-headless")
    except PackageNotFoundError:
        return ""


def _parts(number: str) -> list[int]:
    return [int(part) for part in number.split(".") if part.isdigit()]


def size_of(checkpoint: Checkpoint, architecture: Architecture) -> str:
    """The letter of the network's size, empty where the architecture has one size only.

    Raises InputError where the checkpoint names none that exists.
    """
    if not architecture.sizes:
        return ""
    match = architecture.stem.fullmatch(TASK_SUFFIX.sub("", stem(checkpoint)))
    named = match.group(1) if match else ""
    size = checkpoint.yaml.get("scale") or named or architecture.sizes[:1]  # as the library does
    if not isinstance(size, str) or len(size) != 1 or size not in architecture.sizes:
        raise _unsupported(checkpoint, f"{architecture.type} has no size {ascii(size)[:40]}.")
    return size


def _by_class(kind: str) -> str:
    """The name of an architecture that has a class of its own."""
    return {
        "ultralytics.nn.tasks.RTDETRDetectionModel": "RT-DETR",
        "ultralytics.nn.tasks.WorldModel": "YOLO-World",
        "ultralytics.nn.tasks.YOLOEModel": "YOLOE",
        "ultralytics.nn.tasks.YOLOESegModel": "YOLOE",
    }.get(kind, "")


def _unsupported(checkpoint: Checkpoint, found: str) -> InputError:
    return InputError(
        f"{checkpoint.file} is a checkpoint that is not supported.",
        found + newer(checkpoint),
        _SUPPORTED,
        kind="architecture",
    )
