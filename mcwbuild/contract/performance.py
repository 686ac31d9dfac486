"""Performance records: their parts, and the gates that decide whether a phase passed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from mcwbuild.contract.errors import GateFailed
from mcwbuild.contract.limits import COSINE, Limit
from mcwbuild.contract.phases import Phase, PhaseName

Status = Literal["passed", "failed", "undecided", "unmeasured"]
GRAVITY: tuple[Status, ...] = ("failed", "undecided", "unmeasured", "passed")  # of several, the first one counts

MAIN_METRICS = {
    "classification": "top1",
    "ocr": "character_accuracy",
    "generic": COSINE,
}  # of `model.task`; others have an average precision
AVERAGE_PRECISION = "map50_95"
# Metrics that phases stand beside.
COMPARED = (
    *("map50_95", "map50", "precision", "recall", "f1", "top1", "top5"),
    *("character_accuracy", "word_accuracy"),
)
_COMPARISONS: dict[PhaseName, str] = {"onnx": "comparison_with_pt", "rknn": "comparison_with_onnx"}
_FARTHEST = 100  # widths: 10,000 times as many images are nobody's advice
_DECIMALS = 9  # a drop of exactly the limit passes, whatever the last bits of the division are


@dataclass(frozen=True)
class Gate:
    """One metric against a named reference: how far it may drop, how far it did.

    The limit is in percent of the reference, or in the metric's own unit; the other one is None. `interval` is the
    paired bootstrap interval (95 %) of the drop in the limit's unit, None with `interval_reason`.

    passed: the drop is within the limit, and so is the whole interval.
    failed: the drop is beyond the limit, and so is the whole interval.
    undecided: the limit lies inside of the interval, or the drop is within the limit on too few images for an
    interval. `images_needed` estimates how many images like these would decide; None where it cannot be told.
    unmeasured: there are no two values.
    Where there is no interval for another reason, the drop alone decides. `loosened`: more than promised is allowed.
    """

    metric: str
    reference: str
    limit_percent: float | None
    drop_percent: float | None
    status: Status
    reason: str
    variant: str | None = None
    previous: float | None = None
    current: float | None = None
    limit_absolute: float | None = None
    drop_absolute: float | None = None
    interval: tuple[float, float] | None = None
    interval_reason: str | None = None
    images: int | None = None
    images_needed: int | None = None
    loosened: bool = False


@dataclass(frozen=True)
class Chance:
    """What the images leave to chance: the interval of a drop in its limit's unit, or why there is none.

    `least`: how many images there have to be, where they are too few.
    """

    interval: tuple[float, float] | None = None
    reason: str | None = None
    images: int | None = None
    least: int | None = None


@dataclass(frozen=True)
class Check:
    """One check that passes or fails without a number: output shapes, the model loads, the read-back."""

    name: str
    status: Status
    detail: str = ""


def main_metric(task: str) -> str:
    """The metric that the task's gates are about."""
    return MAIN_METRICS.get(task, AVERAGE_PRECISION)


def main_metric_of(metrics: Mapping[str, Any]) -> str:
    """The main metric of the task that `accuracy_metrics` were measured for."""
    return next((name for name in MAIN_METRICS.values() if name in metrics), AVERAGE_PRECISION)


def unmeasured(reason: str) -> dict[str, Any]:
    """What stands in a record in place of figures that were not measured."""
    return {"status": "unmeasured", "reason": reason}


def relative_drop_percent(previous: float, current: float) -> float:
    """How far `current` lies below `previous`, in percent of `previous`; negative where it is above.

    Raises ValueError where it is not defined: `previous` is not above 0, or a value is not finite.
    """
    if not (math.isfinite(previous) and math.isfinite(current)) or previous <= 0:
        raise ValueError(f"no relative drop from {previous} to {current}")
    return (previous - current) / previous * 100.0


