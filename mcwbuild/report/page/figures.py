"""The page's charts and the tables beside them, from what was measured. Nothing is drawn that was not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from mcwbuild.contract.performance import main_metric_of
from mcwbuild.contract.results import Found, Item, changes
from mcwbuild.published import Model
from mcwbuild.report.ledger import PARTS
from mcwbuild.report.page import charts
from mcwbuild.report.page.charts import Bar, Interval, Series
from mcwbuild.report.page.told import Gate, Told
from mcwbuild.report.text import count_text

_POINTS = 1500  # of a scatter: more cannot be told apart
_CLASSES = 40  # rows of a table
_LAYERS = 8  # that lose most
_LEAST = 1e-6  # of 1 - cosine: the toolkit's table has five decimals
_INT8 = "INT8"
_NOTHING = Markup("")
_PRECISIONS = (("int8", "the layer alone, INT8", True), ("finer", "in higher precision", False))


@dataclass(frozen=True)
class Figure:
    """A chart with what it means in one sentence; `empty` says why there is none."""

    title: str
    svg: Markup = _NOTHING
    says: str = ""
    empty: str = ""


def gates(told: Told) -> Figure | None:
    """All drops with intervals and limits; None where they are of several units, or there is none."""
    drawn = [gate for gate in told.gates if gate.drop is not None and gate.limit is not None]
    main = [gate for gate in drawn if gate.unit == "%"]
    if not main:
        return None
    rows = [
        Interval(
            _gate_name(gate, main), float(gate.drop or 0), gate.low, gate.high, float(gate.limit or 0), gate.status
        )
        for gate in main
    ]
    said = "; ".join(gate.reason for gate in main)
    return Figure("Drop at each phase", charts.intervals(said, "drop against the phase before, %", rows))


def _gate_name(gate: Gate, among: Sequence[Gate]) -> str:
    several = len({one.metric for one in among}) > 1
    return f"{gate.model} {gate.metric}" if several else gate.model


def precision_recall(told: Told) -> Figure:
    """Precision over recall of the first model, FP16 and INT8."""
    title = "Precision over recall, IoU 0.5"
    curves = [(name, told.found[name].curve) for name in ("pt", "onnx", "fp16", "int8") if name in told.found]
    drawn = [(name, curve) for name, curve in curves if curve is not None]
    if not drawn:
        return Figure(title, empty=_no_curve(told))
    chosen = [drawn[0], *(one for one in drawn[1:] if one[0] in ("fp16", "int8"))]
    series = [
        Series(name, [(place / 100, value) for place, value in enumerate(curve)], name.upper(), line=True, dots=False)
        for name, curve in chosen
    ]
    means = ", ".join(f"{name.upper()} {sum(curve) / len(curve):.3f}" for name, curve in chosen)
    axes = charts.linear("recall", 0, 1), charts.linear("precision", 0, 1)
    said = f"Precision over recall, mean over the classes. The areas: {means}."
    return Figure(title, charts.plot(said, *axes, series), f"Mean over the classes; the areas are {means}.")


def _no_curve(told: Told) -> str:
    if told.task in ("classification", "ocr", "generic"):
        return f"The task is {told.task}: it has no recall."
    return "No labels were given, or the packages hold no results." if told.kept else "The packages hold no results."


def scores(told: Told) -> Figure:
    """Each object's score by the first model and by the last one."""
    names = [name for name in ("pt", "onnx", "fp16", "int8") if told.found.get(name, Found({})).images]
    title = "Scores"
    if len(names) < 2:
        return Figure(title, empty="The packages hold the results of fewer than two models.")
    a, b = names[0], names[-1]
    both, lost, extra = _pairs(told.found[a], told.found[b])
    title = f"Scores, {a.upper()} against {b.upper()}"
    if not both and not lost and not extra:
        return Figure(title, empty=f"Neither {a.upper()} nor {b.upper()} found anything in these images.")
    series = [
        Series("same", _thin(both), f"found by both ({len(both)})"),
        Series("lost", [(x, 0.0) for x in _thin(lost)], f"lost ({len(lost)})"),
        Series("extra", [(0.0, y) for y in _thin(extra)], f"extra ({len(extra)})"),
    ]
    shift = sum(y - x for x, y in both) / len(both) if both else 0.0
    axes = charts.linear(f"score, {a.upper()}", 0, 1), charts.linear(f"score, {b.upper()}", 0, 1)
    says = f"{len(both)} found by both, {len(lost)} lost, {len(extra)} extra; scores move by {shift:+.3f} on average."
    return Figure(title, charts.plot(says, *axes, series, [("diagonal", 0.0)]), says)


def _pairs(a: Found, b: Found) -> tuple[list[tuple[float, float]], list[float], list[float]]:
    both: list[tuple[float, float]] = []
    lost: list[float] = []
    extra: list[float] = []
    for place, before in a.images.items():
        after = b.images.get(place, ())
        told = changes(before, after)
        both += [(_score(before[i]), _score(after[j])) for i, j in (*told.kept, *told.moved)]
        lost += [_score(before[i]) for i in told.lost]
        extra += [_score(after[j]) for j in told.extra]
    return both, lost, extra


