"""`mcwbuild report`: the page of a run, drawn from its packages."""

from __future__ import annotations

from pathlib import Path

import click

from mcwbuild import published
from mcwbuild.contract.errors import EnvironmentLacking, gravest


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def report(folder: Path) -> int:
    """Write report.html, report.md and report.json into each run in FOLDER: a run, or a folder of runs.

    Packages are checked first, as `verify` does; what is not sound is told and left out. Nothing is run.
    """
    from mcwbuild.report import console, ledger, page

    found, wrong = published.read_all(published.find(folder))
    for run in ledger.runs(found):
        try:
            console.show_line(f"report: {page.write(run, run.folder)}")
        except OSError as error:
            raise EnvironmentLacking(
                f"The report cannot be written to {run.folder}.",
                f"{error.strerror or error}.",
                "Free disk space, or copy the packages to a folder that can be written.",
                kind="disk",
            ) from error
    for one in wrong:
        console.show_error(one)
    return int(gravest(wrong).code) if wrong else 0