def gate(
    metric: str,
    reference: str,
    previous: float | None,
    current: float | None,
    limit: Limit,
    *,
    variant: str | None = None,
    reason: str = "",
    chance: Chance = Chance(),
    promised: Limit | None = None,
) -> Gate:
    """Measure `current` against `previous`, the same metric of the phase `reference`.

    A value that is missing leaves the gate unmeasured, with `reason` where it is known; a value that is not
    finite, or a reference that found nothing, never passes. `promised` is the limit that users were told.
    """
    name = f"{variant} {metric}" if variant else metric
    sound = [value if value is not None and math.isfinite(value) else None for value in (previous, current)]
    blank = Gate(
        metric=metric,
        reference=reference,
        limit_percent=limit.value if limit.relative else None,
        drop_percent=None,
        status="unmeasured",
        reason="",
        variant=variant,
        previous=sound[0],
        current=sound[1],
        limit_absolute=None if limit.relative else limit.value,
        loosened=promised is not None and (limit.relative != promised.relative or limit.value > promised.value),
    )
    if previous is None or current is None:
        missing = f"of {reference}" if previous is None else "of this phase"
        return replace(blank, reason=reason or f"{name} {missing} was not measured.")
    if sound[0] is None or sound[1] is None:
        return replace(
            blank, status="failed", reason=f"{name} is {current} after {previous} ({reference}): not a number."
        )
    if previous <= 0:
        return replace(blank, reason=f"{name} of {reference} is {previous:g}: there is nothing that could drop.")
    percent = relative_drop_percent(previous, current)
    drop = percent if limit.relative else previous - current
    status = _decided(drop, limit.value, chance)
    needed = _needed(drop, limit.value, chance) if status == "undecided" else None
    return replace(
        blank,
        status=status,
        reason=_sentence(name, reference, (previous, current), drop, limit, chance, needed, status),
        drop_percent=percent,
        drop_absolute=None if limit.relative else drop,
        interval=chance.interval,
        interval_reason=chance.reason,
        images=chance.images,
        images_needed=needed,
    )


def _decided(drop: float, limit: float, chance: Chance) -> Status:
    within = round(drop, _DECIMALS) <= limit
    if chance.interval is not None:
        low, high = (round(end, _DECIMALS) for end in chance.interval)
        return "passed" if within and high <= limit else "undecided" if low <= limit else "failed"
    if chance.least is not None and within:
        return "undecided"
    return "passed" if within else "failed"


def _needed(drop: float, limit: float, chance: Chance) -> int | None:
    """How many images would decide, if the drop stays: an interval of n images is as wide as 1 / sqrt(n)."""
    if chance.interval is None or chance.images is None:
        return chance.least
    low, high = chance.interval
    distance = abs(limit - drop)
    wide = high - drop if drop <= limit else drop - low
    if distance <= 0 or wide / distance > _FARTHEST:
        return None
    return math.ceil(chance.images * (wide / distance) ** 2)


def _sentence(
    name: str,
    reference: str,
    values: tuple[float, float],
    drop: float,
    limit: Limit,
    chance: Chance,
    needed: int | None,
    status: Status,
) -> str:
    """The gate in words."""

    def amount(value: float) -> str:
        return f"{value:.2f} %" if limit.relative else f"{value:.4f}"

    allowed = f"{limit.value:g} %" if limit.relative else f"{limit.value:g}"
    said = (
        f"{name} is {values[1]:.4f} after {values[0]:.4f} ({reference}): a drop of {amount(max(drop, 0.0))} "
        f"where {allowed} is allowed."
    )
    if chance.interval is not None:
        said += f" With 95 % confidence it is {amount(chance.interval[0])} to {amount(chance.interval[1])}."
    if status == "undecided":
        few = f"The {chance.images} images do not decide"
        if chance.interval is None:
            return f"{said} {few}: {needed} are the least."
        return f"{said} {few}; " + (f"about {needed} would." if needed else "no number of them is likely to.")
    return said


def status(gates: Iterable[Gate], checks: Iterable[Check] = ()) -> Status:
    """The verdict: the gravest of the gates', or failed where a check is; without gates nothing was measured."""
    gated = [item.status for item in gates]
    if any(check.status == "failed" for check in checks):
        return "failed"
    return min(gated, key=GRAVITY.index, default="unmeasured")


