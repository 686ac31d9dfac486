"""Performance records: their parts, and the gates that decide whether a phase passed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mcwbuild.contract.errors import GateFailed
from mcwbuild.contract.phases import Phase, PhaseName

Status = Literal["passed", "failed", "unmeasured"]

COSINE = "cosine"  # of the output that agrees least, for a network without a metric
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
DROPS: dict[str, float] = {"onnx": 0.5, "fp16": 2.0, "int8": 5.0}  # largest relative drop of the main metric, percent
# The same for the cosine, which is 1 where both agree. A sound export has 1 to six digits, FP16 to four.
COSINE_DROPS: dict[str, float] = {"onnx": 0.1, "fp16": 1.0, "int8": 5.0}
_COMPARISONS: dict[PhaseName, str] = {"onnx": "comparison_with_pt", "rknn": "comparison_with_onnx"}
_DECIMALS = 9  # a drop of exactly the limit passes, whatever the last bits of the division are


@dataclass(frozen=True)
class Gate:
    """One metric against a named reference: how far it may drop, how far it did (relative, percent)."""

    metric: str
    reference: str
    limit_percent: float
    drop_percent: float | None
    status: Status
    reason: str
    variant: str | None = None
    previous: float | None = None
    current: float | None = None


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


def cosine_gate(
    outputs: Sequence[Mapping[str, Any]], negligible: float, reference: str, step: str, variant: str | None = None
) -> Gate:
    """The gate of a network without a metric: the worst cosine of `comparison.outputs`; `step` names its limit.

    An output that nowhere differs by more than `negligible` agrees, whatever its cosine: all but zero, it has no
    direction.
    """
    cosines = [
        1.0
        if row["max_error"] is not None and row["max_error"] <= negligible
        else math.nan
        if row["cosine"] is None
        else row["cosine"]
        for row in outputs
    ]
    worst = math.nan if any(map(math.isnan, cosines)) else min(cosines)
    return gate(COSINE, reference, 1.0, worst, COSINE_DROPS[step], variant=variant)


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
    limit: float,
    *,
    variant: str | None = None,
    reason: str = "",
) -> Gate:
    """Measure `current` against `previous` (the same metric of the phase `reference`); `limit` is in percent.

    A value that is missing leaves the gate unmeasured, with `reason` where it is known; a value that is not
    finite, or a reference that found nothing, never passes.
    """

    def outcome(status: Status, why: str, drop: float | None = None) -> Gate:
        sound = [value if value is not None and math.isfinite(value) else None for value in (previous, current)]
        return Gate(metric, reference, limit, drop, status, why, variant, *sound)

    name = f"{variant} {metric}" if variant else metric
    if previous is None or current is None:
        missing = f"of {reference}" if previous is None else "of this phase"
        return outcome("unmeasured", reason or f"{name} {missing} was not measured.")
    if not math.isfinite(current) or not math.isfinite(previous):
        return outcome("failed", f"{name} is {current} after {previous} ({reference}): not a number.")
    if previous <= 0:
        return outcome("unmeasured", f"{name} of {reference} is {previous:g}: there is nothing that could drop.")
    drop = relative_drop_percent(previous, current)
    passed = round(drop, _DECIMALS) <= limit
    sentence = (
        f"{name} is {current:.4f} after {previous:.4f} ({reference}): a drop of {max(drop, 0.0):.2f} % "
        f"where {limit:g} % is allowed."
    )
    return outcome("passed" if passed else "failed", sentence, drop)


def status(gates: Iterable[Gate], checks: Iterable[Check] = ()) -> Status:
    """The verdict: failed if anything failed, else unmeasured if any gate is (or there is none), else passed."""
    gated = [item.status for item in gates]
    if "failed" in gated or any(check.status == "failed" for check in checks):
        return "failed"
    return "passed" if gated and "unmeasured" not in gated else "unmeasured"


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
    issues: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """A whole record in the schema's order; `info` comes from `report_info`.

    `comparison` is with the phase before and is left out for pt. For rknn, the device, metrics, speed, model
    and comparison are mappings with the keys fp16 and int8.
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
        "issues": [dict(item) for item in issues],
        "validation": dict(validation),
    }


def missed_gate(performance: Mapping[str, Any], phase: Phase) -> GateFailed | None:
    """The error that the failed gates and checks of a record stand for, or None where it did not fail."""
    verdict = performance["validation"]
    if verdict["status"] != "failed":
        return None
    found = [gate["reason"] for gate in verdict["gates"] if gate["status"] == "failed"]
    found += [f"{check['name']}: {check['detail']}" for check in verdict["checks"] if check["status"] == "failed"]
    return GateFailed(
        f"The {phase.name} phase missed {'a gate' if len(found) == 1 else f'{len(found)} gates'}.",
        " ".join(found),
        f"What was made is kept; {phase.performance} has every figure.",
        kind="gate",
    )
