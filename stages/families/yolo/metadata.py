"""The contract that an ONNX file exported by Ultralytics tells about itself, in its metadata.

`Exporter` (ultralytics/engine/exporter.py) writes each value as text: names `{0: 'person'}`, imgsz `[640, 640]`,
stride, task, and a description that names the architecture. Preprocessing is not among them: it is the one that
Ultralytics trains with. The original YOLOv5's `export.py` writes names and stride alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mcwbuild.contract import inherit, validate
from mcwbuild.contract import yaml as strict_yaml
from mcwbuild.contract.errors import InputError, Problem
from mcwbuild.contract.marks import text_problems
from stages.families.yolo.architectures import ARCHITECTURES, TASK_SUFFIX, TASKS
from stages.families.yolo.preparation import by_default

NEEDED = ("names", "imgsz", "stride", "task")
_OF_ANCHORS = ("names", "stride")  # all that the original YOLOv5's export.py writes; the graph tells the rest
_TASKS = {
    **{"yolo_dfl": "detect", "yolo_masks": "segment", "yolo_poses": "pose", "yolo_turned": "obb"},
    **{"yolo_classes": "classify", "yolo_anchors": "detect"},
}
_MAX_TEXT = 1 << 20  # characters; a thousand long names have 300,000
_FREE = ("version", "license", "description")  # carried for reference, where their text is accepted
_WRITE = (
    "Write a training_source.yaml with model.task, classes.names, input.size and format, and preprocessing (of raw "
    "maps of a YOLOv5 model.anchors too), and give it with --source."
)


def source_of_metadata(
    metadata: Mapping[str, str], file: str, sha256: str, name: str, size: Sequence[int], head: Mapping[str, Any]
) -> dict[str, Any]:
    """A whole `training_source` document, as the metadata of `file` have it; `size` [H, W] and `head` are the graph's.

    Raises InputError, with everything at once, where the metadata are not Ultralytics', are not those of this
    graph, or hold names that are not accepted.
    """
    of_anchors = head["family"] == "yolo_anchors"
    missing = [key for key in (_OF_ANCHORS if of_anchors else NEEDED) if key not in metadata]
    missing += ["anchors"] if of_anchors and "anchors" not in head else []
    if missing:
        raise InputError(
            f"Nothing says what {file} was trained with.",
            f"No --source is given, and its metadata lack {', '.join(missing)}.",
            _WRITE,
            kind="source",
        )
    names = _names(metadata["names"])
    problems = list(_problems(metadata, names, size, head, f"{file} (metadata)"))
    if problems:
        raise InputError(
            f"The metadata of {file} are not those of its graph.",
            f"{problems[0].message[0].upper()}{problems[0].message[1:]}.",
            _WRITE,
            kind="source",
            problems=problems,
        )
    source = {
        "schema": "training_source/1",
        "model": {
            "name": name,
            "version": _version(metadata, sha256),
            "type": "YOLOv5" if of_anchors else _architecture(metadata),
            "task": TASKS[_TASKS[head["family"]]],
            **({"anchors": head["anchors"]} if of_anchors else {}),
        },
        "classes": {
            "names": names,
            "num_classes": len(names),
            **({"keypoints": head["keypoints"]} if "keypoints" in head else {}),
        },
        "input": {"size": list(size), "channels": 3, "format": "RGB", "dtype": "float32", "layout": "NCHW"},
        "preprocessing": by_default("classify" if head["family"] == "yolo_classes" else "detect", size),
        "training": {
            "framework": "yolov5" if of_anchors else "ultralytics",
            "known_from": "metadata of the ONNX file",
            **_reference(metadata),
        },
    }
    document = strict_yaml.load(strict_yaml.dump(source), f"{file} (metadata)")
    validate.require(document, "training_source")
    return {"schema": source["schema"], "contract_sha256": inherit.contract_sha256(source), **source}


def _problems(
    metadata: Mapping[str, str], names: list[str], size: Sequence[int], head: Mapping[str, Any], place: str
) -> list[Problem]:
    """Where the metadata contradict the graph, or say what is not supported."""
    task = _TASKS[head["family"]]
    side = _literal(metadata.get("imgsz", str(list(size))))
    keypoints = _literal(metadata.get("kpt_shape", "None"))
    checks = (
        (metadata.get("task", task) == task, f"its task is {ascii(metadata.get('task'))[:40]}, not {task!a}", "task"),
        (
            task != "pose" or (isinstance(keypoints, list | tuple) and list(keypoints) == head["keypoints"]),
            f"its kpt_shape is {ascii(keypoints)[:40]}, but its graph has {head.get('keypoints')}",
            "kpt_shape",
        ),
        (bool(names), "its names are not a list of texts, numbered from 0", "names"),
        (
            not names or len(names) == head["num_classes"],
            f"it names {len(names)} classes, but its graph has {head['num_classes']}",
            "names",
        ),
        (
            side == list(size) or side == size[0] == size[1],
            f"its imgsz is {ascii(side)[:40]}, but its graph takes {list(size)}",
            "imgsz",
        ),
        (
            "strides" not in head or _literal(metadata["stride"]) == max(head["strides"]),
            f"its stride is {ascii(metadata['stride'])[:40]}, but its graph has {head.get('strides')}",
            "stride",
        ),
        (
            metadata.get("channels", "3") == "3",
            f"its images have {ascii(metadata.get('channels'))[:40]} channels, and 3 are supported",
            "channels",
        ),
    )
    return [Problem(message, place, path=f"$.{key}") for holds, message, key in checks if not holds]


def _names(text: str) -> list[str]:
    """The names in order; empty where they are not texts that are numbered from 0."""
    found = _literal(text)
    numbered = found if isinstance(found, dict) else dict(enumerate(found)) if isinstance(found, list | tuple) else {}
    whole = all(isinstance(name, str) for name in numbered.values()) and set(numbered) == set(range(len(numbered)))
    return [numbered[index] for index in range(len(numbered))] if whole else []


def _literal(text: str) -> Any:
    """The Python literal that `text` is, None where it is none. Nothing is run."""
    try:
        return ast.literal_eval(text) if len(text) <= _MAX_TEXT else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _architecture(metadata: Mapping[str, str]) -> str:
    """`YOLO11` from "Ultralytics YOLO11n model trained on ..."; `YOLO` where nothing says so."""
    found = re.match(r"Ultralytics ([A-Za-z0-9-]{1,40}) model", metadata.get("description", ""))
    stem = TASK_SUFFIX.sub("", found.group(1).lower()) if found else ""
    return next((one.type for one in ARCHITECTURES if one.stem.fullmatch(stem)), "YOLO")


def _version(metadata: Mapping[str, str], sha256: str) -> str:
    """The day of its export as a version, 2026.11.23; its hash where no day is written."""
    day = re.match(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", metadata.get("date", ""))
    return ".".join(day.groups()) if day else f"sha256.{sha256[:12]}"


def _reference(metadata: Mapping[str, str]) -> dict[str, str]:
    texts = {key: metadata[key] for key in _FREE if key in metadata}
    return {key: text for key, text in texts.items() if len(text) <= 1000 and not list(text_problems(text))}
