"""What the onnx phase is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mcwbuild.contract import inherit
from mcwbuild.contract.limits import Override
from mcwbuild.contract.marks import Document
from stages.common.evaluate import Settings
from stages.common.evaluation_file import Kept
from stages.common.image_set import ImageSet
from stages.common.keeping import Place
from stages.families.model import ModelFile
from stages.onnx.given import Given
from stages.onnx.whole import Whole


@dataclass(frozen=True)
class Request:
    """Everything that came in, read and checked; `previous` is the pt phase's performance record.

    `origin` is what the ONNX file is made from: a model file that is exported, or an ONNX file of somebody else's
    whose head is cut; `opset` is then that file's own. `told_by` says where the contract is from; `evaluation` is where
    the state of the model's evaluation is kept. `kept` is the pt
    phase's evaluation, image by image; `gates` are limits that somebody set; `doctor`: whether the contract of a
    given file is to be examined.
    """

    origin: ModelFile | Given | Whole
    source: dict[str, Any]
    images: ImageSet
    settings: Settings
    opset: int
    simplify: bool
    previous: Document | None
    told_by: str
    evaluation: Place
    kept: Kept | None = None
    gates: tuple[Override, ...] = ()
    doctor: bool = False

    @property
    def given(self) -> Given | Whole | None:
        """The ONNX file of somebody else's, where it is one that this phase begins with."""
        return self.origin if isinstance(self.origin, Given | Whole) else None

    @property
    def contract(self) -> dict[str, Any]:
        """The block of critical values."""
        return inherit.critical(self.source)

    @property
    def size(self) -> list[int]:
        """[H, W] of the input."""
        height, width = self.contract["input"]["size"]
        return [height, width]
