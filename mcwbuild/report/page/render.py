"""From what is told of a run to the page and the Markdown. Whatever a name holds, it stays text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from mcwbuild import __version__
from mcwbuild.contract.terminal import visible
from mcwbuild.report import ledger
from mcwbuild.report.page import figures, pictures
from mcwbuild.report.page.told import VERDICTS, Told
from mcwbuild.report.text import count_text, size_text

if TYPE_CHECKING:
    from jinja2 import Environment

_PLACE = Path(__file__).parent
_REMARKS = {"passed": "\u2713", "failed": "\u2717", "undecided": "?", "unmeasured": "\u2013", "-": "\u2013"}


@cache
def environment() -> Environment:
    """Templates of this folder: every value is escaped, and one that is not there is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(_PLACE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.filters |= {"size": size_text, "count": count_text, "value": _value, "figure": _figure, "mark": _mark}
    return made


def _shown(value: Any) -> Any:
    """A text with no character that hides or reorders others; markup of our own as it is."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def html(told: Told) -> str:
    """The page: one file, nothing in it that is fetched or run."""
    header, body = ledger.table(told.rows)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            told=told,
            style=Markup((_PLACE / "report.css").read_text("utf-8")),  # our own file
            version=__version__,
            verdict=VERDICTS,
            ledger_header=header,
            ledger_body=body,
            ledger_notes=list(ledger.notes(told.rows)),
            gates=figures.gates(told),
            precision_recall=figures.precision_recall(told),
            scores=figures.scores(told),
            classes=figures.classes(told),
            latency=figures.latency(told),
            layers=figures.layers(told),
            tuning=figures.tuning(told),
            curve=figures.calibration_curve(told),
            outputs=list(figures.outputs(told)),
            agreement=list(figures.agreement(told)),
            pictures=told.pictures,
            changes=pictures.counted(told.found),
            names=pictures.NAMES,
            thumbnails=[(one.name, pictures.data_uri(one)) for kept in told.kept for one in kept.calibration],
            provenance=list(_provenance(told)),
        )
    )


def _provenance(told: Told) -> Any:
    """Of each package what it was made from, with what."""
    for one in told.run.packages:
        made = one.manifest
        yield {
            "package": str(one.folder.relative_to(told.run.folder)),
            "created": made.get("created"),
            "engine": made.get("engine"),
            "environment": made.get("environment") or {},
            "git_commit": made.get("git_commit"),
            "python": made.get("python"),
            "platform": made.get("platform"),
            "command": " ".join(map(str, made.get("command") or ())),
            "inputs": made.get("inputs") or (),
            "outputs": made.get("outputs") or (),
            "tools": made.get("tools") or {},
        }


def _value(value: Any) -> str:
    """A value of a document in one line."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(item, str | int | float) for item in value):
        return ", ".join(item if isinstance(item, str) else json.dumps(item) for item in value)
    return "-" if value is None else json.dumps(value, ensure_ascii=False)


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _mark(status: str) -> str:
    return _REMARKS.get(status, "\u2013")


def markdown(told: Told) -> str:
    """The same in short for a CI's summary: verdict, ledger, changes, findings."""
    about: Mapping[str, Any] = told.about
    lines = [f"### {_mark(told.status)} {ledger.plain(str(about['name']))} {VERDICTS[told.status]}", ""]
    lines += [f"- {_mark(gate.status)} {ledger.plain(gate.reason)}" for gate in told.gates]
    lines += ["", ledger.markdown([told.run], titled=False)]
    for name, one in pictures.counted(told.found).items():
        words = f"{one['lost']} lost, {one['extra']} extra, {one['moved']} moved, {one['kept']} the same"
        lines.append(f"- {pictures.NAMES[name]} in {one['images']} images: {words}")
    remedies = [issue for issue in told.issues if issue.get("remedy")]
    lines += [f"- {ledger.plain(str(issue['what']))}. {ledger.plain(str(issue['remedy']))}." for issue in remedies]
    return "\n".join(lines).rstrip() + "\n"
