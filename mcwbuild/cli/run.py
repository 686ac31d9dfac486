"""`mcwbuild run`: the whole way."""

from __future__ import annotations

from pathlib import Path

import click

from mcwbuild import plan
from mcwbuild.cli import inputs
from mcwbuild.cli.settings import options, settings
from mcwbuild.contract.phases import PT


@click.command()
@click.option("--pt", type=click.Path(path_type=Path), required=True, help="The checkpoint, for example best.pt.")
@options(
    "target", "data", "dataset", "dtype", "source", "out", "name", "imgsz", "engine",
    "optimization_level", "algorithm", "calibration_images", "opset", "simplify",
    "conf", "iou", "max_detections", "threads", "progress",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
@click.pass_context
def run(ctx: click.Context, /, pt: Path, as_json: bool, **_: object) -> int:
    """Convert a checkpoint for one target or several, measured at every phase.

    Example: mcwbuild run --pt best.pt --data data.yaml --target rk3588
    """
    chosen = settings(ctx)
    given = inputs.read(pt, chosen, chosen["source"], PT.source_schema)
    plan.check_inputs(chosen, given.dataset)
    name = plan.model_name(chosen, given.name, pt)
    out = plan.out_folder(chosen, name)
    steps = plan.run_steps(pt, name, chosen, given.dataset, out)
    plan.check_targets(steps, inputs.targets_there(steps))
    return inputs.drive(steps, chosen, out, as_json)
