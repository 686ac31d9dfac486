"""A run as the page tells it: read from its packages, put into the sections' order. What is empty says why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mcwbuild.contract import inherit, look, performance, results
from mcwbuild.contract.limits import COSINE
from mcwbuild.contract.phases import ONNX, PHASES, PT, RKNN
from mcwbuild.contract.results import Results
from mcwbuild.published import Model, Published, models
from mcwbuild.report.ledger import Run
from mcwbuild.report.page import pictures
from mcwbuild.report.rows import Row

VERDICTS = {
    "passed": "passed every gate",
    "undecided": "is undecided: too few images to tell",
    "failed": "failed a gate",
    "unmeasured": "was not measured: there were no labels to measure with",
    "-": "was measured; nothing is before it to be held against",
}


@dataclass(frozen=True)
class Gate:
    """One gate, with the model that it is of; drop, interval and limit are in `unit`."""

    model: str
    metric: str
    reference: str
    status: str
    drop: float | None
    low: float | None
    high: float | None
    limit: float | None
    unit: str
    reason: str
    loosened: bool


@dataclass(frozen=True)
class Phase:
    """One phase as it went: what it made, its gates and checks; `missing` says why it is not there."""

    name: str
    title: str
    status: str
    target: str | None = None
    made: tuple[str, ...] = ()
    headline: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    checks: tuple[Mapping[str, Any], ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Told:
    """Everything that the page, the Markdown and the JSON are made of."""

    run: Run
    kept: tuple[Results, ...] = field(default=(), repr=False)

    @property
    def rows(self) -> tuple[Row, ...]:
        """A row for each model."""
        return self.run.rows

    @property
    def first(self) -> Published:
        """The first package."""
        return self.run.packages[0]

    @property
    def last(self) -> Published:
        """The package of the last phase, the first one's of several targets."""
        return next((one for one in self.run.packages if one.phase is RKNN), self.run.packages[-1])

    @property
    def about(self) -> Mapping[str, Any]:
        """`model` of the source document."""
        named: Mapping[str, Any] = self.last.source["model"]
        return named

    @property
    def names(self) -> tuple[str, ...]:
        """The classes' names."""
        return tuple(map(str, self.last.source.get("classes", {}).get("names", ())))

    @property
    def task(self) -> str:
        """The model's task."""
        return str(self.about["task"])

    @property
    def metric(self) -> str:
        """The task's main metric, the cosine of a generic network."""
        return performance.main_metric(self.task)

    @property
    def targets(self) -> tuple[str, ...]:
        """The chips."""
        return tuple(one.target for one in self.run.packages if one.target)

    @property
    def created(self) -> str:
        """When the last phase was done."""
        return max(str(one.performance["report_info"]["created"]) for one in self.run.packages)

    @cached_property
    def models(self) -> tuple[Model, ...]:
        """Every model file, with what its record says of it."""
        return tuple(model for package in self.run.packages for model in models(package))

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        """The three phases, the last one once for each target; a phase without a package says why."""
        found: list[Phase] = []
        for phase in PHASES.values():
            own = [one for one in self.run.packages if one.phase is phase]
            found += [_phase(one, self) for one in own]
            if not own:
                found.append(Phase(phase.name, phase.title, "absent", missing=self._missing(phase.name)))
        return tuple(found)

    def _missing(self, name: str) -> str:
        if name == PT.name and any(one.phase is ONNX for one in self.run.packages):
            return "The run began with an ONNX file."
        if any(_phase(one, self).status == "failed" for one in self.run.packages):
            return "A gate before it failed, so that it was not begun."
        return "It has not been run, or its package is not sound."

    @property
    def gates(self) -> tuple[Gate, ...]:
        """Every gate."""
        return tuple(gate for phase in self.phases for gate in phase.gates)

    @property
    def decisive(self) -> tuple[Gate, ...]:
        """The gates that made the verdict: those that failed or are undecided, else those of INT8, else the last."""
        wrong = tuple(gate for gate in self.gates if gate.status in ("failed", "undecided"))
        return wrong or tuple(gate for gate in self.gates if gate.model.endswith("INT8")) or self.gates[-1:]

    @property
    def status(self) -> str:
        """The gravest status of all phases."""
        order = ("failed", "undecided", "unmeasured", "passed")
        there = {phase.status for phase in self.phases}
        return next((status for status in order if status in there), "-")

    @property
    def issues(self) -> tuple[Mapping[str, Any], ...]:
        """Everything that went wrong or is worth knowing, in the phases' order, each once."""
        every = [issue for one in self.run.packages for issue in one.performance["issues"]]
        return tuple({(one["phase"], one["what"]): one for one in every}.values())

    @cached_property
    def found(self) -> pictures.Kept:
        """What the models found in the images that were kept."""
        return pictures.together(self.kept)

    @property
    def pictures(self) -> list[pictures.Shown]:
        """The images, small, with what was found in them."""
        chosen = next((one.pictures for one in reversed(self.kept) if one.pictures), ())
        return pictures.shown(chosen, self.found, self.names, self.task)

    @property
    def calibration(self) -> Mapping[str, Any] | None:
        """`quantization.int8` of the first target's source document, where INT8 was made."""
        block: Mapping[str, Any] = self.last.source.get("quantization", {}).get("int8", {})
        return block if block.get("dataset") else None

    @property
    def contract(self) -> Mapping[str, Any]:
        """The block of critical values, flat: each by its path."""
        return dict(_flat("", inherit.critical(self.last.source)))


