"""`mcwbuild export`: phase 2 alone."""

from __future__ import annotations

from pathlib import Path

import click

from mcwbuild import plan
from mcwbuild.cli import inputs
from mcwbuild.cli.settings import ENGINE, options, settings
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.phases import PT


@click.command()
@click.option("--pt", type=click.Path(path_type=Path), required=True, help="The checkpoint.")
@options(
    "source", "data", "dataset", "out", "name", *ENGINE, "memory", "trust_checkpoint", "model_code", "model",
    "opset", "simplify", "conf", "iou", "max_detections", "threads", "store", "store_limit", "progress",
    "gates", "strict", "contract_check",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
@click.pass_context
def export(ctx: click.Context, /, pt: Path, as_json: bool, **_: object) -> int:
    """Export a checkpoint to ONNX and compare it with PyTorch.

    Example: mcwbuild export --pt best.pt --source training_source.yaml
    """
    chosen = settings(ctx)
    source = chosen["source"] or inputs.sibling(pt, PT.source)
    if source is None:
        raise InputError(
            "export needs the checkpoint's training_source.yaml.",
            f"None was given, and none lies beside {pt}.",
            f"Write one with: mcwbuild init --pt {pt}",
        )
    given = inputs.read(pt, chosen, source, PT.source_schema)
    name = plan.model_name(chosen, given.name, pt)
    out = plan.out_folder(chosen, name)
    previous = inputs.sibling(pt, PT.performance)
    step = plan.onnx_step(pt, source, previous, chosen, given.dataset, out)
    return inputs.drive([step], chosen, out, as_json)
