"""`mcwbuild compare`: what changed between two packages or runs, and whether it is more than noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from mcwbuild import comparison, pairing, published
from mcwbuild.cli import inputs
from mcwbuild.cli.settings import ENGINE, options, settings
from mcwbuild.comparison import Comparison, Pair
from mcwbuild.contract.errors import EnvironmentLacking, GateFailed, InputError, StageFailed, gravest
from mcwbuild.options import Settings
from mcwbuild.published import Published

_UNREADY = "No stage's environment is ready to pair the images; any `mcwbuild run` makes one."


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@options(*ENGINE)
@click.option("--fail-on-worse", is_flag=True, help="Exit 3 where a model's main metric is worse in B beyond noise.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
@click.pass_context
def compare(ctx: click.Context, /, a: Path, b: Path, fail_on_worse: bool, as_json: bool, **_: object) -> int:
    """Compare two packages, or the packages of two runs: A as it was, B as it is.

    Contract, options, tools, metrics, classes, size and latency. Where both were measured on the same images, they
    are paired image by image, and a difference is told from noise by a 95 % interval. Nothing is made anew.
    """
    from mcwbuild.report import comparison as shown
    from mcwbuild.report import console

    sides = [_sound(place) for place in (a, b)]
    pairs, only_a, only_b = comparison.pairs(*sides)
    if not pairs:
        raise InputError(
            f"{a} and {b} have no model in common.",
            f"The first has {', '.join(only_a) or 'none'}, the second {', '.join(only_b) or 'none'}.",
            "Give two packages of one phase, or two runs.",
        )
    made = comparison.compare((a, b), _paired(pairs, settings(ctx)), (only_a, only_b))
    if as_json:
        console.show_json(made.as_dict())
    else:
        shown.show(made)
    if fail_on_worse and made.worse:
        raise _worse(made)
    return 0


def _sound(place: Path) -> list[Published]:
    """The packages of one side. Raises what is wrong with the first that is not sound."""
    found, wrong = published.read_all(published.find(place))
    if wrong:
        raise gravest(wrong)
    runs = sorted({str(package.run) for package in found})
    if len(runs) > 1:
        raise InputError(
            f"{place} holds {len(runs)} runs.", f"The first two are {runs[0]} and {runs[1]}.", "Give one of them."
        )
    return found


def _paired(pairs: Sequence[Pair], chosen: Settings) -> list[Pair]:
    """The pairs with what their images say, in the first environment that is ready."""
    from mcwbuild.engines import Wanted, choose

    asked = [(place, one.a.evaluation, one.b.evaluation) for place, one in enumerate(pairs) if one.unpaired is None]
    files = [(a, b) for _, a, b in asked if a is not None and b is not None]
    if not files:
        return list(pairs)
    made = list(pairs)
    try:
        engine = choose(chosen["engine"], Wanted(cluster=inputs.cluster(chosen)))
        phase = pairing.ready(engine)
        found = [] if phase is None else pairing.run(engine, phase, files)
        reason = _UNREADY if phase is None else None
    except (EnvironmentLacking, StageFailed) as error:
        found, reason = [], str(error)
    for number, (place, _, _) in enumerate(asked):
        made[place] = replace(pairs[place], unpaired=reason, paired=found[number] if found else {})
    return made


def _worse(made: Comparison) -> GateFailed:
    said = [
        f"{model.model}: {one.name} {one.a:.4f} -> {one.b:.4f}."
        for model in made.models
        for one in model.metrics
        if model.verdict == "worse" and one.name == model.main
    ]
    return GateFailed(
        f"{made.b} is worse than {made.a}, beyond noise.", " ".join(said), "--fail-on-worse was given.", kind="worse"
    )
