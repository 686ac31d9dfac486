"""A phase's gates: every metric that has a limit, against the phase before, with what the images leave to chance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcwbuild.contract import performance
from mcwbuild.contract.limits import COSINE, Limit, Override, limits_of
from mcwbuild.contract.performance import Chance, Gate
from stages.common import bootstrap
from stages.common.agreement import worst
from stages.common.bootstrap import Interval
from stages.common.evaluation_file import Kept
from stages.common.per_image import PerImage

_SAME = 1e-5  # of a metric from 0 to 1: records round to 6 digits


@dataclass(frozen=True)
class Side:
    """One side of the gates: `accuracy_metrics`, and what is kept image by image.

    `absent`: why there are no metrics; `unkept`: why nothing is kept.
    """

    metrics: Mapping[str, Any] = field(default_factory=dict)
    per_image: PerImage | None = None
    absent: str = ""
    unkept: str = ""


@dataclass(frozen=True)
class Question:
    """Which gate (onnx, fp16, int8) against which reference; `main` is the task's metric, `given` are set limits."""

    key: str
    reference: str
    main: str
    given: Sequence[Override]
    variant: str | None = None


def previous_side(metrics: Mapping[str, Any], absent: str, kept: Kept | None, model_sha256: str, order: str) -> Side:
    """The phase before, by its record and its evaluation file; which of them belong together is checked."""
    if absent:
        return Side(absent=absent)
    unkept = ""
    if kept is None:
        unkept = "The evaluation of the phase before was not given (--evaluation)."
    elif kept.model_sha256 != model_sha256:
        unkept = "The given evaluation is of another model."
    elif kept.order != order:
        unkept = "The given evaluation is of other images, or of another order."
    if unkept or kept is None:
        return Side(metrics, unkept=unkept)
    return Side(metrics, kept.per_image)


def gates(asked: Question, before: Side, after: Side, outputs: Iterable[Mapping[str, Any]]) -> list[Gate]:
    """One gate for each metric that has a limit; `outputs` are the rows of the tensors' comparison."""
    return [
        _cosine(asked, limit, promised, outputs)
        if metric == COSINE
        else _gate(asked, metric, limit, promised, before, after)
        for metric, (limit, promised) in limits_of(asked.key, asked.main, asked.given).items()
    ]


def _gate(asked: Question, metric: str, limit: Limit, promised: Limit | None, before: Side, after: Side) -> Gate:
    previous, current = (value_of(side.metrics, metric) for side in (before, after))
    reason = str(after.metrics.get("reason") or "") or before.absent or after.absent
    if not reason and (previous is None or current is None):
        reason = f"{metric} is not measured of this task."
    return performance.gate(
        metric,
        asked.reference,
        previous,
        current,
        limit,
        variant=asked.variant,
        reason=reason,
        chance=chance(metric, limit, before, after, (previous, current)),
        promised=promised,
    )


def _cosine(asked: Question, limit: Limit, promised: Limit | None, outputs: Iterable[Mapping[str, Any]]) -> Gate:
    row = worst(outputs)
    lowest = 1.0 if row is None else math.nan if row["cosine"] is None else row["cosine"]
    unkept = Chance(reason="A cosine is taken over all images together.")
    return performance.gate(
        COSINE, asked.reference, 1.0, lowest, limit, variant=asked.variant, chance=unkept, promised=promised
    )


def value_of(metrics: Mapping[str, Any], name: str) -> float | None:
    """The metric called `name`, `boxes.map50` in its block; None where it was not measured."""
    found: Any = metrics
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return None if found is None else float(found)


def chance(metric: str, limit: Limit, before: Side, after: Side, values: tuple[float | None, float | None]) -> Chance:
    """The interval of the drop of `metric` from one side to the other, or why there is none."""
    first, second = before.per_image, after.per_image
    if first is None or second is None:
        return Chance(reason=before.unkept or after.unkept or "Nothing was kept image by image.")
    if first.count != second.count:
        return Chance(reason="The evaluations are of different numbers of images.")
    again = [bootstrap.value(side, metric) for side in (first, second)]
    if any(a is not None and (b is None or not abs(a - b) < _SAME) for a, b in zip(again, values, strict=True)):
        return Chance(reason="What was kept image by image does not add up to the record's value.")
    difference = bootstrap.drop_percent if limit.relative else bootstrap.drop
    found = bootstrap.interval(first, second, metric, difference)
    if isinstance(found, Interval):
        return Chance((found.low, found.high), images=found.images)
    return Chance(reason=found.reason, images=first.count, least=found.least)
