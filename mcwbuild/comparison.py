"""Two packages, or two runs, beside each other: what was asked otherwise, and what came of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mcwbuild.contract import inherit, schemas
from mcwbuild.published import Model, Published, models

Verdict = Literal["better", "worse", "within noise", "the same", "unknown"]
SAME = 1e-5  # of a metric from 0 to 1: records round to 6 digits
_NOT_OPTIONS = ("evaluation", "previous", "source", "onnx", "pt", "threads", "resume")  # inputs, or said elsewhere
_MADE = ("evaluation", "previous", "source")  # of the phase before: compared by themselves
_DEVICE = ("kind", "model", "cpu", "backend")


@dataclass(frozen=True)
class Change:
    """One value that differs; `where` is the phase, a dash where it is all phases'."""

    where: str
    what: str
    a: Any
    b: Any


@dataclass(frozen=True)
class Measure:
    """One figure on both sides. `difference` is b - a; `interval` holds it with 95 % confidence, in the same unit."""

    name: str
    a: float | None
    b: float | None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    verdict: Verdict | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Beside:
    """One model on both sides. `unpaired` is why the images cannot be paired; `identical`: the same bytes."""

    model: str
    main: str
    identical: bool
    unpaired: str | None
    metrics: tuple[Measure, ...]
    classes: tuple[Measure, ...]
    figures: tuple[Measure, ...]

    @property
    def verdict(self) -> Verdict:
        """That of the main metric."""
        return next((one.verdict for one in self.metrics if one.name == self.main and one.verdict), "unknown")


