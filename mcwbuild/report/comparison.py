"""Two packages or runs beside each other, for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from mcwbuild.comparison import Beside, Change, Comparison, Measure, Verdict
from mcwbuild.report import console
from mcwbuild.report.ledger import together
from mcwbuild.report.text import count_text, size_text

_CLASSES = 20  # of more, only those that differ beyond noise are shown
_CHANGES = 12  # of more versions, the rest is counted
_TENTH = 0.1  # percent: less is written as a power of ten
_TEXT = 60  # characters of a value
_MEDIANS = "Medians of two runs on one kind of machine; what else it did meanwhile is not known."
_SENTENCES: dict[Verdict, str] = {
    "better": "better in B, beyond noise",
    "worse": "worse in B, beyond noise",
    "within noise": "within noise",
    "the same": "the same",
    "unknown": "not told from noise",
}


def show(made: Comparison) -> None:
    """What was asked otherwise, then what came of it."""
    console.show_line(f"A {made.a}")
    console.show_line(f"B {made.b}")
    asked = [*_rows("contract", made.contract), *_rows("option", made.options), *_rows("input", made.inputs)]
    asked += _rows("version", made.tools[:_CHANGES])
    if asked:
        console.show_table("", ["changed", "phase", "what", "A", "B"], asked)
    kinds = {"contract": made.contract, "options": made.options, "inputs": made.inputs, "versions": made.tools}
    console.show_line(f"The same: {', '.join(name for name, found in kinds.items() if not found) or 'nothing of it'}.")
    if len(made.tools) > _CHANGES:
        console.show_line(f"{len(made.tools) - _CHANGES} more versions differ; --json tells all.")
    body = [line for model in made.models for line in _model(model)]
    console.show_table("", ["model", "figure", "A", "B", "B - A", "95 % interval", ""], body, right=range(2, 6))
    for model in made.models:
        _show_classes(model)
    for note in _notes(made):
        console.show_line(note)


def _rows(kind: str, changes: Sequence[Change]) -> list[list[str]]:
    return [[kind, one.where, one.what, _value(one.a), _value(one.b)] for one in changes]


def _value(value: Any) -> str:
    text = "-" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}..."


def _model(model: Beside) -> Iterator[list[str]]:
    """The lines of one model; its name stands in the first."""
    name = model.model
    for one in (*model.metrics, *model.figures):
        if one.a is None and one.b is None:
            continue
        yield [name, *_cells(one)]
        name = ""


def _cells(one: Measure) -> list[str]:
    digits = {"size": size_text, "parameters": count_text, "flops": count_text}.get(one.name)
    if digits is not None:
        return [one.name, *("-" if value is None else digits(value) for value in (one.a, one.b)), _percent(one), "", ""]
    if one.name == "latency_ms":
        change = _percent(one) if one.reason is None else ""
        return [one.name, *("-" if value is None else f"{value:.1f}" for value in (one.a, one.b)), change, "", ""]
    sides = ["-" if value is None else f"{value:.4f}" for value in (one.a, one.b)]
    difference = "-" if one.difference is None else f"{one.difference:+.4f}"
    interval = "" if one.interval is None else f"{one.interval[0]:+.3f} to {one.interval[1]:+.3f}"
    return [one.name, *sides, difference, interval, _verdict(one)]


def _verdict(one: Measure) -> str:
    return {"unknown": "unclear", "within noise": "noise", None: ""}.get(one.verdict) or str(one.verdict or "")


def _percent(one: Measure) -> str:
    if one.difference is None or not one.a:
        return "-"
    percent = 100 * one.difference / one.a
    return "the same" if not one.difference else f"{percent:+.1f} %" if abs(percent) >= _TENTH else f"{percent:+.0e} %"


def _show_classes(model: Beside) -> None:
    differing = [one for one in model.classes if one.difference]
    if len(model.classes) > _CLASSES:
        differing = [one for one in differing if one.verdict in ("better", "worse")]
    if differing:
        body = [_cells(one) for one in differing]
        title = f"{model.model}: {model.main} of the classes that differ"
        console.show_table(title, ["class", "A", "B", "B - A", "95 % interval", ""], body, right=range(1, 5))
        console.show_line("The intervals of all classes together hold as often as one does.")


def _without(model: Beside) -> dict[str, list[str]]:
    """Metrics that differ and have no interval, by the reason."""
    found: dict[str, list[str]] = {}
    for one in model.metrics:
        if one.verdict == "unknown" and one.reason and one.reason != model.unpaired:
            found.setdefault(one.reason, []).append(one.name)
    return found


def _notes(made: Comparison) -> Iterator[str]:
    """Below the tables, each once for all models of which it is true; the verdicts last."""
    yield from together(
        ("not comparable image by image", model.unpaired, model.model) for model in made.models if model.unpaired
    )
    yield from together(
        (f"no interval of {', '.join(names)}", reason, model.model)
        for model in made.models
        for reason, names in _without(model).items()
    )
    yield from together(
        (one.name, one.reason or _MEDIANS, model.model)
        for model in made.models
        for one in model.figures
        if one.name == "latency_ms" and (one.reason or one.difference is not None)
    )
    for side, only in (("A", made.only_a), ("B", made.only_b)):
        if only:
            yield f"only in {side}: {', '.join(only)}"
    yield from together(("the same file", "byte for byte", model.model) for model in made.models if model.identical)
    yield from together((model.main, _SENTENCES[model.verdict], model.model) for model in made.models)
