"""`mcwbuild run`: the whole way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from mcwbuild import plan
from mcwbuild.cli import inputs, training
from mcwbuild.cli.settings import ENGINE, options, settings
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.phases import ONNX, PT
from mcwbuild.options import Settings
from mcwbuild.plan import Step

_OF_A_CHECKPOINT = ("opset", "imgsz")  # an ONNX file has both fixed


RUN_OPTIONS = (
    "target", "data", "dataset", "dtype", "source", "out", "name", "imgsz",
    *ENGINE, "memory", "trust_checkpoint", "model_code", "model", "toolkit_version",
    "optimization_level", "algorithm", "calibration_images", "tune", "tune_budget", "layers", "reproducible",
    "opset", "simplify", "conf", "iou", "max_detections", "threads", "progress",
    "gates", "strict", "contract_check", "store", "store_limit",
)  # fmt: skip


def beginnings(verb: Callable[..., int]) -> Callable[..., int]:
    """Decorate a verb with what a run begins with, and all options of a run."""
    for decorate in (
        options(*RUN_OPTIONS),
        click.option("--fresh", is_flag=True, help="With --train-config: train anew, whatever was trained before."),
        click.option("--train-config", type=click.Path(path_type=Path), help="Or train.yaml: trained first."),
        click.option("--onnx", type=click.Path(path_type=Path), help="Or an ONNX file: stock YOLO head, no NMS."),
        click.option("--pt", type=click.Path(path_type=Path), help="The checkpoint, for example best.pt."),
    ):
        verb = decorate(verb)
    return verb


@click.command()
@beginnings
@click.option("--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Targets at once.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
@click.pass_context
def run(
    ctx: click.Context,
    /,
    pt: Path | None,
    onnx: Path | None,
    train_config: Path | None,
    fresh: bool,
    jobs: int,
    as_json: bool,
    **_: object,
) -> int:
    """Convert a checkpoint, an ONNX file, or a model trained first, for one target or several, measured at every phase.

    Example: mcwbuild run --pt best.pt --data data.yaml --target rk3588
    """
    chosen = settings(ctx)
    steps, out = steps_of(pt, onnx, train_config, chosen, anew=fresh)
    return inputs.drive(steps, chosen, out, as_json, jobs)


def steps_of(
    pt: Path | None, onnx: Path | None, train_config: Path | None, chosen: Settings, *, anew: bool
) -> tuple[tuple[Step, ...], Path]:
    """The steps of a run that begins with one of the three, and its output folder. Raises InputError."""
    given = {"--pt": pt, "--onnx": onnx, "--train-config": train_config}
    flags = [flag for flag, path in given.items() if path is not None]
    if len(flags) != 1:
        raise InputError(
            "A run begins with one model.",
            f"{' and '.join(flags)} are given." if flags else "Neither --pt nor --onnx is given, nor --train-config.",
            "Give --pt best.pt for a checkpoint, --onnx model.onnx for an ONNX file, or --train-config train.yaml.",
        )
    if anew and train_config is None:
        raise InputError("--fresh is for a training.", "No --train-config is given.", "Leave --fresh out.")
    if train_config is not None:
        steps, out = _of_training(train_config, chosen, anew)
    else:
        steps, out = _of_checkpoint(pt, chosen) if pt is not None else _of_onnx(Path(str(onnx)), chosen)
    plan.check_targets(steps, inputs.targets_there(steps))
    return steps, out


def _of_checkpoint(pt: Path, chosen: Settings) -> tuple[tuple[Step, ...], Path]:
    given = inputs.read(pt, chosen, chosen["source"], PT.source_schema)
    plan.check_inputs(chosen, given.dataset)
    name = plan.model_name(chosen, given.name, pt)
    out = plan.out_folder(chosen, name)
    return plan.run_steps(pt, name, chosen, given.dataset, out), out


def _of_training(config: Path, chosen: Settings, anew: bool) -> tuple[tuple[Step, ...], Path]:
    step, dataset, out = training.first_step(config, chosen, anew=anew)
    plan.check_inputs(chosen, dataset)
    return plan.after_pt(step, chosen, dataset, out), out


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
