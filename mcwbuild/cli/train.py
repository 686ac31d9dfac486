"""`mcwbuild train`: phase 1 with a training."""

from __future__ import annotations

from pathlib import Path

import click

from mcwbuild.cli import inputs, training
from mcwbuild.cli.settings import ENGINE, options, settings


@click.command()
@click.option("--config", type=click.Path(path_type=Path), required=True, help="train.yaml: how the model is trained.")
@options("data", "out", "name", *ENGINE, "conf", "iou", "max_detections", "threads", "store", "store_limit", "progress")
@click.option("--fresh", is_flag=True, help="Begin anew, whatever an earlier run has trained.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
@click.pass_context
def train(ctx: click.Context, /, config: Path, fresh: bool, as_json: bool, **_: object) -> int:
    """Train a model with Ultralytics' own trainer, and measure it as every phase is measured.

    A training that was stopped goes on after its last whole epoch when the same command is given again.
    `mcwbuild init --train` writes a configuration to begin with.

    Example: mcwbuild train --data data.yaml --config train.yaml
    """
    chosen = settings(ctx)
    step, _dataset, out = training.first_step(config, chosen, anew=fresh)
    return inputs.drive([step], chosen, out, as_json)
