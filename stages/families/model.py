"""A model file that was opened: what the pt and onnx phases do with it, whatever kind of file it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Wanted:
    """What the caller says of a source document that is to be made; None for what the file itself has to tell.

    name: the model's; size: [H, W] in pixels; task: `model.task`; classes: the names in the outputs' order.
    draft: it is written for somebody who completes it: what nobody knows may be a guess that is said to be one.
    """

    name: str | None = None
    size: tuple[int, int] | None = None
    task: str | None = None
    classes: tuple[str, ...] | None = None
    draft: bool = False


class ModelFile(Protocol):
    """One opened file. Makers: `families.yolo.opened`, `families.plain.opened`."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def file(self) -> str:
        """Its name as it stands in messages."""

    @property
    def sha256(self) -> str:
        """Of the whole file."""

    @property
    def size(self) -> int:
        """In bytes."""

    def describe(self, wanted: Wanted) -> dict[str, Any]:
        """A whole `training_source` document, less its contract's hash.

        Raises InputError where the file does not tell it, and nobody else does.
        """

    def confirm(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """`source` with the file's own values in place of those that the file knows, and its `checkpoint` block.

        Raises InputError where the network cannot be run as `source` says.
        """

    def build(self) -> torch.nn.Module:
        """The network, float32, in eval mode, on the CPU."""

    def cut(self, network: torch.nn.Module, contract: Mapping[str, Any]) -> tuple[torch.nn.Module, dict[str, Any]]:
        """The network whose forward returns the raw head outputs as a tuple, and the head as data.

        `contract` is the block of critical values. Raises InputError where the outputs are not those of its task.
        """
