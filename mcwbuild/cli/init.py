"""`mcwbuild init`: write training_source.yaml from a checkpoint, or a train.yaml to begin with."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import click

from mcwbuild import pipeline, plan
from mcwbuild.cli import inputs
from mcwbuild.cli.settings import options, settings
from mcwbuild.contract import disk, look, training
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.phases import PT
from mcwbuild.options import Settings


@click.command()
@click.option("--pt", type=click.Path(path_type=Path), help="The checkpoint.")
@click.option("--train", is_flag=True, help="Write train.yaml instead: every setting of a training, commented out.")
@options("out", "name", "imgsz", "engine", "memory", "trust_checkpoint", "model_code", "progress")
@click.option("--force", is_flag=True, help="Replace a file that is there already.")
@click.pass_context
def init(ctx: click.Context, /, pt: Path | None, train: bool, force: bool, **_: object) -> int:
    """Describe a checkpoint: its input size, classes and preprocessing, in training_source.yaml; or begin a train.yaml.

    The file is written to --out, which is the present folder by default.
    """
    chosen = settings(ctx)
    if train == (pt is not None):
        raise InputError(
            "init writes one file.", f"{'Both' if train else 'Neither'} of --pt and --train given.", "Give one of them."
        )
    target: Path = (chosen["out"] or Path()) / (PT.source if pt else training.FILE)
    if look.exists(target) and not force:
        raise InputError(f"{target} is there already.", remedy="Give --force to replace it, or --out another folder.")
    if pt is not None:
        return _describe(pt, chosen, target)
    return _write(target, training.example().encode())


def _write(target: Path, content: bytes) -> int:
    from mcwbuild.report import console

    target.parent.mkdir(parents=True, exist_ok=True)
    disk.write_atomic(target, content)
    console.show_line(str(target))
    return 0


def _describe(pt: Path, chosen: Settings, target: Path) -> int:
    from mcwbuild.engines import choose
    from mcwbuild.report import console

    inputs.read(pt, chosen, None, PT.source_schema)
    name = plan.model_name(chosen, None, pt)
    options_ = ["--describe", f"--name={name}"]
    if chosen["imgsz"]:
        options_ += ["--imgsz", ",".join(str(side) for side in chosen["imgsz"])]
    flags, code = plan.trust(chosen)
    reporter = console.reporter(chosen["progress"])
    step = plan.Step(
        "pt", replace(PT, title="description"), (("--pt", pt), *code), (*options_, *flags), (), target.parent
    )
    with tempfile.TemporaryDirectory(prefix="mcwbuild-") as scratch:
        try:
            made = pipeline.describe(
                step, choose(chosen["engine"], inputs.wanted(chosen), reporter.emit), Path(scratch), reporter
            )
        finally:
            if isinstance(reporter, console.LiveReporter):
                reporter.close()
        return _write(target, made.read_bytes())
