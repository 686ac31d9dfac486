"""`mcwbuild run`: the whole way."""

from __future__ import annotations

from pathlib import Path

import click

from mcwbuild import plan
from mcwbuild.cli import inputs
from mcwbuild.cli.settings import options, settings
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.phases import ONNX, PT
from mcwbuild.options import Settings
from mcwbuild.plan import Step

_OF_A_CHECKPOINT = ("opset", "imgsz")  # an ONNX file has both fixed


@click.command()
@click.option("--pt", type=click.Path(path_type=Path), help="The checkpoint, for example best.pt.")
@click.option("--onnx", type=click.Path(path_type=Path), help="Or an ONNX file: stock YOLO head, no NMS.")
@options(
    "target", "data", "dataset", "dtype", "source", "out", "name", "imgsz",
    "engine", "memory", "trust_checkpoint", "model_code", "toolkit_version",
    "optimization_level", "algorithm", "calibration_images", "opset", "simplify",
    "conf", "iou", "max_detections", "threads", "progress",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
@click.pass_context
def run(ctx: click.Context, /, pt: Path | None, onnx: Path | None, as_json: bool, **_: object) -> int:
    """Convert a checkpoint, or an ONNX file, for one target or several, measured at every phase.

    Example: mcwbuild run --pt best.pt --data data.yaml --target rk3588
    """
    chosen = settings(ctx)
    if pt is not None and onnx is None:
        steps, out = _of_checkpoint(pt, chosen)
    elif onnx is not None and pt is None:
        steps, out = _of_onnx(onnx, chosen)
    else:
        raise InputError(
            "run begins with one model.",
            "Neither --pt nor --onnx is given." if pt is None else "Both --pt and --onnx are given.",
            "Give --pt best.pt for a checkpoint, or --onnx model.onnx for an ONNX file.",
        )
    plan.check_targets(steps, inputs.targets_there(steps))
    return inputs.drive(steps, chosen, out, as_json)


def _of_checkpoint(pt: Path, chosen: Settings) -> tuple[tuple[Step, ...], Path]:
    given = inputs.read(pt, chosen, chosen["source"], PT.source_schema)
    plan.check_inputs(chosen, given.dataset)
    name = plan.model_name(chosen, given.name, pt)
    out = plan.out_folder(chosen, name)
    return plan.run_steps(pt, name, chosen, given.dataset, out), out


def _of_onnx(onnx: Path, chosen: Settings) -> tuple[tuple[Step, ...], Path]:
    """The steps for an ONNX file; one that mcwbuild made goes straight to the RKNN phase."""
    fixed = [name for name in _OF_A_CHECKPOINT if chosen.origins[name].startswith("flag ")]
    if fixed:
        raise InputError(
            f"--{fixed[0]} cannot be given with --onnx.",
            "It shapes an export, and the file is exported already.",
            "Leave it out, or export the model again.",
        )
    own = inputs.made_by_mcwbuild(onnx)
    source, previous = chosen["source"], None
    if own:
        source, previous = source or inputs.sibling(onnx, ONNX.source), inputs.sibling(onnx, ONNX.performance)
        if source is None:
            raise InputError(
                f"{onnx} was made by mcwbuild, and its onnx_source.yaml is missing.",
                f"None was given, and none lies beside {onnx}.",
                "Give it with --source.",
            )
    given = inputs.read(onnx, chosen, source, _schema(source, own))
    plan.check_inputs(chosen, given.dataset)
    name = plan.model_name(chosen, given.name, onnx)
    out = plan.out_folder(chosen, name)
    if own:
        return plan.rknn_steps(onnx, source, previous, chosen, given.dataset, out), out
    return plan.run_given_steps(onnx, name, chosen, given.dataset, out), out


def _schema(source: Path | None, own: bool) -> str:
    from mcwbuild.contract import validate

    return ONNX.source_schema if own or source is None else validate.source_schema(source)
