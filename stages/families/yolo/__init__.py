"""The YOLO families, one for each task of Ultralytics' and one for the original YOLOv5: how they are handled.

Importing this loads neither torch nor ultralytics.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from stages.common.checkpoint import Checkpoint
from stages.families.family import Family
from stages.families.yolo import anchors, anchors_network
from stages.families.yolo.architectures import TASKS, architecture_of, is_yolo
from stages.families.yolo.cut import cut, cut_classifier, cut_pose, cut_segmenter, cut_turned
from stages.families.yolo.decode import decode
from stages.families.yolo.decode_anchors import decode_anchors
from stages.families.yolo.decode_classes import decode_classes
from stages.families.yolo.decode_masks import decode_masks
from stages.families.yolo.decode_poses import decode_poses
from stages.families.yolo.decode_turned import decode_turned
from stages.families.yolo.description import describe
from stages.families.yolo.network import build

__all__ = ["FAMILIES", "build", "cut", "decode", "describe", "recognise"]


def recognise(checkpoint: Checkpoint, task: str) -> bool:
    """Whether it is a YOLO of that task (Ultralytics' name for it).

    Raises InputError, naming task or architecture, where it is a YOLO that is not supported in any task.
    """
    return is_yolo(checkpoint) and bool(architecture_of(checkpoint)) and checkpoint.task == task


def _family(task: str, head: str, cut: Callable[..., Any], decode: Callable[..., Any]) -> Family:
    return Family(TASKS[task], frozenset({head}), decode, partial(recognise, task=task), describe, build, cut)


FAMILIES = (
    _family("detect", "yolo_dfl", cut, decode),
    _family("classify", "yolo_classes", cut_classifier, decode_classes),
    _family("segment", "yolo_masks", cut_segmenter, decode_masks),
    _family("pose", "yolo_poses", cut_pose, decode_poses),
    _family("obb", "yolo_turned", cut_turned, decode_turned),
    Family(
        TASKS["detect"],
        frozenset({"yolo_anchors"}),
        decode_anchors,
        anchors.recognise,
        anchors.describe,
        anchors_network.build,
        anchors.cut,
    ),
)