@dataclass(frozen=True)
class Comparison:
    """Everything that differs between `a` and `b`; `only_a` and `only_b` are models that the other side lacks."""

    a: str
    b: str
    contract: tuple[Change, ...]
    options: tuple[Change, ...]
    inputs: tuple[Change, ...]
    tools: tuple[Change, ...]
    models: tuple[Beside, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()

    @property
    def worse(self) -> tuple[str, ...]:
        """The models whose main metric is worse in `b`, beyond noise."""
        return tuple(one.model for one in self.models if one.verdict == "worse")

    def as_dict(self) -> dict[str, Any]:
        """As JSON data."""
        whole = asdict(self)
        for data, one in zip(whole["models"], self.models, strict=True):
            data["verdict"] = one.verdict
        return {**whole, "worse": list(self.worse)}


@dataclass(frozen=True)
class Pair:
    """A model on both sides, and how the images were paired: `paired` is what `stages.common.paired` says."""

    a: Model
    b: Model
    unpaired: str | None = None
    paired: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The model's name, both where they differ."""
        return self.a.label if self.a.label == self.b.label else f"{self.a.label} -> {self.b.label}"


def pairs(a: Sequence[Published], b: Sequence[Published]) -> tuple[list[Pair], list[str], list[str]]:
    """The models that both sides have, and those of one side alone. Of one target each, the target may differ."""
    alone = all(len({one.target for one in side if one.target}) < 2 for side in (a, b))

    def keyed(side: Sequence[Published]) -> dict[tuple[str, str | None, str | None], Model]:
        found = (model for package in side for model in models(package))
        return {(m.package.phase.name, m.variant, None if alone else m.package.target): m for m in found}

    left, right = keyed(a), keyed(b)
    both = [Pair(left[key], right[key], unpaired(left[key], right[key])) for key in left if key in right]
    only_a, only_b = (
        [side[key].label for key in side if key not in other] for side, other in ((left, right), (right, left))
    )
    return both, only_a, only_b


def unpaired(a: Model, b: Model) -> str | None:
    """Why the two were not measured on the same images in the same way; None where they were."""
    sets = [model.package.performance["test_configuration"] for model in (a, b)]
    datasets = [one.get("dataset") or {} for one in sets]
    if not all(one.get("labels") for one in datasets):
        return "There are no labelled images on both sides."
    if datasets[0].get("sha256") != datasets[1].get("sha256") or datasets[0]["images"] != datasets[1]["images"]:
        return "They were measured on other images or labels."
    if a.main != b.main:
        return f"Their metrics are {a.main} and {b.main}."
    differing = [
        name
        for name in ("iou", "max_detections", "confidence")
        if sets[0].get("evaluation", {}).get(name) != sets[1].get("evaluation", {}).get(name)
    ]
    if differing:
        return f"They were measured with another {', '.join(differing)}."
    missing = [where for where, model in (("the first", a), ("the second", b)) if model.evaluation is None]
    return f"{' and '.join(missing).capitalize()} kept no evaluation image by image." if missing else None


def compare(names: tuple[Path, Path], beside: Sequence[Pair], only: tuple[Sequence[str], Sequence[str]]) -> Comparison:
    """All differences; `beside` are the pairs of `pairs`, with what pairing their images gave."""
    joined = [(one.a.package, one.b.package) for one in beside]
    packages = list({(id(x), id(y)): (x, y) for x, y in joined}.values())
    return Comparison(
        a=str(names[0]),
        b=str(names[1]),
        contract=tuple(_contract(packages)),
        options=tuple(_unique(change for x, y in packages for change in _options(x, y))),
        inputs=tuple(_unique(change for x, y in packages for change in _inputs(x, y))),
        tools=tuple(_unique(change for x, y in packages for change in _tools(x, y))),
        models=tuple(_beside(one) for one in beside),
        only_a=tuple(only[0]),
        only_b=tuple(only[1]),
    )


def _unique(changes: Iterator[Change]) -> list[Change]:
    return list({repr(change): change for change in changes}.values())


def _contract(packages: Sequence[tuple[Published, Published]]) -> Iterator[Change]:
    """The critical values: one contract for a run, so that the first pair tells."""
    for a, b in packages[:1]:
        for one in inherit.differences(inherit.complete(a.source), inherit.complete(b.source)):
            yield Change("-", one.field, one.a, one.b)


def _options(a: Published, b: Published) -> Iterator[Change]:
    """Flags of the stage's command, and the source document's own configurable values."""
    left, right = (_flags(one.manifest.get("command") or []) for one in (a, b))
    for name in sorted({*left, *right} - set(_NOT_OPTIONS)):
        if left.get(name) != right.get(name):
            yield Change(a.phase.name, f"--{name}", left.get(name), right.get(name))
    if a.phase is not b.phase:
        return
    for one in schemas.fields(a.phase.source_schema):
        if one.category != "configurable" or {"*", "[]"} & set(map(str, one.path)):
            continue
        values = [inherit.value_at(side.source, one.path) for side in (a, b)]
        if values[0] != values[1] and not isinstance(values[0], Mapping) and not isinstance(values[1], Mapping):
            yield Change(a.phase.name, schemas.dotted(one.path), *values)


def _flags(words: Sequence[str]) -> dict[str, str]:
    """`--flag value` of a command, values of one flag together."""
    found: dict[str, str] = {}
    name = None
    for word in words:
        if word.startswith("--") and len(word) > len("--"):
            name = word.removeprefix("--")
            found[name] = "on"
        elif name is not None:
            found[name] = word if found[name] == "on" else f"{found[name]} {word}"
    return found


def _inputs(a: Published, b: Published) -> Iterator[Change]:
    """Files that went in, by their roles: their hashes, shortened."""
    sides = [{item.get("role", item["file"]): item["sha256"] for item in one.manifest["inputs"]} for one in (a, b)]
    for role in sorted({*sides[0], *sides[1]} - set(_MADE)):
        first, second = (side.get(role) for side in sides)
        if first != second:
            yield Change(a.phase.name, role, *(None if value is None else value[:12] for value in (first, second)))


def _tools(a: Published, b: Published) -> Iterator[Change]:
    """Versions of what made the packages."""
    sides = []
    for one in (a, b):
        facts = one.manifest
        own = {"mcwbuild": facts.get("version"), "Python": facts.get("python"), "platform": facts.get("platform")}
        provenance = facts.get("provenance") or {}
        stage = {f"stage's {name}": str(value)[:12] for name, value in (provenance.get("environment") or {}).items()}
        engine = {"engine": provenance.get("engine")}
        toolkit = {"compiler": one.source["rknn"]["toolkit_version"]} if one.target else {}
        sides.append({**own, **engine, **toolkit, **stage, **(facts.get("tools") or {})})
    for name in dict.fromkeys((*sides[0], *sides[1])):
        if sides[0].get(name) != sides[1].get(name):
            yield Change(a.phase.name, name, sides[0].get(name), sides[1].get(name))


def _beside(pair: Pair) -> Beside:
    a, b = pair.a, pair.b
    reason = pair.unpaired or pair.paired.get("reason")
    intervals = {row["metric"]: row for row in pair.paired.get("metrics", ())}
    left, right = a.metrics, b.metrics
    metrics = tuple(
        _measure(name, left.get(name), right.get(name), intervals.get(name), reason)
        for name in dict.fromkeys((*left, *right))
    )
    info = [one.part.get("model_info", {}) for one in (a, b)]
    return Beside(
        model=pair.label,
        main=b.main,
        identical=info[0].get("sha256") == info[1].get("sha256"),
        unpaired=reason,
        metrics=metrics,
        classes=tuple(_classes(pair, reason)),
        figures=(
            *(_figure(name, info[0].get(name), info[1].get(name)) for name in ("size", "parameters", "flops")),
            _latency(a, b),
        ),
    )


def _measure(name: str, a: float | None, b: float | None, row: Mapping[str, Any] | None, reason: str | None) -> Measure:
    """A metric on both sides, with what its images leave to chance."""
    if a is None or b is None:
        return Measure(name, a, b, verdict="unknown", reason="It was not measured on both sides.")
    difference = b - a
    if row is None:
        why = reason or "It is not kept image by image."
        return Measure(name, a, b, difference, None, "unknown" if difference else "the same", why)
    off = [abs(there - here) for there, here in ((row["a"], a), (row["b"], b)) if there is not None]
    if len(off) < len("ab") or max(off) > SAME:
        why = row["reason"] or "What was kept image by image does not add up to the record's value."
        return Measure(name, a, b, difference, None, "unknown", why)
    if row["interval"] is None:
        same = abs(difference) <= SAME and "judged as before" in str(row["reason"])
        return Measure(name, a, b, difference, None, "the same" if same else "unknown", row["reason"])
    low, high = row["interval"]
    verdict: Verdict = "better" if low > 0 else "worse" if high < 0 else "within noise"
    return Measure(name, a, b, difference, (low, high), verdict)


def _classes(pair: Pair, reason: str | None) -> Iterator[Measure]:
    """The main metric of each class that both sides name."""
    intervals = {row["label"]: row for row in pair.paired.get("classes", ())}
    sides = [
        {row["name"]: row.get(pair.b.main) for row in model.part.get("accuracy_metrics", {}).get("per_class", ())}
        for model in (pair.a, pair.b)
    ]
    names = pair.b.package.source.get("classes", {}).get("names", [])
    for name in sides[1]:
        if name in sides[0] and (sides[0][name] is not None or sides[1][name] is not None):
            row = intervals.get(names.index(name)) if name in names else None
            yield _measure(name, sides[0][name], sides[1][name], row, reason)


def _figure(name: str, a: float | None, b: float | None) -> Measure:
    return Measure(name, a, b, None if a is None or b is None else b - a)


def _latency(a: Model, b: Model) -> Measure:
    """The median latency, where it was measured on one kind of machine with as many threads."""
    speeds, devices = ([one.part.get(name, {}) for one in (a, b)] for name in ("inference_performance", "device"))
    first, second = (((speed.get("latency_ms") or {}).get("total") or {}).get("p50") for speed in speeds)
    if first is None or second is None:
        why = next((speed["latency_reason"] for speed in speeds if speed.get("latency_reason")), "It was not measured.")
        return Measure("latency_ms", first, second, reason=str(why))
    one, other = (
        {**{name: device.get(name) for name in _DEVICE}, "threads": speed.get("threads")}
        for device, speed in zip(devices, speeds, strict=True)
    )
    if differing := [f"{name} {one[name]} and {other[name]}" for name in one if one[name] != other[name]]:
        return Measure("latency_ms", first, second, reason=f"Not compared: {'; '.join(differing)}.")
    return Measure("latency_ms", first, second, second - first)
