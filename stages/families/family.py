"""What a model family is: how its checkpoints are told, described, rebuilt and cut; how its outputs are decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.common.checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch

Boxes = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[Any]]
Candidates = tuple[Any, ...]


@dataclass(frozen=True)
class Decoding:
    """How outputs become candidates. `heads` are the values of `head["family"]` that its `decode` understands.

    task:      the `model.task` of its models; `stages.common.tasks` has what follows from it.
    decode:    (outputs, head, confidence) -> the candidates that the task's `finish` takes; of each task's, the
               second part are the scores.
    """

    task: str
    heads: frozenset[str]
    decode: Callable[[Sequence[NDArray[np.float32]], Mapping[str, Any], float], Candidates]


@dataclass(frozen=True)
class Family(Decoding):
    """One family of Ultralytics' networks.

    recognise: raises InputError, naming what it is, where the checkpoint is the family's but not supported;
               returns False where it is not the family's.
    describe:  (checkpoint, name, imgsz) -> a whole `training_source` document.
    build:     the network, float32, in eval mode, on the CPU.
    cut:       the network whose forward returns the raw head outputs, and the head as data.
    """

    recognise: Callable[[Checkpoint], bool]
    describe: Callable[..., dict[str, Any]]
    build: Callable[[Checkpoint], torch.nn.Module]
    cut: Callable[[torch.nn.Module], tuple[torch.nn.Module, dict[str, Any]]]