def of(run: Run) -> Told:
    """The run with what its packages hold for people to see. Raises InputError for damaged results."""
    packages = [one for one in run.packages if one.phase is not RKNN]
    packages += [one for one in run.packages if one.phase is RKNN][:1]
    files = [one.folder / one.phase.results for one in packages]
    return Told(run, tuple(results.read(file) for file in files if look.is_file(file)))


def _flat(above: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(f"{above}.{name}" if above else str(name), item)
    else:
        yield above, value


def _phase(one: Published, told: Told) -> Phase:
    rows = [row for row in told.rows if row.phase == one.phase.name and row.target == one.target]
    validation = one.performance["validation"]
    status = str(validation["status"])
    made = [
        f"{name} {_size(path.stat().st_size)}"
        for name in one.phase.artefacts
        if look.is_file(path := one.folder / name)
    ]
    return Phase(
        one.phase.name,
        one.phase.title,
        status if validation["gates"] or status == "failed" else "-",
        one.target,
        tuple(text for text in made if ".npz" not in text),
        tuple(f"{row.variant.upper()} {_accuracy(row)}" if row.variant else _accuracy(row) for row in rows),
        tuple(_gate(gate, one) for gate in validation["gates"]),
        tuple(validation["checks"]),
    )


def _size(size: int) -> str:
    from mcwbuild.report.text import size_text

    return size_text(size)


def _accuracy(row: Row) -> str:
    if row.accuracy is not None:
        return f"{row.metric} {row.accuracy:.4f}"
    if row.metric == COSINE and row.cosine is not None:
        return f"least cosine {row.cosine:.5f}"
    return "accuracy not measured"


def _gate(gate: Mapping[str, Any], one: Published) -> Gate:
    variant = gate.get("variant")
    absolute = gate.get("limit_absolute") is not None
    low, high = gate.get("interval") or (None, None)
    return Gate(
        f"{one.target} {variant.upper()}" if variant else one.phase.name.upper(),
        str(gate["metric"]),
        str(gate["reference"]).upper(),
        str(gate["status"]),
        gate.get("drop_absolute" if absolute else "drop_percent"),
        low,
        high,
        gate.get("limit_absolute" if absolute else "limit_percent"),
        "" if absolute else "%",
        str(gate["reason"]),
        bool(gate.get("loosened")),
    )
