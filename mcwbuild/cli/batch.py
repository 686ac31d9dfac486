"""`mcwbuild batch`: many models, several at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from mcwbuild.batch import listing, running
from mcwbuild.batch.listing import Listed
from mcwbuild.cli.inputs import wanted
from mcwbuild.cli.run import RUN_OPTIONS
from mcwbuild.cli.settings import options, settings
from mcwbuild.contract.errors import EnvironmentLacking, ExitCode
from mcwbuild.engines import choose
from mcwbuild.engines.local import LocalEngine
from mcwbuild.options import BY_NAME, Settings

BUILD = Path("build")
DRIVERS = 32  # runs at once that only wait for workers: a process of 80 MB each
_NOT_OF_ALL = ("name", "source", "out", "progress", "threads")
_OPTIONS = tuple(name for name in RUN_OPTIONS if name not in ("name", "source"))


@click.command()
@click.option("--models", type=click.Path(path_type=Path), required=True, help="models.txt, a model a line; or a YAML.")
@options(*_OPTIONS)
@click.option("--jobs", type=click.IntRange(1, 256), help="Builds at once.  [default: by cores and memory]")
@click.option("--only", multiple=True, metavar="NAME", help="These of the list alone, for --target alone.")
@click.option("--fail-fast", is_flag=True, help="End all when one has failed.  [default: the others go on]")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON document.")
@click.pass_context
def batch(
    ctx: click.Context,
    /,
    models: Path,
    jobs: int | None,
    only: tuple[str, ...],
    fail_fast: bool,
    as_json: bool,
    **_: object,
) -> int:
    """Convert every model of a list, for every target; one that fails fails alone.

    A line is a file or a pattern, and options of its own: `runs/*/weights/best.pt dtype=int8 target=rk3588 size=320`.
    The same command goes on after a kill; what is done is skipped. Exit code 7 where some failed.

    Example: mcwbuild batch --models models.txt --data data.yaml --target rk3588 --target rk3576
    """
    from mcwbuild.report import console, overview

    chosen = settings(ctx)
    listed = listing.chosen(listing.read(models), only, chosen["target"])
    if only and chosen.origins["target"].startswith("flag "):  # a matrix's cell: its target, whatever the line has
        listed = tuple(one.without("target") for one in listed)
    at_once, threads, targets = _share(chosen, jobs, [len(one.builds(chosen["target"])) for one in listed])
    out: Path = chosen["out"] or BUILD
    onlooker = overview.of(chosen["progress"], len(listed))
    command = commands(chosen, threads, targets)
    try:
        with _forking(chosen, threads, len(listed)) as environment:
            results = running.run(
                listed, out, command, onlooker, at_once=at_once, fail_fast=fail_fast, environment=environment
            )
    finally:
        onlooker.close()
    made = _written(results, out)
    if as_json:
        console.show_json(made)
    else:
        show(made, out)
    return 0 if all(one.state == "done" for one in results) else int(ExitCode.BATCH)


def _share(chosen: Settings, jobs: int | None, builds: Sequence[int]) -> tuple[int, int | None, int]:
    """How many runs at once, how many threads each of them has for its stages, and how many targets it builds at once.

    With the dask engine this machine's threads and memory are no measure: its workers decide.
    """
    if chosen["engine"] == "dask":
        return jobs or min(len(builds), DRIVERS), chosen["threads"], max(builds)
    threads = chosen["threads"] or len(os.sched_getaffinity(0))
    slots = jobs or running.jobs(sum(builds), threads)
    at_once = min(len(builds), slots)
    return at_once, max(1, threads // at_once), slots // at_once


@contextmanager
def _forking(chosen: Settings, threads: int | None, models: int) -> Iterator[dict[str, str]]:
    """Where several models are converted in this machine's environments, what takes long to load is loaded once."""
    engine = choose(chosen["engine"], wanted(chosen)) if models > 1 and chosen["engine"] in ("auto", "local") else None
    with ExitStack() as until_done:
        environment: dict[str, str] = {}
        if isinstance(engine, LocalEngine) and threads is not None:
            with suppress(OSError, EnvironmentLacking):  # each run tells by itself what it lacks
                environment = until_done.enter_context(engine.forking(threads))
        yield environment


def show(made: dict[str, Any], out: Path) -> None:
    """The table of a summary, what went wrong, and where the page is."""
    from mcwbuild.report import console, summary

    there = summary.columns(made)
    header = ["model", "state", *(f"{target} {variant.upper()}" for target, variant in there)]
    rows = [
        [one["name"], summary.WORDS[one["state"]], *(summary.in_words(summary.cell(one, c)) for c in there)]
        for one in made["models"]
    ]
    console.show_table("", header, rows)
    for one in made["models"]:
        if one["error"]:
            console.show_line(f"{one['name']}: {one['error']}")
    console.show_line(f"report: {out / summary.PAGE}")


def _written(results: Sequence[running.Result], out: Path) -> dict[str, Any]:
    from mcwbuild.report import summary
    from mcwbuild.report.page import fleet

    try:
        made = summary.write(results, out)
        fleet.write(made, out)
    except OSError as error:
        raise EnvironmentLacking(
            f"The summary cannot be written to {out}.", f"{error.strerror or error}.", "Free disk space.", kind="disk"
        ) from error
    return made


def commands(chosen: Settings, threads: int | None, targets: int) -> Callable[[Listed, Path], Sequence[str]]:
    """From a model to the run that converts it: the flags of this command, then its own. `targets` of it at once."""
    given = {name: chosen[name] for name in chosen.values if chosen.origins[name].startswith("flag ")}

    def command(listed: Listed, out: Path) -> list[str]:
        begin = "--onnx" if listed.model.suffix.lower() == ".onnx" else "--pt"
        words = [sys.executable, "-m", "mcwbuild", "run", begin, str(listed.model), "--out", str(out)]
        words += [*(["--threads", str(threads)] if threads else []), "--jobs", str(targets)]
        words += ["--progress", "json", "--json"]
        for name, value in given.items():
            if name not in _NOT_OF_ALL and name not in listed.own:
                words += _flag(name, value)
        for name, value in listed.own.items():
            words += _flag(name, value)
        return words

    return command


def _flag(name: str, value: object) -> list[str]:
    """The words that say so on the command line."""
    option = BY_NAME[name]
    if isinstance(option.default, bool):
        return [option.flag] if value else [f"--no-{name.replace('_', '-')}"]
    if name == "imgsz" and isinstance(value, tuple):
        return [option.flag, ",".join(map(str, value))]
    several = value if isinstance(value, tuple) else (value,)
    return [word for one in several for word in (option.flag, str(one))]
