"""What the pt phase is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mcwbuild.contract import inherit
from stages.common.evaluate import Settings
from stages.common.image_set import ImageSet
from stages.common.keeping import Place
from stages.families.model import ModelFile


@dataclass(frozen=True)
class Request:
    """Everything that came in, read and checked; `images` is None where only the source is wanted.

    `evaluation` is where the evaluation's state is kept; `doctor`: whether the contract is to be examined.
    """

    model: ModelFile
    source: dict[str, Any]
    images: ImageSet | None
    settings: Settings
    evaluation: Place
    doctor: bool = False

    @property
    def contract(self) -> dict[str, Any]:
        """The block of critical values."""
        return inherit.critical(self.source)
