"""`mcwbuild ledger`: what every phase measured, in one table."""

from __future__ import annotations

from pathlib import Path

import click

from mcwbuild import published
from mcwbuild.contract.errors import gravest


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "markdown", "json", "csv"]),
    default="table",
    show_default=True,
    help="How it is printed.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def ledger(folder: Path, form: str, as_json: bool) -> int:
    """Show what was measured of every model in FOLDER: a package, a run, or a folder of runs.

    Packages are checked first, as `verify` does; what is not sound is told and left out. Nothing is run.
    """
    from mcwbuild.report import console
    from mcwbuild.report import ledger as ledgers

    found, wrong = published.read_all(published.find(folder))
    made = ledgers.runs(found)
    if as_json or form == "json":
        console.show_json({"runs": ledgers.as_json(made), "errors": [error.as_dict() for error in wrong]})
    elif form == "table":
        ledgers.show(made)
    else:
        console.show_text((ledgers.markdown if form == "markdown" else ledgers.as_csv)(made))
    for error in wrong:
        console.show_error(error)
    return int(gravest(wrong).code) if wrong else 0
