"""`mcwbuild init`: write training_source.yaml from a checkpoint."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import click

from mcwbuild import pipeline, plan
from mcwbuild.cli import inputs
from mcwbuild.cli.settings import options, settings
from mcwbuild.contract import disk, look
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.phases import PT


@click.command()
@click.option("--pt", type=click.Path(path_type=Path), required=True, help="The checkpoint.")
@options("out", "name", "imgsz", "engine", "memory", "trust_checkpoint", "model_code", "progress")
@click.option("--force", is_flag=True, help="Replace a training_source.yaml that is there already.")
@click.pass_context
def init(ctx: click.Context, /, pt: Path, force: bool, **_: object) -> int:
    """Describe a checkpoint: its input size, classes and preprocessing, in training_source.yaml.

    The file is written to --out, which is the present folder by default.
    """
    from mcwbuild.engines import choose
    from mcwbuild.report import console

    chosen = settings(ctx)
    inputs.read(pt, chosen, None, PT.source_schema)
    target: Path = (chosen["out"] or Path()) / PT.source
    if look.exists(target) and not force:
        raise InputError(f"{target} is there already.", remedy="Give --force to replace it, or --out another folder.")
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
        target.parent.mkdir(parents=True, exist_ok=True)
        disk.write_atomic(target, made.read_bytes())
    console.show_line(str(target))
    return 0
