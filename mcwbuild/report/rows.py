"""Performance records as rows: one for each model file. Numbers only where they were measured, reasons where not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mcwbuild.contract import speed
from mcwbuild.contract.limits import COSINE
from mcwbuild.contract.performance import GRAVITY, main_metric_of
from mcwbuild.contract.phases import RKNN, Phase
from mcwbuild.published import VARIANTS, metrics_of, part_of
from mcwbuild.report.text import size_text

HEADER = ("model", "accuracy", "prec.", "recall", "drop %", "gate", "latency", "size")  # 80 columns at most
RIGHT = (1, 2, 3, 4, 6, 7)  # columns of figures
NEGLIGIBLE_ERROR = 1e-5  # of an output: its direction then means nothing
_COMPARISONS = ("comparison_with_pt", "comparison_with_onnx", "comparison_with_simulator")


@dataclass(frozen=True)
class Row:
    """One model; `None` is "not measured", with the reason in `unmeasured` under the figure's name.

    Units: metrics 0 to 1, drop in percent of the reference (or absolute, where the limit is), latency in ms, size in
    bytes. `metric` is the main one of the task, or the cosine. `interval` holds the drop with 95 % confidence, in the
    limit's unit; `gate` is the verdict on all gates and checks of the model, drop and limit are its main metric's.
    `latency` is the record's `latency_ms`, `estimated` what the compiler says, which nobody measured. `cosine` is that
    of the `output` that agrees least with the phase before, 1 where none differs by more than a negligible error;
    `agreement` is how far the results agree, by the task's own metrics; `findings` are names of docs/findings.md.
    `fps_all_cores` and `speedup`, the times that it is faster than ONNX on the building machine's CPU, are a board's.
    """

    model: str
    phase: str
    target: str | None
    variant: str | None
    device: str
    device_model: str | None
    cpu: str | None
    threads: int | None
    metric: str
    metrics: dict[str, float | None]
    cosine: float | None
    output: str | None
    agreement: dict[str, Any] | None
    drop_percent: float | None
    limit_percent: float | None
    gate: str
    latency_ms: float | None
    latency: dict[str, Any] | None
    fps: float | None
    estimated: dict[str, Any] | None
    size: int | None
    parameters: int | None
    flops: int | None
    remark: str
    unmeasured: dict[str, str] = field(default_factory=dict)
    issues: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    failed_checks: tuple[str, ...] = ()
    limit_absolute: float | None = None
    drop_absolute: float | None = None
    interval: tuple[float, float] | None = None
    images: int | None = None
    images_needed: int | None = None
    loosened: bool = False
    fps_all_cores: float | None = None
    speedup: float | None = None

    @property
    def accuracy(self) -> float | None:
        """The main metric, where it was measured."""
        return self.metrics.get(self.metric)

    def as_dict(self) -> dict[str, Any]:
        """The row as JSON data, each metric under its own name."""
        whole = asdict(self)
        return {**whole.pop("metrics"), **whole}


def rows(
    record: Mapping[str, Any], phase: Phase, target: str | None, board: Mapping[str, Any] | None = None
) -> Iterator[Row]:
    """The rows of one record: one for pt and onnx, one for each precision for rknn, and those of its `board` record."""
    if phase.name != "rknn":
        yield _row(phase.name.upper(), record, record, phase, None, None)
        return
    for variant in VARIANTS:
        yield _row(f"{target} {variant.upper()}", part_of(record, variant), record, phase, target, variant)
    if board is not None:
        yield from board_rows(board, target)


def board_rows(record: Mapping[str, Any], target: str | None) -> Iterator[Row]:
    """The rows of a merged performance_rknn.device.json: each model that was measured; a stand-in is called one."""
    for variant in VARIANTS:
        part = part_of(record, variant)
        if kind := part["device"].get("kind"):
            row = _row(f"{target} {variant.upper()} {kind}", part, record, RKNN, target, variant)
            told = "No NPU computed: a stand-in for the board's runtime did. " if record["stand_in"] else ""
            gates = [gate for gate in record["validation"]["gates"] if gate.get("variant") == variant]
            yield replace(
                row,
                remark=f"{told}{row.remark}".strip(),
                fps_all_cores=part["throughput"].get("fps"),
                speedup=next((speed.factor(gate) for gate in gates if gate["metric"] == speed.SPEEDUP), None),
            )


def _row(
    model: str,
    part: Mapping[str, Any],
    record: Mapping[str, Any],
    phase: Phase,
    target: str | None,
    variant: str | None,
) -> Row:
    accuracy, speed, device, info = (
        part.get(name, {}) for name in ("accuracy_metrics", "inference_performance", "device", "model_info")
    )
    compared: Mapping[str, Any] = next((part[name] for name in _COMPARISONS if name in part), {})
    least = _worst(compared.get("outputs") or ())
    mine = [gate for gate in record["validation"]["gates"] if gate.get("variant") == variant]
    failed = tuple(_failed_checks(record["validation"]["checks"], variant))
    metric = main_metric_of(accuracy)
    gate: Mapping[str, Any] = next((gate for gate in mine if gate["metric"] in (metric, COSINE)), {})
    latency = speed.get("latency_ms")
    return Row(
        model=model,
        phase=phase.name,
        target=target,
        variant=variant,
        device=str(device.get("kind", "-")),
        device_model=device.get("model"),
        cpu=device.get("cpu"),
        threads=speed.get("threads"),
        metric=str(gate.get("metric", metric)) if "status" in accuracy else metric,
        metrics=metrics_of(accuracy),
        cosine=least.get("cosine") if least is not None else 1.0 if compared.get("outputs") else None,
        output=None if least is None else least.get("name"),
        agreement=compared.get("agreement"),
        drop_percent=gate.get("drop_percent"),
        limit_percent=gate.get("limit_percent"),
        gate="failed" if failed else min((str(gate["status"]) for gate in mine), key=GRAVITY.index, default="-"),
        latency_ms=((latency or {}).get("total") or {}).get("p50"),
        latency=latency,
        fps=speed.get("fps"),
        estimated=speed.get("estimated"),
        size=info.get("size"),
        parameters=info.get("parameters"),
        flops=info.get("flops"),
        remark=" ".join([str(accuracy.get("reason") or _told(mine)), *_explained(accuracy, compared)]),
        unmeasured=_unmeasured(accuracy, speed, info, gate),
        issues=tuple(_issue(one) for one in record["issues"] if _is_of(one, variant)),
        findings=tuple(
            dict.fromkeys(one["name"] for one in record["issues"] if "name" in one and _is_of(one, variant))
        ),
        failed_checks=failed,
        limit_absolute=gate.get("limit_absolute"),
        drop_absolute=gate.get("drop_absolute"),
        interval=gate.get("interval"),
        images=((record["test_configuration"] or {}).get("dataset") or {}).get("images"),
        images_needed=gate.get("images_needed"),
        loosened=any(gate.get("loosened") for gate in mine),
    )


def _explained(accuracy: Mapping[str, Any], compared: Mapping[str, Any]) -> Iterator[str]:
    """What stands in the table where there is no accuracy."""
    agreement = compared.get("agreement")
    if accuracy.get("status") == "unmeasured" and agreement:
        metric, images = main_metric_of(agreement), agreement["images"]
        yield f"agr. is {metric} against the results of the phase before on {images} images: agreement, no accuracy."


def _issue(issue: Mapping[str, Any]) -> str:
    """What happened; of a finding with its name."""
    return f"{issue['name']}: {issue['what']}" if "name" in issue else str(issue["what"])


def _is_of(issue: Mapping[str, Any], variant: str | None) -> bool:
    """Whether an issue is about a model: those of its precision are, and those of both."""
    named = issue.get("evidence", {}).get("variant")
    return _concerns(str(issue["what"]), variant) if named is None else variant in (None, named)


def _worst(outputs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The output that agrees least, as stages/common/agreement.py has it."""
    differing = [one for one in outputs if one.get("max_error") is None or one["max_error"] > NEGLIGIBLE_ERROR]
    return min(differing, key=lambda one: -1.0 if one.get("cosine") is None else one["cosine"], default=None)


