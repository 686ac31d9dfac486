"""`mcwbuild replay`: is what was published still what comes of it?"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import click

from mcwbuild import freshness, pipeline, published
from mcwbuild.cli import inputs
from mcwbuild.cli.settings import ENGINE, options, settings
from mcwbuild.contract.errors import GateFailed, InputError, gravest
from mcwbuild.options import Settings
from mcwbuild.published import Published
from mcwbuild.replay import Replayed, compare, steps

_SENTENCES = {
    "same bytes": "the same to the last byte",
    "same metrics": "other bytes, the same accuracy",
    "differs": "differs",
}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--pt", type=click.Path(path_type=Path), help="Where the checkpoint lies now.")
@click.option("--onnx", type=click.Path(path_type=Path), help="Where the ONNX file lies now.")
@options(
    "data", "dataset", "source", "model_code", "trust_checkpoint", *ENGINE, "memory", "toolkit_version", "progress",
)  # fmt: skip
@click.option("--bytes", "by_bytes", is_flag=True, help="Nothing but the same bytes will do: else exit 3.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep what is made, in this new folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
@click.pass_context
def replay(
    ctx: click.Context,
    /,
    folder: Path,
    pt: Path | None,
    onnx: Path | None,
    by_bytes: bool,
    keep: Path | None,
    as_json: bool,
    **_: object,
) -> int:
    """Repeat what made the package, or the run, in FOLDER, from its manifests, and tell whether the same comes of it.

    Each step is repeated on the inputs that it had: found by their contents where they lay, or where an option says.
    A .rknn holds rests of its maker's memory and has other bytes each time, unless it was made with --reproducible.
    """
    chosen = settings(ctx)
    found, wrong = published.read_all(published.find(folder))
    if wrong:
        raise gravest(wrong)
    given = {"--pt": pt, "--onnx": onnx, **{f"--{name.replace('_', '-')}": chosen[name] for name in _FILES}}
    with ExitStack() as stack:
        out = _folder(keep, folder, stack)
        made = _repeat(found, {flag: path for flag, path in given.items() if path is not None}, out, chosen)
    _show(made, as_json, keep)
    missed = _missed(made, by_bytes)
    if missed is not None:
        raise missed
    return 0


_FILES = ("data", "dataset", "source", "model_code")


def _folder(keep: Path | None, folder: Path, stack: ExitStack) -> Path:
    if keep is None:
        out = Path(tempfile.mkdtemp(prefix="mcwbuild-replay-"))
        stack.callback(shutil.rmtree, out, ignore_errors=True)
        return out
    if keep.exists():
        raise InputError(f"{keep} is there already.", remedy="Give --keep a folder that is not, or leave it out.")
    if keep.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{keep} lies in the run that is repeated.", remedy="Give --keep another folder.")
    return keep


def _repeat(found: list[Published], given: dict[str, Path], out: Path, chosen: Settings) -> list[Replayed]:
    from mcwbuild.engines import choose
    from mcwbuild.report import console

    planned = steps(found, given, out, trusted=bool(chosen["trust_checkpoint"] or chosen["model_code"]))
    reporter = console.reporter(chosen["progress"])
    made = []
    try:
        engine = choose(_engine(found, chosen), inputs.wanted(chosen), reporter.emit)
        for package, step in zip(found, planned, strict=True):
            pipeline.execute([step], engine, step.package.parent, reporter)
            again, errors = published.read(step.package)
            if again is None:
                raise gravest(errors)
            made.append(compare(package, again, engine.identity(step.phase)))
    finally:
        reporter.close()
    return made


def _engine(found: list[Published], chosen: Settings) -> str:
    """The one that was asked for, else the one that made the packages."""
    if chosen.origins["engine"] != "default":
        return str(chosen["engine"])
    recorded = freshness.recorded(found[0].folder)
    if recorded.get("engine") == "dask" and chosen["scheduler"] is None:  # its workers' own
        return "docker" if "image" in recorded.get("environment", {}) else "local"
    return str(recorded.get("engine", "auto"))


def _show(made: list[Replayed], as_json: bool, keep: Path | None) -> None:
    from mcwbuild.report import console

    if as_json:
        console.show_json([{**asdict(one), "package": str(one.package)} for one in made])
        return
    rows = []
    for one in made:
        for model in one.models:
            was, now = ("-" if value is None else f"{value:.4f}" for value in (model.a, model.b))
            rows.append([model.model, model.metric, was, now, _SENTENCES[model.verdict]])
    console.show_table("", ["model", "metric", "was", "is", ""], rows, right=range(2, 4))
    for one in made:
        for name, was, now in one.environment:
            console.show_line(f"{one.package.name}: {name} was {was[:19]}, and is {now[:19]}")
    if keep is not None:
        console.show_line(f"What was made lies in {keep}.")


def _missed(made: list[Replayed], by_bytes: bool) -> GateFailed | None:
    refused = ("differs", "same metrics") if by_bytes else ("differs",)
    names = [model.model for one in made for model in one.models if model.verdict in refused]
    if not names:
        return None
    changed = any(one.environment for one in made)
    return GateFailed(
        "Not the same came of it.",
        f"{', '.join(names)} {'differ' if len(names) > 1 else 'differs'}.",
        "The environment is another one, as told above."
        if changed
        else "Its environment is the same; --keep keeps it.",
        kind="replay",
    )
