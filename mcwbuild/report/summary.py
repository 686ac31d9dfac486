"""What became of all models: summary.json, Markdown, JUnit's XML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mcwbuild import __version__
from mcwbuild.batch.running import Result
from mcwbuild.contract import disk, documents, manifest
from mcwbuild.contract.terminal import visible
from mcwbuild.report.ledger import plain

JSON, MARKDOWN, JUNIT, PAGE = "summary.json", "summary.md", "junit.xml", "report.html"
WORDS = {"done": "done", "gate_failed": "a gate failed", "failed": "failed", "not_run": "not run"}


def data(results: Sequence[Result], out: Path) -> dict[str, Any]:
    """`summary.json`; paths are relative to the batch's folder where they lie in it."""
    return {
        "schema": "summary/1",
        "created": manifest.now(),
        "version": __version__,
        "counts": {state: sum(one.state == state for one in results) for state in WORDS},
        "models": [_model(one, out) for one in results],
    }


def _model(one: Result, out: Path) -> dict[str, Any]:
    return {
        "name": one.listed.name,
        "file": one.listed.model.name,
        "folder": str(one.out.relative_to(out)),
        "state": one.state,
        "fresh": one.fresh,
        "code": one.code,
        "seconds": round(one.seconds, 1),
        "error": one.error or None,
        "results": [_cell(row) for row in one.rows],
    }


def _cell(row: dict[str, Any]) -> dict[str, Any]:
    """One row of the model's ledger, as far as an overview needs it."""
    names = ("model", "phase", "target", "variant", "metric", "drop_percent", "limit_percent", "gate", "size")
    return {name: row.get(name) for name in names} | {"accuracy": row.get(str(row.get("metric")))}


def merged(parts: Sequence[tuple[dict[str, Any], Path]], out: Path) -> dict[str, Any]:
    """One summary of several, each with its folder; models of one name become one, in the worst state of them."""
    models: dict[str, dict[str, Any]] = {}
    for made, place in parts:
        for model in made["models"]:
            folder = (place / model["folder"]).relative_to(out)
            there = models.setdefault(model["name"], {**model, "folder": str(folder), "results": [], "seconds": 0.0})
            if list(WORDS).index(model["state"]) > list(WORDS).index(there["state"]):
                there |= {"state": model["state"], "code": model["code"], "error": model["error"]}
            known = [(row["target"], row["variant"], row["phase"]) for row in there["results"]]
            rows = [row for row in model["results"] if (row["target"], row["variant"], row["phase"]) not in known]
            there["results"] = [*there["results"], *rows]
            there["seconds"] = round(there["seconds"] + model["seconds"], 1)
            there["fresh"] = there["fresh"] and model["fresh"]
    found = list(models.values())
    return {
        "schema": "summary/1",
        "created": manifest.now(),
        "version": __version__,
        "counts": {state: sum(one["state"] == state for one in found) for state in WORDS},
        "models": found,
    }


def write(results: Sequence[Result], out: Path) -> dict[str, Any]:
    """Write the three files of the batch into `out`; returns the data. Raises OSError."""
    made = data(results, out)
    store(made, out)
    return made


def store(made: dict[str, Any], out: Path) -> None:
    """Write the three files of a summary into `out`. Raises OSError."""
    out.mkdir(parents=True, exist_ok=True)
    documents.write_json(out / JSON, made)
    disk.write_atomic(out / MARKDOWN, markdown(made).encode("utf-8"))
    disk.write_atomic(out / JUNIT, junit(made))


def columns(made: dict[str, Any]) -> list[tuple[str, str]]:
    """Every target and variant that some model was built for, in their first order."""
    found = {
        (str(cell["target"]), str(cell["variant"]))
        for model in made["models"]
        for cell in model["results"]
        if cell["target"]
    }
    return sorted(found)


def cell(model: dict[str, Any], column: tuple[str, str]) -> dict[str, Any] | None:
    """What a model reached for one target and variant; None where it was not built."""
    rows = (row for row in model["results"] if (str(row["target"]), str(row["variant"])) == column)
    return next(rows, None)


def in_words(row: dict[str, Any] | None) -> str:
    """A cell in a few words."""
    if row is None:
        return "-"
    accuracy = "-" if row["accuracy"] is None else f"{row['accuracy']:.3f}"
    drop = "" if row["drop_percent"] is None else f" ({row['drop_percent']:+.2f} %)"
    return f"{accuracy}{drop} {row['gate'] or ''}".rstrip()


def markdown(made: dict[str, Any]) -> str:
    """The table for a CI's summary; in brackets stands the drop against the phase before."""
    there = columns(made)
    header = ["model", "state", *(f"{target} {variant.upper()}" for target, variant in there)]
    lines = [header, ["---"] * len(header)]
    for model in made["models"]:
        lines.append([model["name"], WORDS[model["state"]], *(in_words(cell(model, column)) for column in there)])
    text = ["| " + " | ".join(map(plain, line)) + " |" for line in lines]
    text += ["", *(f"- {plain(one['name'])}: {plain(one['error'])}" for one in made["models"] if one["error"])]
    return "\n".join(text).rstrip() + "\n"


def junit(made: dict[str, Any]) -> bytes:
    """JUnit's XML: a test case for each model, failed by its gate or its error."""
    models = made["models"]
    failures = sum(one["state"] == "gate_failed" for one in models)
    errors = sum(one["state"] == "failed" for one in models)
    skipped = sum(one["state"] == "not_run" for one in models)
    counts = {"tests": len(models), "failures": failures, "errors": errors, "skipped": skipped}
    suite = ElementTree.Element("testsuite", {"name": "mcwbuild", **{name: str(n) for name, n in counts.items()}})
    for one in models:
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": "mcwbuild", "name": visible(one["name"]), "time": str(one["seconds"])}
        )
        tag = {"gate_failed": "failure", "failed": "error", "not_run": "skipped"}.get(one["state"])
        if tag is not None:
            ElementTree.SubElement(case, tag, {"message": visible(one["error"] or WORDS[one["state"]])})
    text: bytes = ElementTree.tostring(suite, "utf-8")
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + text + b"\n"
