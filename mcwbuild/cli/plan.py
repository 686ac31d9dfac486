"""`mcwbuild plan`: what a run would do, and why."""

from __future__ import annotations

from pathlib import Path

import click

from mcwbuild.cli import inputs
from mcwbuild.cli.run import beginnings, steps_of
from mcwbuild.cli.settings import settings
from mcwbuild.contract.errors import InputError
from mcwbuild.options import Settings


@click.command()
@beginnings
@click.option("--models", type=click.Path(path_type=Path), help="Or a list of models, as `batch` takes it.")
@click.option("--format", "form", type=click.Choice(("table", "json", "github")), default="table", show_default=True)
@click.pass_context
def plan(
    ctx: click.Context,
    /,
    pt: Path | None,
    onnx: Path | None,
    train_config: Path | None,
    fresh: bool,
    models: Path | None,
    form: str,
    **_: object,
) -> int:
    """Tell which steps `run` with the same options would do, which are fresh, and why the others are not.

    Nothing is run or written. With --models: a cell for each model and target; `--format github` is a matrix for
    `fromJSON`. Example: mcwbuild plan --pt best.pt --data data.yaml --target rk3588
    """
    from mcwbuild import staleness
    from mcwbuild.engines import choose
    from mcwbuild.report import console

    chosen = settings(ctx)
    if models is not None:
        return _of_models(models, chosen, form)
    if form == "github":
        raise InputError("--format github is a matrix of models.", "No --models is given.", "Add --models models.txt.")
    steps, _out = steps_of(pt, onnx, train_config, chosen, anew=fresh)
    planned = staleness.plan(steps, choose(chosen["engine"], inputs.wanted(chosen)), inputs.store(chosen))
    if form == "json":
        console.show_json([one.as_dict() for one in planned])
        return 0
    rows = []
    for one in planned:
        why = [*one.reasons, *(["taken from the store"] if one.stored else [])]
        rows.append([one.step.name, one.state, "; ".join(why), str(one.step.package)])
    console.show_table("", ["step", "state", "why", "package"], rows)
    return 0


def _of_models(models: Path, chosen: Settings, form: str) -> int:
    """The cells of a list of models."""
    from mcwbuild.batch import listing
    from mcwbuild.report import console

    cells = listing.matrix(listing.chosen(listing.read(models), (), chosen["target"]), chosen["target"])
    if form == "github":
        console.show_compact({"include": cells})
    elif form == "json":
        console.show_json(cells)
    else:
        console.show_table("", ["model", "target"], [[one["name"], one["target"]] for one in cells])
    return 0
