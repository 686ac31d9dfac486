"""The checked request that the phase's flags make."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcwbuild.contract import calibration_pool, dataset, results, targets, validate
from mcwbuild.contract.errors import ContractBroken, InputError, Problem
from mcwbuild.contract.limits import Override
from mcwbuild.contract.phases import ONNX
from mcwbuild.contract.results import Found, Results
from mcwbuild.contract.resumable import EVALUATIONS, TUNING
from mcwbuild.contract.targets import Target
from mcwbuild.contract.tuning import BUDGET, Effort
from stages.common import evaluation_file, image_set
from stages.common.evaluation_file import Kept, order_of
from stages.common.image_set import ImageSet, open_images
from stages.common.keeping import Place, place_of
from stages.common.together import together
from stages.rknn import model, shared
from stages.rknn.choosing import Candidates
from stages.rknn.job import Algorithm
from stages.rknn.model import Model
from stages.rknn.shared import Shared
from stages.rknn.targets import VARIANTS, Variant, reason_against

WHOLE = 200  # images of a user's list that are all taken: the toolkit's memory grows by 13 MB for each at 640 x 640
_NO_IMAGES = "there are no calibration images: give --data with a training split, or --dataset"


@dataclass(frozen=True)
class Tries:
    """Where a search keeps its tries, and where an earlier run left some (or None); `own`: nobody else removes them."""

    path: Path
    earlier: Path | None
    own: bool


@dataclass(frozen=True)
class Request:
    """Everything that the phase works on, checked. `absent` says of each variant that is not made why.

    `kept` is the onnx phase's evaluation, image by image; `shown`: what it found in some of the images; `gates` are
    limits that somebody set; `effort` and `budget` (seconds) are those of the search for an INT8 build that passes,
    `tries` is where they are kept; `layers`: whether every layer's error is wanted; `evaluations`: where the state of
    each variant's is kept.
    """

    model: Model
    target: Target
    absent: Mapping[Variant, str]
    calibration: Candidates | None
    images: ImageSet
    previous: Mapping[str, Any] | None
    optimization_level: int
    algorithm: Algorithm
    confidence: float
    iou: float
    max_detections: int
    threads: int
    kept: Kept | None = None
    shown: Found | None = None
    gates: tuple[Override, ...] = ()
    effort: Effort = "off"
    budget: float = BUDGET
    layers: bool = False
    tries: Tries | None = None
    evaluations: Mapping[Variant, Place] = field(default_factory=dict)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """What is built, in order."""
        return tuple(variant for variant in VARIANTS if variant not in self.absent)


def require(args: argparse.Namespace) -> Request | Shared:
    """The request, with every problem of every input told at once. Raises InputError, ContractBroken, Refused."""
    if args.shared is not None:
        return shared.require(args.shared, model.read(args.onnx, args.source), targets.find(args.target))
    found: Model
    found, target, calibration, previous, kept, shown = together(
        lambda: model.read(args.onnx, args.source),
        lambda: targets.find(args.target),
        lambda: candidates(args),
        lambda: _previous(args.previous),
        lambda: None if args.evaluation is None else evaluation_file.read(args.evaluation),
        lambda: None if args.results is None else results.read(args.results),
    )
    absent = _absent(args.dtype, target, calibration)
    images = open_images(args.data, args.dataset, found.contract)
    _same_contract(previous, found, args.previous)
    return Request(
        model=found,
        target=target,
        absent=absent,
        calibration=None if "int8" in absent else calibration,
        images=images,
        previous=previous,
        optimization_level=args.optimization_level,
        algorithm=args.algorithm,
        confidence=args.conf,
        iou=args.iou,
        max_detections=args.max_detections,
        threads=args.threads,
        kept=kept,
        shown=_shown(shown, images),
        gates=tuple(args.gate or ()),
        effort=args.tune,
        budget=args.tune_budget,
        layers=args.layers,
        tries=_tries(args),
        evaluations={variant: place_of(args, EVALUATIONS[variant]) for variant in VARIANTS},
    )


def _shown(shown: Results | None, images: ImageSet) -> Found | None:
    """What the ONNX model found in these images, where the results are of these."""
    same = shown is not None and shown.order == order_of(images.images)
    return shown.models.get(ONNX.name) if shown is not None and same else None


def _tries(args: argparse.Namespace) -> Tries:
    """Where the search's tries are kept: in the staging folder, or in the package's where the stage runs alone."""
    own = args.result is None
    kept = (args.out / TUNING.folder if own else args.result.parent / TUNING.staged) / TUNING.file
    return Tries(kept, args.resume or (kept if own and kept.is_file() else None), own)


def candidates(args: argparse.Namespace) -> Candidates | None:
    """The images that INT8 may be calibrated with: a given list, else the training split; the others are held out."""
    if args.dtype == "fp16" or (args.dataset is None and args.data is None):
        return None
    found = None if args.data is None else dataset.read(args.data)
    held_out = () if found is None else (*found.splits.get("val", ()), *found.splits.get("test", ()))
    count: int | None = args.calibration_images
    if args.dataset is not None:
        return _of_list(args.dataset, count, held_out)
    assert found is not None
    images = calibration_pool.pool(found, max(calibration_pool.MOST, count or 0))
    if not images:
        return None
    classes = calibration_pool.classes_of(found, images)
    total = len(found.splits["train"])
    return Candidates(images, args.data, "training split", total, classes, held_out, count)


def _of_list(file: Path, count: int | None, held_out: tuple[Path, ...]) -> Candidates:
    """A user's own list: all of it, unless it is long or a count is asked for."""
    listed = image_set.read_listed(file)
    whole = len(listed) <= (WHOLE if count is None else count)
    taken = listed if whole else dataset.pick(listed, max(calibration_pool.MOST, count or 0))
    images, lines = tuple(image for image, _ in taken), tuple(line for _, line in taken)
    classes = (frozenset[str](),) * len(images)
    return Candidates(images, file, "list", len(listed), classes, held_out, count, lines, whole)


