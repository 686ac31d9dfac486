"""`mcwbuild board`: what a board measures, and how it comes back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mcwbuild.cli import inputs
from mcwbuild.cli.settings import ENGINE, options, settings
from mcwbuild.contract.errors import InputError

if TYPE_CHECKING:
    from mcwbuild.board.merge import Merged
    from mcwbuild.options import Settings

IMAGES = 16  # enough for drift and latency; accuracy is undecided on so few
_FOLDER = click.argument("folder", type=click.Path(path_type=Path))
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")


def _choosing(command: Callable[..., int]) -> Callable[..., int]:
    """The options that say what is packed."""
    count = click.option(
        "--images", type=click.IntRange(0), default=IMAGES, show_default=True, help="How many images go along."
    )
    target = click.option("--target", "chip", metavar="CHIP", help="Which package, where there are several targets.")
    return count(target(command))


@click.group()
def board() -> None:
    """Measure a package on a board, and bring the figures back.

    One archive goes to the board, one command there writes performance_rknn.device.json, merge takes it in. `run` does
    the three in one over ssh or adb.
    """


@board.command()
@_FOLDER
@_choosing
@options("data", "dataset")
@_JSON
@click.pass_context
def pack(ctx: click.Context, /, folder: Path, images: int, chip: str | None, as_json: bool, **_: object) -> int:
    """Make the archive for the board from a run's output FOLDER or an rknn_package.

    With --data, labelled images go along, and the board's accuracy is measured on them.

    Example: mcwbuild board pack build/shapes --data data.yaml
    """
    from mcwbuild.report import console

    place, _package = _packed(settings(ctx), folder, images, chip)
    command = f"tar -xzf {place.name} && python3 mcwbuild-board/run_board.py"
    if as_json:
        console.show_json({"archive": str(place), "bytes": place.stat().st_size, "command": command})
        return 0
    console.show_line(f"{place} ({place.stat().st_size / 1e6:.1f} MB). Copy it to the board, and there:")
    console.show_line(f"    {command}")
    console.show_line(f"Then here: mcwbuild board merge {folder} performance_rknn.device.json")
    return 0


def _packed(chosen: Settings, folder: Path, images: int, chip: str | None) -> tuple[Path, Path]:
    """The archive, made, and the package."""
    from mcwbuild.board import pack

    package = pack.one_package(folder, chip)
    return pack.pack(package, pack.choose(package, chosen["data"], chosen["dataset"], images)), package


@board.command()
@_FOLDER
@click.argument("record", type=click.Path(path_type=Path))
@options(*ENGINE, "memory", "gates", "strict", "progress")
@_JSON
@click.pass_context
def merge(ctx: click.Context, /, folder: Path, record: Path, as_json: bool, **_: object) -> int:
    """Take RECORD, a performance_rknn.device.json, into the rknn package in FOLDER.

    It must be of this package's own .rknn files. The evaluator judges what the board found, the simulator's outputs
    what it computed, and its speed is held against ONNX on the CPU.

    Example: mcwbuild board merge build/shapes performance_rknn.device.json --gate int8.speedup=4
    """
    return _shown(_merged(settings(ctx), folder, record), as_json)


def _merged(chosen: Settings, folder: Path, record: Path) -> Merged:
    from mcwbuild.board import merge
    from mcwbuild.engines import Wanted, choose
    from mcwbuild.report import console

    reporter = console.reporter(chosen["progress"])
    try:
        engine = choose(chosen["engine"], Wanted(chosen["memory"], cluster=inputs.cluster(chosen)), reporter.emit)
        return merge.merge(folder, record, engine, reporter, chosen["gates"], strict=chosen["strict"])
    finally:
        reporter.close()


def _shown(merged: Merged, as_json: bool) -> int:
    """Show the board's rows and what was found; raises the gates that were missed."""
    from mcwbuild.contract.limits import SPEEDUP
    from mcwbuild.contract.phases import RKNN
    from mcwbuild.report import console
    from mcwbuild.report.rows import board_rows

    rows = list(board_rows(merged.record, merged.target))
    verdict: Any = merged.record["validation"]
    if as_json:
        missed = None if merged.missed is None else merged.missed.as_dict()
        models = [row.as_dict() for row in rows]
        console.show_json({"package": str(merged.package), "models": models, "validation": verdict, "missed": missed})
    else:
        console.show_models(rows)
        for gate in verdict["gates"]:
            if gate["metric"] == SPEEDUP and gate["status"] == "passed":
                console.show_line(gate["reason"])
        for check in verdict["checks"]:
            console.show_line(f"{check['name']}: {check['status']}: {check['detail']}")
        console.show_line(f"board: {merged.package / RKNN.board}")
    if merged.missed is not None:
        raise merged.missed
    return 0


@board.command()
@_FOLDER
@click.option("--ssh", "host", metavar="USER@HOST", help="Reach the board with the system's ssh.")
@click.option("--port", type=click.IntRange(1, 65535), help="Of ssh.")
@click.option("--identity", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A key for ssh.")
@click.option("--adb", "serial", metavar="SERIAL", help="Reach the board with adb.")
@click.option("--python", default="python3", show_default=True, help="Python on the board, with rknn-toolkit-lite2.")
@_choosing
@options("data", "dataset", *ENGINE, "memory", "gates", "strict", "progress")
@_JSON
@click.pass_context
def run(
    ctx: click.Context, /, folder: Path, python: str, images: int, chip: str | None, as_json: bool, **given: Any
) -> int:
    """Pack, measure on the board, and merge.

    The archive goes into a folder of its own below /tmp there, which is removed again. ssh is the system's own, with
    your configuration and your known hosts.

    Example: mcwbuild board run build/shapes --data data.yaml --ssh root@192.168.1.20
    """
    from mcwbuild.board import remote
    from mcwbuild.report import console

    if (given["host"] is None) == (given["serial"] is None):
        raise InputError("Which board?", remedy="Give --ssh USER@HOST or --adb SERIAL.")
    there: remote.Remote = (
        remote.Ssh(given["host"], given["port"], given["identity"]) if given["host"] else remote.Adb(given["serial"])
    )
    chosen = settings(ctx)
    archive, package = _packed(chosen, folder, images, chip)
    record = remote.measure(there, archive, python, console.show_note)
    with tempfile.TemporaryDirectory(prefix="mcwbuild-board-") as scratch:
        file = Path(scratch, "performance_rknn.device.json")
        file.write_bytes(record)
        return _shown(_merged(chosen, package, file), as_json)
