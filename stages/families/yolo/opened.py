"""A checkpoint of Ultralytics as the stages take it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint import Checkpoint
from stages.families.family import Family
from stages.families.model import Wanted

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class UltralyticsFile:
    """A checkpoint and its family; see `stages.families.model.ModelFile`. It knows its whole contract."""

    checkpoint: Checkpoint
    family: Family

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.checkpoint.path

    @property
    def file(self) -> str:
        """Its name as it stands in messages."""
        return self.checkpoint.file

    @property
    def sha256(self) -> str:
        """Of the whole file."""
        return self.checkpoint.sha256

    @property
    def size(self) -> int:
        """In bytes."""
        return self.checkpoint.size

    def describe(self, wanted: Wanted) -> dict[str, Any]:
        """What Ultralytics recorded when it trained; its task and classes are never asked for."""
        if wanted.task not in (None, self.family.task) or wanted.classes is not None:
            raise InputError(
                f"{self.file} tells its task and its classes itself.",
                f"Its task is {self.family.task}.",
                "Leave --task and --names out.",
            )
        return self.family.describe(self.checkpoint, wanted.name, wanted.size)

    def confirm(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """Classes, task, anchors and channels are the file's own. Raises InputError where the size does not fit it."""
        known = self.family.describe(self.checkpoint, imgsz=source["input"]["size"])
        own: dict[str, Any] = copy.deepcopy(dict(source))
        own["classes"] = known["classes"]
        own["model"].pop("anchors", None)
        own["model"].update({key: known["model"][key] for key in ("task", "anchors") if key in known["model"]})
        own["input"]["channels"] = known["input"]["channels"]
        own["checkpoint"] = known["checkpoint"]
        return own

    def build(self) -> torch.nn.Module:
        """The library's architecture with the checkpoint's weights."""
        return self.family.build(self.checkpoint)

    def cut(self, network: torch.nn.Module, contract: Mapping[str, Any]) -> tuple[torch.nn.Module, dict[str, Any]]:
        """The network up to the last convolutions of its head."""
        del contract  # the head tells everything itself
        return self.family.cut(network)