def _previous(path: Path | None) -> Mapping[str, Any] | None:
    if path is None:
        return None
    (document,) = validate.require_all([(path, "performance_onnx")])
    record: Mapping[str, Any] = document.value
    return record


def _same_contract(previous: Mapping[str, Any] | None, found: Model, path: Path) -> None:
    """Refuse a performance record that was measured under another contract than the model's."""
    written = (previous or {}).get("report_info", {}).get("contract_sha256")
    if written is None or written == found.contract_sha256:
        return
    message = f"contract_sha256 is {written} in {path} but {found.contract_sha256} in {found.source.file}"
    raise ContractBroken(
        f"{path} was not measured with this model's contract.",
        f"{message}.",
        "Give the performance_onnx.json of the same package, or none.",
        kind="contract",
        problems=[Problem(message, str(path), path="$.report_info.contract_sha256")],
    )


def _absent(dtype: str, target: Target, calibration: Candidates | None) -> dict[Variant, str]:
    """Why a variant is not made. Raises InputError where one that was asked for by name cannot be, or none can."""
    absent: dict[Variant, str] = {}
    for variant in VARIANTS:
        if dtype not in ("both", variant):
            absent[variant] = f"not asked for (--dtype {dtype})"
            continue
        reason = reason_against(target, variant)
        if not reason and variant == "int8" and calibration is None:
            reason = _NO_IMAGES
        if reason:
            absent[variant] = reason
    if dtype in absent or len(absent) == len(VARIANTS):
        asked = [variant for variant in VARIANTS if dtype in ("both", variant)]
        reasons = "; ".join(absent[variant] for variant in asked)
        raise InputError(
            f"{' and '.join(variant.upper() for variant in asked)} cannot be built for {target.name}.",
            f"{reasons[0].upper()}{reasons[1:]}.",
            "Give calibration images." if _NO_IMAGES in absent.values() else "Choose another --dtype or --target.",
            kind="calibration" if _NO_IMAGES in absent.values() else "target",
        )
    return absent
