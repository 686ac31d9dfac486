"""Agreement of two phases by the task's own metric: what the one finds is taken as ground truth for the other.

It needs no labels and says nothing about what is right: two networks that make the same mistakes agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcwbuild.contract.performance import COMPARED
from stages.common import tasks
from stages.common.evaluate import Candidates, Settings
from stages.common.images import Placement

NOTHING = "The reference finds nothing in these images at the deployed confidence."


class TaskAgreement:
    """Results of a reference and of another for the same images, in pixels of the network's input."""

    def __init__(self, contract: Mapping[str, Any], settings: Settings) -> None:
        self._contract, self._settings, self._task = contract, settings, tasks.of(contract)
        rows, columns = contract["input"]["size"]
        self._shape = (rows, columns)
        self._whole = Placement(1.0, 1.0, 0, 0, columns, rows)
        self._truth: list[Any] = []
        self._found: list[Any] = []

    @property
    def confidence(self) -> float:
        """Of the reference's results: as deployed; 0 where a result is not chosen by it (a class, a text)."""
        return self._settings.confidence if self._task.confidence else 0.0

    @property
    def lowest(self) -> float:
        """Of the other's results: the evaluation's own."""
        return self._task.confidence

    def add(self, reference: Candidates, other: Candidates) -> None:
        """Take in one image's candidates: the reference's above `confidence`, the other's above `lowest`."""
        limits = (self._whole, self._shape, self._settings.iou, self._settings.max_detections)
        taken = self._task.sound(self._task.finish(reference, *limits))
        self._truth.append(None if self._task.taken is None else self._task.taken(taken))
        self._found.append(self._task.sound(self._task.finish(other, *limits)))

    def block(self) -> dict[str, Any]:
        """`agreement` of a performance record's comparison, or None there and `agreement_reason`."""
        if self._task.taken is None or not self._found:
            reason = "The task has no metric: its outputs are compared one by one." if self._found else "No images."
            return {"agreement": None, "agreement_reason": reason}
        names = self._contract["classes"]["names"]
        metrics = self._task.judge(self._found, self._truth, names, self._settings.confidence).metrics
        figures = {name: metrics[name] for name in COMPARED if name in metrics}
        if "status" in metrics:
            return {"agreement": None, "agreement_reason": NOTHING}
        return {"agreement": {"confidence": self.confidence, "images": len(self._found), **figures}}
