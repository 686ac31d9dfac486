"""INT8's images: chosen, as many as the size curve asks for, prepared and written; and how that went, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.rknn import calibration, choosing
from stages.rknn.calibration import Calibration
from stages.rknn.choosing import Candidates, Choice
from stages.rknn.model import Model

if TYPE_CHECKING:
    from stages.rknn.size_curve import SizeCurve


def calibrate(
    candidates: Candidates, model: Model, folder: Path, threads: int, on_progress: Callable[[int, int], None]
) -> Calibration:
    """The calibration set of a model, written into `folder`. Raises InputError."""
    choice = choosing.choose(candidates, threads)
    images = choice.images
    curve = None
    if candidates.whole:
        by = "list"
    elif candidates.count is not None:
        by, images = "count", images[: candidates.count]
    else:
        from stages.rknn.size_curve import SizeCurve  # loads ONNX, which the children's start need not wait for

        by, curve = "size curve", SizeCurve(model.path, model.contract, threads)
    made = calibration.write(images, model.contract, folder, on_progress, None if curve is None else curve.take)
    return replace(made, chosen=_chosen(candidates, choice, made, by, curve), leaked=_kept(choice, candidates))


def _kept(choice: Choice, candidates: Candidates) -> tuple[str, ...]:
    return choice.leaked if candidates.source == "list" else ()


def _chosen(
    candidates: Candidates, choice: Choice, made: Calibration, by: str, curve: SizeCurve | None
) -> Mapping[str, Any]:
    """`quantization.int8.dataset.chosen` of `rknn_source.yaml`."""
    classes = frozenset[str]().union(*candidates.classes)
    covered = frozenset[str]().union(*choice.classes[: len(made.images)])
    block: dict[str, Any] = {
        "by": by,
        "candidates": candidates.total,
        "looked_at": len(candidates.images),
        "left_out": {
            "damaged": len(choice.damaged),
            "duplicates": len(choice.duplicates),
            "held_out": 0 if candidates.source == "list" else len(choice.leaked),
        },
        "near_copies": choice.alike,
        "classes": {"covered": len(covered), "of": len(classes)} if classes else None,
        "curve": None,
    }
    if curve is not None:
        block["curve"] = [{"images": point.images, "moved_percent": point.moved} for point in curve.points]
        block |= {"limit_percent": curve.limit, "reason": curve.in_words(len(made.images), len(choice.images))}
    return block


def notes(made: Calibration) -> list[str]:
    """What somebody who looks on should be told."""
    left_out = made.chosen["left_out"]
    found = []
    if left_out["held_out"]:
        held = f"{left_out['held_out']} images of the training split are in the val or test split too"
        found.append(f"{held}: INT8 is not calibrated with them")
    if left_out["duplicates"] and made.chosen["by"] == "list":
        found.append(f"{left_out['duplicates']} images of the list are another one byte for byte, and were left out")
    if left_out["damaged"]:
        found.append(f"{left_out['damaged']} images of the training split cannot be read, and were left out")
    return found