def _score(item: Item) -> float:
    return item.score or 0.0


def _thin(values: list[Any]) -> list[Any]:
    return values if len(values) <= _POINTS else values[:: -(-len(values) // _POINTS)]


@dataclass(frozen=True)
class ClassRow:
    """One class: its metric before and after, and the difference; `share` is the bar's length, -1..1."""

    name: str
    before: float
    after: float
    change: float
    share: float
    instances: int | None


@dataclass(frozen=True)
class Classes:
    """The classes' metric of two models, worst change first."""

    metric: str
    before: str
    after: str
    rows: tuple[ClassRow, ...]
    left_out: int
    empty: str = ""


def classes(told: Told) -> Classes:
    """Each class by the first model and the last INT8 (else the last) one."""
    known = [model for model in told.models if _per_class(model)]
    if len(known) < 2:
        why = "Fewer than two models have figures of single classes."
        return Classes(
            told.metric, "", "", (), 0, why if told.task != "generic" else "A generic network has no classes."
        )
    first, last = known[0], next((one for one in reversed(known) if one.variant == "int8"), known[-1])
    metric = next((name for name in (told.metric, "map50_95", "top1", "recall") if name in _per_class(first)[0]), "f1")
    before, after = ({str(one["name"]): one for one in _per_class(model)} for model in (first, last))
    pairs = [
        (name, float(one[metric]), float(after[name][metric]), one.get("instances"))
        for name, one in before.items()
        if name in after and one.get(metric) is not None and after[name].get(metric) is not None
    ]
    most = max((abs(b - a) for _, a, b, _ in pairs), default=0.0) or 1.0
    rows = sorted((ClassRow(name, a, b, b - a, (b - a) / most, n) for name, a, b, n in pairs), key=lambda r: r.change)
    if len(rows) > _CLASSES:
        half = _CLASSES // 2
        rows, left = rows[:half] + rows[-half:], len(rows) - _CLASSES
    else:
        left = 0
    empty = "" if rows else f"{metric} of single classes is not defined."
    return Classes(metric, first.label, last.label, tuple(rows), left, empty)


def _per_class(model: Model) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = model.part.get("accuracy_metrics", {}).get("per_class") or ()
    return found


def latency(told: Told) -> Figure:
    """The measured latency of each model, in its parts."""
    bars = []
    for row in told.rows:
        if row.latency is None:
            continue
        parts = [(part, float((row.latency.get(part) or {}).get("p50") or 0.0)) for part in PARTS]
        total = row.latency.get("total") or {}
        words = f"{total.get('p50', 0):.1f} ms, p99 {total.get('p99', 0):.1f}, {row.device}"
        bars.append(Bar(row.model.removesuffix(f" {row.device}"), parts, words, total.get("p99")))
    title = "Latency of one image"
    without = [row.model for row in told.rows if row.latency is None]
    reasons = list(dict.fromkeys(row.unmeasured["latency"] for row in told.rows if "latency" in row.unmeasured))
    why = f"{', '.join(without)}: {' '.join(reasons)}" if without else ""
    if not bars:
        return Figure(title, empty=why or "Nothing was timed.")
    said = "; ".join(f"{bar.name}: {bar.text}" for bar in bars)
    chart = charts.bars(f"Median latency. {said}.", "ms, median; the line ends at p99", bars)
    return Figure(title, chart, f"Times of different devices are not to be compared. {why}".strip())


@dataclass(frozen=True)
class Layers:
    """The INT8 build layer by layer: a chart, those that lose most, and those in higher precision."""

    figure: Figure
    worst: tuple[Mapping[str, Any], ...] = ()
    finer: tuple[str, ...] = ()


def layers(told: Told) -> Layers:
    """The error of each layer of the INT8 build, in the network's order."""
    title = "Error of each INT8 layer"
    every: Sequence[Mapping[str, Any]] = (told.last.performance.get("layers") or {}).get("int8") or ()
    finer = tuple(str(one["name"]) for one in every if one["dtype"] != _INT8 and one.get("cycles"))
    known = [one for one in every if one.get("cosine") is not None]
    if not known:
        why = "Layers are measured with --layers, and when INT8 is tuned." if every else "No INT8 model was made."
        return Layers(Figure(title, empty=why), (), finer)
    own = [(place, _exponent(one["cosine"]), one) for place, one in enumerate(known)]
    total = [
        (float(i), _exponent(one["total_cosine"])) for i, one in enumerate(known) if one.get("total_cosine") is not None
    ]
    values = [10**value for _, value, _ in own] + [10**value for _, value in total]
    up = charts.decades("1 - cosine", min(values), max(values))
    series = [
        Series("total", total, "gathered so far", line=True, dots=False),
        *(
            Series(kind, [(float(i), value) for i, value, one in own if (one["dtype"] == _INT8) == is_int8],
                   label, [str(one["name"]) for _, _, one in own if (one["dtype"] == _INT8) == is_int8])
            for kind, label, is_int8 in _PRECISIONS
        ),
    ]  # fmt: skip
    worst = sorted(known, key=lambda one: float(one["cosine"]))[:_LAYERS]
    says = f"{len(known)} layers; {len(finer)} with cycles run in higher precision. Most is lost in {worst[0]['name']}."
    axis = charts.linear("layer, in the network's order", 0, max(len(known) - 1, 1), 0)
    shown = [one for one in series if one.points]
    return Layers(Figure(title, charts.plot(says, axis, up, shown), says), tuple(worst), finer)


def _exponent(cosine: float) -> float:
    from math import log10

    return log10(max(1 - cosine, _LEAST))


@dataclass(frozen=True)
class Tuning:
    """Every try of the search, and the chart of those that were measured."""

    tries: tuple[Mapping[str, Any], ...]
    figure: Figure
    best: tuple[str, ...]
    metric: str


def tuning(told: Told) -> Tuning:
    """The search for an INT8 build that passes."""
    history: Sequence[Mapping[str, Any]] = told.last.performance.get("tuning_history") or ()
    tries = tuple(one for one in history if one.get("variant") == "int8" and "verdict" in one)
    front: Sequence[Mapping[str, Any]] = told.last.performance.get("pareto") or ()
    best = tuple(str(one["name"]) for one in front)
    metric = next((str(one["metric"]) for one in front), told.metric)
    title = "Accuracy over cycles"
    points = [
        (one, float(one["cycles"]), float(one[metric]))
        for one in tries
        if one.get(metric) is not None and one.get("cycles")
    ]
    if len(tries) < 2:
        why = "One INT8 build was made, and nothing had to be tried." if tries else "No INT8 model was made."
        return Tuning(tries, Figure(title, empty=why), best, metric)
    if not points:
        return Tuning(tries, Figure(title, empty="Of no try was accuracy measured."), best, metric)
    on_front = sorted((x, y) for one, x, y in points if str(one["name"]) in best)
    series = [Series("front", on_front, "Pareto front", line=True, dots=False)] if len(on_front) > 1 else []
    for verdict in dict.fromkeys(str(one["verdict"]) for one, _, _ in points):
        own = [(one, x, y) for one, x, y in points if one["verdict"] == verdict]
        named = [f"{one['name']}: {y:.4f}, {count_text(x)} cycles" for one, x, y in own]
        series.append(Series(verdict, [(x, y) for _, x, y in own], verdict, named))
    xs, ys = [x for _, x, _ in points], [y for _, _, y in points]
    axes = (
        charts.count_axis("cycles, as the compiler estimates", min(xs), max(xs), count_text),
        charts.linear(metric, min(ys), max(ys)),
    )
    unbeaten = f"not beaten in accuracy, size, share of INT8 and cycles: {', '.join(best)}"
    says = f"{len(tries)} builds, {len(points)} measured; {unbeaten}."
    return Tuning(tries, Figure(title, charts.plot(says, *axes, series), says), best, metric)


def calibration_curve(told: Told) -> Figure:
    """How far the ranges still moved, by the number of images."""
    chosen = ((told.calibration or {}).get("dataset") or {}).get("chosen") or {}
    points = [
        (float(p["images"]), float(p["moved_percent"]))
        for p in chosen.get("curve") or ()
        if p["moved_percent"] is not None
    ]
    title = "How far the ranges still moved"
    if not points:
        return Figure(title, empty=str(chosen.get("reason") or "The number of images was given; no curve was drawn."))
    limit = float(chosen.get("limit_percent") or 0)
    most = max(limit, *(y for _, y in points))
    axes = (
        charts.linear("calibration images", 0, points[-1][0], 0),
        charts.linear("ranges narrower with half as many, %", 0, most),
    )
    series = [Series("int8", points, "", [f"{x:.0f} images: {y:g} %" for x, y in points], line=True)]
    said = ", ".join(f"{x:.0f} images {y:g} %" for x, y in points)
    return Figure(
        title,
        charts.plot(f"{said}.", *axes, series, [("level", limit)]),
        f"{str(chosen.get('reason', '')).capitalize()}.",
    )


def outputs(told: Told) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each output of each model beside that of the phase before: (model, output)."""
    for model in told.models:
        for name in ("comparison_with_pt", "comparison_with_onnx"):
            for one in model.part.get(name, {}).get("outputs") or ():
                yield model.label, one


def agreement(told: Told) -> Iterator[tuple[str, str, float | None, int]]:
    """How far the results agree with the phase before: (model, metric, value, images)."""
    for row in told.rows:
        if row.agreement:
            metric = main_metric_of(row.agreement)
            yield row.model, metric, row.agreement.get(metric), int(row.agreement["images"])
