"""`mcwbuild init`: write training_source.yaml from a checkpoint, or a train.yaml to begin with."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import click

from mcwbuild import editors, pipeline, plan
from mcwbuild.cli import inputs
from mcwbuild.cli.settings import ENGINE, options, settings
from mcwbuild.contract import disk, look, training
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.phases import PT
from mcwbuild.options import Settings

_DRAFT = b"""\
# A draft: the network does not tell how its images were prepared. What training.guessed names at the end is a guess,
# the most common value. Compare each with the code that trained the network, correct it, and take its name out of the
# list; what stays there is told as an issue by every measurement.
"""


@click.command()
@click.option("--pt", type=click.Path(path_type=Path), help="The checkpoint.")
@click.option("--train", is_flag=True, help="Write train.yaml instead: every setting of a training, commented out.")
@click.option("--task", help="What a network is for that does not tell it: classification, ocr or generic.")
@click.option("--names", type=click.Path(path_type=Path), help="Its classes: a text file, one a line, in their order.")
@options("out", "name", "imgsz", "data", *ENGINE, "memory", "trust_checkpoint", "model_code", "model", "progress")
@click.option("--force", is_flag=True, help="Replace a file that is there already.")
@click.pass_context
def init(
    ctx: click.Context,
    /,
    pt: Path | None,
    train: bool,
    task: str | None,
    names: Path | None,
    force: bool,
    **_: object,
) -> int:
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
        return _describe(pt, task, names, chosen, target)
    return _write(target, f"{editors.modeline(training.SCHEMA)}\n{training.example()}".encode())


def _write(target: Path, content: bytes) -> int:
    from mcwbuild.report import console

    target.parent.mkdir(parents=True, exist_ok=True)
    editors.place(target.parent)
    disk.write_atomic(target, content)
    console.show_line(str(target))
    return 0


def _describe(pt: Path, task: str | None, names: Path | None, chosen: Settings, target: Path) -> int:
    """The stage's description of the model; of one that tells nothing but itself, a draft that says what is guessed."""
    from mcwbuild.engines import choose
    from mcwbuild.report import console

    inputs.read(pt, chosen, None, PT.source_schema)
    options_ = ["--describe", f"--name={plan.model_name(chosen, None, pt)}"]
    options_ += ["--imgsz", ",".join(str(side) for side in chosen["imgsz"])] if chosen["imgsz"] else []
    options_ += [f"--task={task}"] if task else []
    given = (("--names", names), ("--data", chosen["data"] if task else None))
    files = tuple((flag, path) for flag, path in given if path is not None)
    flags, code = plan.trust(chosen)
    reporter = console.reporter(chosen["progress"])
    phase = replace(PT, title="description")
    step = plan.Step("pt", phase, (("--pt", pt), *files, *code), (*options_, *flags), (), target.parent)
    with tempfile.TemporaryDirectory(prefix="mcwbuild-") as scratch:
        try:
            made = pipeline.describe(
                step, choose(chosen["engine"], inputs.wanted(chosen), reporter.emit), Path(scratch), reporter
            )
        finally:
            reporter.close()
        return _write(target, _with_notes(editors.beside(made.read_bytes())))


def _with_notes(written: bytes) -> bytes:
    """The document; above a draft stands what its owner has to do."""
    return _DRAFT + written if b"\n  guessed:\n" in written else written
