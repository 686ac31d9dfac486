"""A network that tells nothing but itself, as the stages take it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcwbuild.contract.errors import InputError
from stages.families.model import Wanted
from stages.families.plain.description import describe, without_source
from stages.families.plain.exported import Exported
from stages.families.plain.script import Script

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class PlainFile:
    """One file; see `stages.families.model.ModelFile`.

    kind: what it was made by, for `model.type` of a draft. shape: of its input, as far as the file tells it; None for
    a length that is not fixed, and where it tells none. program: what is computed, or the live network of an author's
    own code.
    """

    path: Path
    file: str
    sha256: str
    size: int
    kind: str
    shape: tuple[int | None, ...] | None
    program: Script | Exported | torch.nn.Module

    @property
    def stamp(self) -> dict[str, Any]:
        """`checkpoint` of a source document."""
        return {"file": self.file, "sha256": self.sha256, "size": self.size}

    def describe(self, wanted: Wanted) -> dict[str, Any]:
        """A draft for the task that is asked for, with starting values that are said to be guesses."""
        if not wanted.draft or wanted.task is None:
            raise without_source(self.file, self.kind, self.shape)
        return describe(self.stamp, self.path, self.kind, self.shape, wanted)

    def confirm(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """Size and channels are those of the file, where it tells them."""
        from stages.families.plain.heads import HEADS  # loads numpy alone

        task = source["model"]["task"]
        if task not in HEADS:
            raise InputError(
                f"A network of {self.kind} cannot be taken for the task {task}.",
                f"The tasks of such networks are {', '.join(HEADS)}.",
                "Correct model.task in training_source.yaml; `generic` takes any network with one image as its input.",
                kind="task",
            )
        own: dict[str, Any] = copy.deepcopy(dict(source))
        own["checkpoint"] = self.stamp
        if self.shape is not None:
            _, channels, *size = self.shape if len(self.shape) == 4 else (1, None, None, None)
            own["input"]["channels"] = channels or own["input"]["channels"]
            own["input"]["size"] = [told or asked for told, asked in zip(size, own["input"]["size"], strict=True)]
        return own

    def build(self) -> torch.nn.Module:
        """The network; of a program the module that computes it."""
        from stages.families.plain.network import Network  # loads torch

        return Network(self.program) if isinstance(self.program, Script | Exported) else self.program

    def cut(self, network: torch.nn.Module, contract: Mapping[str, Any]) -> tuple[torch.nn.Module, dict[str, Any]]:
        """The network with its outputs as its task wants them."""
        from stages.families.plain.outputs import cut  # loads torch

        return cut(network, contract, self.file)
