"""`mcwbuild convert`: phase 3 alone."""

from __future__ import annotations

from pathlib import Path

import click

from mcwbuild import plan
from mcwbuild.cli import inputs
from mcwbuild.cli.settings import ENGINE, options, settings
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.phases import ONNX


@click.command()
@click.option("--onnx", type=click.Path(path_type=Path), required=True, help="The ONNX file.")
@options(
    "source", "target", "dtype", "data", "dataset", "out", "name", *ENGINE, "memory", "toolkit_version",
    "optimization_level", "algorithm", "calibration_images", "tune", "tune_budget", "layers", "reproducible",
    "conf", "iou", "max_detections", "threads", "store", "store_limit", "progress",
    "gates", "strict",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
@click.pass_context
def convert(ctx: click.Context, /, onnx: Path, as_json: bool, **_: object) -> int:
    """Convert an ONNX file to RKNN for one target or several.

    Example: mcwbuild convert --onnx best.onnx --source onnx_source.yaml --dtype fp16 --target rk3588
    """
    chosen = settings(ctx)
    source = chosen["source"] or inputs.sibling(onnx, ONNX.source)
    if source is None:
        raise InputError(
            "convert needs the ONNX file's onnx_source.yaml.",
            f"None was given, and none lies beside {onnx}.",
            "Give it with --source; `mcwbuild export` writes it.",
        )
    given = inputs.read(onnx, chosen, source, ONNX.source_schema)
    plan.check_inputs(chosen, given.dataset)
    name = plan.model_name(chosen, given.name, onnx)
    out = plan.out_folder(chosen, name)
    previous = inputs.sibling(onnx, ONNX.performance)
    steps = plan.rknn_steps(onnx, source, previous, chosen, given.dataset, out)
    plan.check_targets(steps, inputs.targets_there(steps))
    return inputs.drive(steps, chosen, out, as_json)
