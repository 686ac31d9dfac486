"""`mcwbuild bug-report`: what a report of a fault needs, in one archive."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from mcwbuild import bug_report as report
from mcwbuild.contract import look
from mcwbuild.contract.errors import InputError, McwbuildError
from mcwbuild.options import OPTIONS, resolve


@click.command("bug-report")
@click.argument("out", required=False, type=click.Path(path_type=Path))
@click.option(
    "--to", type=click.Path(path_type=Path), help="The archive; default: mcwbuild-bug-report-TIME.tar.gz here."
)
@click.option("--engine", default="auto", show_default=True, help="The engine to look at.")
def bug_report(out: Path | None, to: Path | None, engine: str) -> int:
    """Put versions, settings, the doctor's findings, and of the run in OUT its logs and documents into one archive.

    No model and no image is in it. CONTENTS.txt in it says what is.
    """
    from mcwbuild.gate import lacking_disk
    from mcwbuild.report import console

    if out is not None and not look.is_folder(out):
        raise InputError(
            f"{out} is no folder.", remedy="Give the folder of a run, such as build/NAME, or none.", kind="missing"
        )
    target = to or Path(f"mcwbuild-bug-report-{time.strftime('%Y%m%d-%H%M%S')}.tar.gz")
    if target.exists():
        raise InputError(f"{target} is there already.", remedy="Give another name with --to.", kind="exists")
    try:
        files = report.collect(out, {"doctor": _doctor(engine), "settings": _settings()})
        report.write(target, files)
    except OSError as error:
        raise lacking_disk(target, error) from error
    for line in files[report.CONTENTS].decode().splitlines():
        console.show_line(line)
    console.show_line(f"written: {target}")
    return 0


def _doctor(engine: str) -> Any:
    """The doctor's findings, or why there are none."""
    from mcwbuild.doctor import checks

    try:
        return [vars(check) for check in checks(engine)]
    except McwbuildError as error:
        return error.as_dict()


def _settings() -> Any:
    """Every option with its origin, or why they cannot be understood."""
    try:
        settings = resolve({})
    except McwbuildError as error:
        return error.as_dict()
    return {o.name: {"value": str(settings[o.name]), "origin": settings.origins[o.name]} for o in OPTIONS}
