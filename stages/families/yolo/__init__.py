"""The Ultralytics YOLO family: which of its checkpoints are supported, and what is done with them.

Importing this loads neither torch nor ultralytics.
"""

from __future__ import annotations

from stages.common.checkpoint import Checkpoint
from stages.families.family import Family
from stages.families.yolo.architectures import architecture_of, is_yolo
from stages.families.yolo.decode import decode
from stages.families.yolo.description import describe
from stages.families.yolo.network import build, cut

__all__ = ["FAMILY", "build", "cut", "decode", "describe", "recognise"]


def recognise(checkpoint: Checkpoint) -> bool:
    """Whether it is a YOLO. Raises InputError, naming task or architecture, where it is one that is not supported."""
    return is_yolo(checkpoint) and bool(architecture_of(checkpoint))


FAMILY = Family("yolo", frozenset({"yolo_dfl"}), recognise, describe, build, cut, decode)
