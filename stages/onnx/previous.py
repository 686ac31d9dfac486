"""What came before beside this phase's figures: whether they can be compared, and by how much they differ.

Before this phase is the pt phase, by its record; or the ONNX file that was given, by its own outputs.
"""

from __future__ import annotations

from typing import Any

from mcwbuild.contract import inherit, performance
from mcwbuild.contract.performance import COMPARED, Gate, main_metric
from mcwbuild.contract.phases import PT
from stages.common import gates
from stages.common.evaluation_file import order_of
from stages.common.gates import Question, Side
from stages.onnx.make import Made
from stages.onnx.request import Request

GIVEN = "the given ONNX"  # the reference's name where there is no pt phase


def baseline(request: Request, made: Made) -> tuple[dict[str, Any], str]:
    """The baseline's accuracy metrics; empty, with the reason, where they cannot stand beside this phase's."""
    if made.baseline is not None:
        return made.baseline.metrics, ""
    if request.images.labels is None:
        return {}, "No labelled dataset was given (--data)."
    if request.previous is None:
        return {}, "The pt phase's performance record was not given (--previous)."
    record: Any = request.previous.value
    metrics: dict[str, Any] = record["accuracy_metrics"]
    if metrics.get("status") == "unmeasured":
        return {}, f"The pt phase did not measure its accuracy: {metrics['reason']}"
    differing = [what for what, there, here in _conditions(request, record) if there != here]
    if differing:
        return {}, f"The pt phase measured under other conditions: {', '.join(differing)}."
    return metrics, ""


def _conditions(request: Request, record: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """What has to be equal for a comparison: in words, as the record has it, as it is here."""
    dataset = record["test_configuration"]["dataset"] or {}
    evaluation = record["test_configuration"].get("evaluation", {})
    ours = request.images.record or {}
    return [
        ("another dataset", dataset.get("sha256"), ours.get("sha256")),
        ("another checkpoint", record["model_info"].get("sha256"), request.origin.sha256),
        ("another contract", record["report_info"].get("contract_sha256"), inherit.contract_sha256(request.source)),
        ("another IoU", evaluation.get("iou"), request.settings.iou),
        ("another limit of detections", evaluation.get("max_detections"), request.settings.max_detections),
    ]


def comparison(request: Request, made: Made) -> dict[str, Any]:
    """`comparison_with_pt` of the performance record."""
    before, reason = baseline(request, made)
    now = made.evaluation.metrics
    metrics = {key: _beside(before[key], now[key]) for key in COMPARED if before.get(key) is not None and key in now}
    return {
        "reference": {"file": _reference(request), "sha256": request.origin.sha256},
        "metrics": metrics or None,
        **({} if metrics else {"metrics_reason": reason or str(now.get("reason"))}),
        "outputs": made.agreement,
        **made.agreement_of_results,
        "images": made.compared,
        "images_source": request.images.source,
    }


def _reference(request: Request) -> str:
    """The file that this phase's figures stand beside: the checkpoint, or the ONNX file that was given."""
    return request.given.file if request.given else PT.artefacts[0]


def _beside(previous: float, current: float) -> dict[str, float | None]:
    drop = performance.relative_drop_percent(previous, current) if previous > 0 else None
    return {"previous": previous, "current": current, "drop_percent": drop}


def drop_gates(request: Request, made: Made) -> list[Gate]:
    """The gates on the main metric and on all that has a limit of its own."""
    metrics, reason = baseline(request, made)
    if made.baseline is not None:
        before = Side(metrics, made.baseline.per_image)
    else:
        order = order_of(request.images.images)
        before = gates.previous_side(metrics, reason, request.kept, request.origin.sha256, order)
    name = GIVEN if request.given else PT.name
    asked = Question("onnx", name, main_metric(request.contract["model"]["task"]), request.gates)
    after = Side(made.evaluation.metrics, made.evaluation.per_image)
    return gates.gates(asked, before, after, made.agreement)
