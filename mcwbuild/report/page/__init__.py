"""The page that a run ends with: report.html, and the same as report.md and report.json."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcwbuild.report.ledger import Run

HTML, MARKDOWN, DATA = "report.html", "report.md", "report.json"


def write(run: Run, folder: Path) -> Path:
    """Write the three files into `folder`; returns the page's path. Raises OSError where the disk is full."""
    from mcwbuild.contract import disk, documents
    from mcwbuild.report.page import data, render, told

    made = told.of(run)
    disk.write_atomic(folder / HTML, render.html(made).encode("utf-8"))
    disk.write_atomic(folder / MARKDOWN, render.markdown(made).encode("utf-8"))
    documents.write_json(folder / DATA, data.of(made))
    return folder / HTML
