"""Performance records as rows of one table: a row for each model file. Numbers only where they were measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mcwbuild.contract.limits import COSINE
from mcwbuild.contract.performance import GRAVITY, main_metric_of
from mcwbuild.pipeline import Outcome
from mcwbuild.report.text import size_text

HEADER = ("model", "accuracy", "prec.", "recall", "drop %", "gate", "latency", "size")  # 80 columns at most
RIGHT = (1, 2, 3, 4, 6, 7)  # columns of figures


@dataclass(frozen=True)
class Row:
    """One model in the table; `None` is "not measured", with the reason in `remark`.

    Units: mAP, top-1, shares of characters and words, precision and recall 0 to 1, drop in percent of the reference (or
    absolute, where the limit is), latency in ms, size in bytes. `interval` holds the drop with 95 % confidence, in the
    limit's unit; `gate` is the verdict on all gates of the model, drop and limit are those of its main metric.
    """

    model: str
    device: str
    map50_95: float | None
    top1: float | None
    character_accuracy: float | None
    word_accuracy: float | None
    precision: float | None
    recall: float | None
    drop_percent: float | None
    limit_percent: float | None
    gate: str
    latency_ms: float | None
    fps: float | None
    size: int | None
    remark: str
    limit_absolute: float | None = None
    drop_absolute: float | None = None
    interval: tuple[float, float] | None = None
    images_needed: int | None = None
    loosened: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The row as JSON data."""
        return asdict(self)


def rows(outcome: Outcome) -> Iterator[Row]:
    """The rows of one step: one for pt and onnx, one for each precision for rknn."""
    record, phase = outcome.performance, outcome.step.phase
    if phase.name != "rknn":
        yield _row(phase.name.upper(), record, record, None)
        return
    target = outcome.step.options[outcome.step.options.index("--target") + 1]
    for variant in ("fp16", "int8"):
        part = {
            name: value[variant]
            for name, value in record.items()
            if isinstance(value, Mapping) and isinstance(value.get(variant), Mapping)
        }
        yield _row(f"{target} {variant.upper()}", part, record, variant)


def _row(model: str, part: Mapping[str, Any], record: Mapping[str, Any], variant: str | None) -> Row:
    accuracy = part.get("accuracy_metrics", {})
    speed = part.get("inference_performance", {})
    device = part.get("device", {})
    metric = main_metric_of(accuracy)
    mine = [gate for gate in record["validation"]["gates"] if gate.get("variant") == variant]
    gate: Mapping[str, Any] = next((gate for gate in mine if gate["metric"] in (metric, COSINE)), {})
    simulated = device.get("kind") == "simulator"
    told = [str(gate["reason"]) for gate in mine if gate["status"] != "passed"]
    told += [f"The gate on {gate['metric']} allows more than was promised." for gate in mine if gate.get("loosened")]
    missing = accuracy.get("reason") or " ".join(told)
    return Row(
        model=model,
        device=str(device.get("kind", "-")),
        map50_95=accuracy.get("map50_95"),
        top1=accuracy.get("top1"),
        character_accuracy=accuracy.get("character_accuracy"),
        word_accuracy=accuracy.get("word_accuracy"),
        precision=accuracy.get("precision"),
        recall=accuracy.get("recall"),
        drop_percent=gate.get("drop_percent"),
        limit_percent=gate.get("limit_percent"),
        gate=min((str(gate["status"]) for gate in mine), key=GRAVITY.index, default="-"),
        latency_ms=None if simulated else (speed.get("latency_ms") or {}).get("total", {}).get("p50"),
        fps=speed.get("fps"),
        size=part.get("model_info", {}).get("size"),
        remark=str(missing or ""),
        limit_absolute=gate.get("limit_absolute"),
        drop_absolute=gate.get("drop_absolute"),
        interval=gate.get("interval"),
        images_needed=gate.get("images_needed"),
        loosened=any(gate.get("loosened") for gate in mine),
    )


def _accuracy(row: Row) -> str:
    """The main metric with its name: the rows of a table may be of several tasks."""
    if row.top1 is not None:
        return f"top-1 {row.top1:.3f}"
    if row.character_accuracy is not None:
        return f"char {row.character_accuracy:.3f}"
    return "-" if row.map50_95 is None else f"mAP {row.map50_95:.3f}"


def _drop(row: Row) -> str:
    """The drop beside its limit: in percent, or absolute with four digits."""
    if row.limit_absolute is not None:
        drop = "-" if row.drop_absolute is None else f"{row.drop_absolute:.4f}"
        return f"{drop} \u2264 {row.limit_absolute:g}"
    drop = "-" if row.drop_percent is None else f"{row.drop_percent:.2f}"
    return drop if row.limit_percent is None else f"{drop} \u2264 {row.limit_percent:g}"


def cells(row: Row) -> list[str]:
    """The row's text under `HEADER`; a dash is "not measured", accuracy the main metric of the task."""

    def figure(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    return [
        row.model,
        _accuracy(row),
        figure(row.precision),
        figure(row.recall),
        _drop(row),
        row.gate,
        "-" if row.latency_ms is None else f"{row.latency_ms:.1f} ms {row.device}",
        "-" if row.size is None else size_text(row.size),
    ]
