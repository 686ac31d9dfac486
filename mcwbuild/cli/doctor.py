"""`mcwbuild doctor`: what is ready on this machine."""

from __future__ import annotations

import click

from mcwbuild.cli.settings import ENGINE, options, settings
from mcwbuild.contract.errors import ExitCode


@click.command()
@click.option("--engine", default="auto", show_default=True, help="The engine to look at.")
@options(*ENGINE[1:])
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--cache-key", is_flag=True, help="Look at nothing: print one word for what a CI keeps the stages under.")
@click.pass_context
def doctor(ctx: click.Context, /, engine: str, as_json: bool, cache_key: bool, **_: object) -> int:
    """Tell what is ready on this machine, what the first run makes, what is lacking, and what to do about it.

    Exit code 5 where something is lacking without which nothing works. --cache-key changes when the environments
    do (their locks, Python's version), or with --engine docker the images (code, locks, Dockerfiles).
    """
    from mcwbuild.cli import inputs
    from mcwbuild.doctor import checks, key
    from mcwbuild.engines import Wanted
    from mcwbuild.report import console

    if cache_key:
        console.show_line(key(engine))
        return 0
    found = list(checks(engine, Wanted(cluster=inputs.cluster(settings(ctx)))))
    if as_json:
        console.show_json([vars(check) for check in found])
    else:
        rows = [[one.what, one.state, one.detail, one.remedy] for one in found]
        console.show_table("", ["what", "state", "found", "what to do"], rows)
    return int(ExitCode.ENVIRONMENT) if any(one.state == "lacking" for one in found) else 0