def _told(gates: list[Mapping[str, Any]]) -> str:
    told = [str(gate["reason"]) for gate in gates if gate["status"] != "passed"]
    told += [f"The gate on {gate['metric']} allows more than was promised." for gate in gates if gate.get("loosened")]
    return " ".join(told)


def _unmeasured(
    accuracy: Mapping[str, Any], speed: Mapping[str, Any], info: Mapping[str, Any], gate: Mapping[str, Any]
) -> dict[str, str]:
    """Each figure that was not measured, and why."""
    reasons = {
        "accuracy": accuracy.get("reason"),
        "interval": gate.get("interval_reason"),
        "latency": speed.get("latency_reason") or speed.get("reason"),
        "FPS": speed.get("fps_reason") or speed.get("reason"),
        "size": info.get("reason"),
        "parameters": info.get("parameters_reason") or info.get("reason"),
        "FLOPs": info.get("flops_reason") or info.get("reason"),
    }
    if gate.get("status") == "unmeasured":
        reasons["gate"] = gate["reason"]
    return {name: str(reason) for name, reason in reasons.items() if reason}


def _failed_checks(checks: Iterable[Mapping[str, Any]], variant: str | None) -> Iterator[str]:
    for check in checks:
        if check["status"] == "failed" and _concerns(str(check["name"]), variant):
            yield f"{check['name']}: {check['detail']}"


def _concerns(text: str, variant: str | None) -> bool:
    """Whether a check or an issue is about this variant: one that names the other one is not."""
    return not any(other in text.split() for other in VARIANTS if variant is not None and other != variant)


def drop_text(row: Row) -> str:
    """The drop: in percent of the reference, or absolute with four digits."""
    if row.limit_absolute is not None:
        return "-" if row.drop_absolute is None else f"{row.drop_absolute:.4f}"
    return "-" if row.drop_percent is None else f"{row.drop_percent:.2f}"


def limit_text(row: Row) -> str:
    """The limit, in the drop's unit."""
    limit = row.limit_percent if row.limit_absolute is None else row.limit_absolute
    return "-" if limit is None else f"{limit:g}"


def _accuracy(row: Row) -> str:
    """The main metric with its name: the rows of a table may be of several tasks."""
    short = {"top1": "top-1", "character_accuracy": "char"}.get(row.metric, "mAP")
    if row.accuracy is None and row.agreement:
        value = row.agreement.get(main_metric_of(row.agreement))
        return "-" if value is None else f"agr. {value:.3f}"
    return "-" if row.accuracy is None else f"{short} {row.accuracy:.3f}"


def cells(row: Row) -> list[str]:
    """The row's text under `HEADER`; a dash is "not measured", accuracy the main metric of the task."""

    def figure(name: str) -> str:
        value = row.metrics.get(name)
        return "-" if value is None else f"{value:.3f}"

    limit = limit_text(row)
    return [
        row.model,
        _accuracy(row),
        figure("precision"),
        figure("recall"),
        drop_text(row) if limit == "-" else f"{drop_text(row)} \u2264 {limit}",
        row.gate,
        "-" if row.latency_ms is None else f"{row.latency_ms:.1f} ms {row.device}",
        "-" if row.size is None else size_text(row.size),
    ]
