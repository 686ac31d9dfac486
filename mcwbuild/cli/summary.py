"""`mcwbuild summary`: one summary of several batches, such as a matrix's cells."""

from __future__ import annotations

from pathlib import Path

import click

from mcwbuild.contract import validate
from mcwbuild.contract.errors import EnvironmentLacking, ExitCode, InputError


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON document.")
def summary(folder: Path, as_json: bool) -> int:
    """Merge every summary.json below FOLDER into one, with its table and its page, in FOLDER itself.

    A model of several summaries (a target each) is one row. Exit code 7 where some model failed.
    """
    from mcwbuild.cli.batch import show
    from mcwbuild.report import console
    from mcwbuild.report import summary as summaries
    from mcwbuild.report.page import fleet

    files = sorted(file for file in folder.rglob(summaries.JSON) if file.parent != folder)
    if not files:
        raise InputError(f"{folder} holds no {summaries.JSON}.", remedy="Give the folder of the batches' artefacts.")
    parts = validate.require_all([(file, "summary") for file in files])
    made = summaries.merged([(part.value, file.parent) for part, file in zip(parts, files, strict=True)], folder)
    try:
        summaries.store(made, folder)
        fleet.write(made, folder)
    except OSError as error:
        raise EnvironmentLacking(
            f"The summary cannot be written to {folder}.", f"{error.strerror or error}.", kind="disk"
        ) from error
    if as_json:
        console.show_json(made)
    else:
        show(made, folder)
    return 0 if made["counts"]["done"] == len(made["models"]) else int(ExitCode.BATCH)