def validation(gates: Sequence[Gate], checks: Sequence[Check] = (), *, verdict: Status | None = None) -> dict[str, Any]:
    """The record's `validation` block. `verdict` overrides the status: the baseline has no gates and passes."""
    return {
        "status": verdict or status(gates, checks),
        "gates": [asdict(item) for item in gates],
        "checks": [asdict(check) for check in checks],
    }


def report_info(
    phase: PhaseName,
    created: str,
    version: str,
    contract_sha256: str,
    source: Mapping[str, Any],
    *,
    tool: str = "mcwbuild",
) -> dict[str, Any]:
    """The record's `report_info`: `created` in UTC, `source` as {file, sha256}."""
    return {
        "phase": phase,
        "created": created,
        "tool": tool,
        "version": version,
        "contract_sha256": contract_sha256,
        "source": dict(source),
    }


def record(
    info: Mapping[str, Any],
    *,
    test_configuration: Mapping[str, Any],
    device: Mapping[str, Any],
    accuracy_metrics: Mapping[str, Any],
    inference_performance: Mapping[str, Any],
    model_info: Mapping[str, Any],
    validation: Mapping[str, Any],
    comparison: Mapping[str, Any] | None = None,
    tuning_history: Sequence[Mapping[str, Any]] = (),
    tuned: Mapping[str, Any] = MappingProxyType({}),
    issues: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """A whole record in the schema's order; `info` comes from `report_info`.

    `comparison` is with the phase before and is left out for pt. For rknn, the device, metrics, speed, model
    and comparison are mappings with the keys fp16 and int8; `tuned` is what that phase tells of its search.
    """
    phase: PhaseName = info["phase"]
    made: dict[str, Any] = {
        "schema": f"performance_{phase}/1",
        "report_info": dict(info),
        "test_configuration": dict(test_configuration),
        "device": dict(device),
        "accuracy_metrics": dict(accuracy_metrics),
        "inference_performance": dict(inference_performance),
        "model_info": dict(model_info),
    }
    if comparison is not None:
        made[_COMPARISONS[phase]] = dict(comparison)
    return made | {
        "tuning_history": [dict(item) for item in tuning_history],
        **tuned,
        "issues": [dict(item) for item in issues],
        "validation": dict(validation),
    }


def missed_gate(
    performance: Mapping[str, Any], phase: Phase, *, strict: bool = False, file: str = ""
) -> GateFailed | None:
    """The error that the failed gates and checks of a record stand for, or None where it did not fail.

    `strict`: a gate that is undecided counts as one that failed. `file` is the record's name, where it is another
    one than the phase's.
    """
    verdict = performance["validation"]
    missing = ("failed", "undecided") if strict else ("failed",)
    if verdict["status"] not in missing:
        return None
    found = [gate["reason"] for gate in verdict["gates"] if gate["status"] in missing]
    found += [f"{check['name']}: {check['detail']}" for check in verdict["checks"] if check["status"] == "failed"]
    return GateFailed(
        f"The {phase.name} phase missed {'a gate' if len(found) == 1 else f'{len(found)} gates'}.",
        " ".join(found),
        f"What was made is kept; {file or phase.performance} has every figure.",
        kind="gate",
    )


def warnings(performance: Mapping[str, Any]) -> list[str]:
    """What people have to know of gates that did not fail: what is undecided, and what allows more than promised."""
    said = []
    for one in performance["validation"]["gates"]:
        name = f"{one['variant']} {one['metric']}" if one.get("variant") else one["metric"]
        if one["status"] == "undecided":
            said.append(f"undecided: {one['reason']}")
        if one.get("loosened"):
            absolute = one.get("limit_absolute")
            allowed = f"{one['limit_percent']:g} %" if absolute is None else f"{absolute:g}"
            said.append(f"the gate {name} is not the promised one: a drop of {allowed} is allowed")
    return said
