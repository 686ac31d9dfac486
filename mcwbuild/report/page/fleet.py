"""The page of a batch: a heat map of models and targets, and what failed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mcwbuild.report import summary
from mcwbuild.report.page import HTML, render


def write(made: Mapping[str, Any], out: Path) -> Path:
    """Write the page of a summary's data into `out`; returns its path. Raises OSError."""
    from mcwbuild.contract import disk

    disk.write_atomic(out / HTML, html(made, out).encode("utf-8"))
    return out / HTML


def html(made: Mapping[str, Any], out: Path) -> str:
    """The page as text; a model's name leads to its own page where that lies below `out`."""
    columns = summary.columns(dict(made))
    style = Markup((Path(render.__file__).parent / "report.css").read_text("utf-8"))  # our own file
    rows = [_row(model, columns, out) for model in made["models"]]
    return render.environment().get_template("fleet.html.j2").render(made=made, columns=columns, rows=rows, style=style)


def _row(model: Mapping[str, Any], columns: list[tuple[str, str]], out: Path) -> dict[str, Any]:
    from urllib.parse import quote

    page = out / model["folder"] / HTML
    cells = [summary.cell(dict(model), column) for column in columns]
    return {
        "name": model["name"],
        "page": quote(f"{model['folder']}/{HTML}") if page.is_file() else "",
        "state": summary.WORDS[model["state"]],
        "kind": {"done": "passed", "not_run": "undecided"}.get(model["state"], "failed"),
        "error": model["error"],
        "cells": [{"text": summary.in_words(one), "heat": heat(one)} for one in cells],
    }


def heat(row: Mapping[str, Any] | None) -> str:
    """A cell's colour: 0 to 4 by the drop's share of its limit, u where undecided, n where nothing was built."""
    if row is None or (row["accuracy"] is None and row["gate"] is None):
        return "n"
    if row["gate"] == "failed":
        return "4"
    drop, limit = row["drop_percent"], row["limit_percent"]
    if row["gate"] != "passed" or drop is None or not limit:
        return "u"
    share = drop / limit
    return next((str(step) for step, most in enumerate((0.0, 0.25, 0.5, 1.0)) if share <= most), "4")
