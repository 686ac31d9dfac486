"""`mcwbuild images`: the stages' images, built, listed, removed; wheels for building without a network."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from mcwbuild.contract.errors import ExitCode, InputError
from mcwbuild.contract.phases import PHASES, RKNN

if TYPE_CHECKING:
    from docker import DockerClient

    from mcwbuild.contract.events import Event
    from mcwbuild.engines.docker.images import StageImage
    from mcwbuild.engines.docker.recipes import Recipe

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")


@click.group()
def images() -> None:
    """The images of the stages, for `--engine docker` and for `docker run`."""


def _sources(command: Callable[..., int]) -> Callable[..., int]:
    """The arguments and options that say which images and from where, for two of the commands."""
    for option in (
        click.option("--ca-bundle", type=_FILE, help="Certificates of your organization; used while building only."),
        click.option("--extra-index-url", help="A further package index."),
        click.option("--index-url", help="The package index. [env: PIP_INDEX_URL, UV_DEFAULT_INDEX]"),
        click.option("--toolkit-version", help="RKNN-Toolkit2's version. [default: the one of docker/rknn]"),
        click.option("--torch", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True,
                     help="Torch's build in the pt image; the others are for the CPU."),
        click.argument("phases", nargs=-1, metavar="[PHASE]..."),
    ):  # fmt: skip
        command = option(command)
    return command


def _recipes(phases: Sequence[str], given: dict[str, Any]) -> list[Recipe]:
    from mcwbuild.engines.docker import recipes

    if unknown := [name for name in phases if name not in PHASES]:
        raise InputError(f"There is no phase {unknown[0]!r}.", remedy=f"Take {', '.join(PHASES)}.")
    chosen = [phase for phase in PHASES.values() if not phases or phase.name in phases]
    if RKNN not in chosen and (given["toolkit_version"] or given.get("toolkit_wheel")):
        raise InputError("RKNN-Toolkit2 is in the rknn image only.", remedy="Name the phase rknn, or leave it out.")
    torch: Literal["cpu", "cuda"] = given["torch"]
    return [
        recipes.recipe(
            phase,
            torch=torch,
            toolkit=given["toolkit_version"],
            wheel=given.get("toolkit_wheel"),
            base_image=given.get("base_image"),
            python_image=given.get("python_image"),
        )
        for phase in chosen
    ]


def _emit(name: str, as_json: bool) -> Callable[[Event], None]:
    from mcwbuild.report import console

    reporter = console.JsonReporter() if as_json else console.PlainReporter()
    reporter.name = name
    return reporter.emit


def _client() -> DockerClient:
    from mcwbuild.engines.docker import daemon

    return daemon.connect()


@images.command()
@_sources
@click.option("--base-image", help="Another base image; for several phases it serves all of them.")
@click.option("--python-image", help="Another image to take Python 3.11 from, for the rknn image.")
@click.option("--toolkit-wheel", type=_FILE, help="A wheel of another RKNN-Toolkit2, for Python 3.11.")
@click.option("--wheelhouse", type=_FOLDER, help="Take all wheels from here and build without a network.")
@click.option("--missing", is_flag=True, help="Only those of which no fresh image is there.")
@_JSON
def build(phases: tuple[str, ...], as_json: bool, missing: bool, **given: Any) -> int:
    """Build the images of the phases; all three where none is named.

    Example: mcwbuild images build rknn --toolkit-version 2.5.0
    """
    from mcwbuild.contract.events import Noted
    from mcwbuild.engines.docker import building, images, sources
    from mcwbuild.engines.environments import cache_folder
    from mcwbuild.report import console

    places = sources.Sources(
        given["wheelhouse"], given["index_url"], given["extra_index_url"], given["ca_bundle"], given["toolkit_wheel"]
    )
    planned = [(recipe, places.files(recipe)) for recipe in _recipes(phases, given)]
    client = _client()
    made: dict[str, float] = {}
    for recipe, files in planned:
        emit = _emit(recipe.name, as_json)
        if missing and (there := images.made_by(client, recipe)) is not None:
            emit(Noted(f"The {recipe.name} image is there, and fresh."))
            made[there.id] = 0.0
            continue
        begun = time.monotonic()
        building.announce(recipe, files, places.network, emit)
        log = cache_folder() / "images" / f"{recipe.tags[0].replace('/', '-').replace(':', '-')}.log"
        identifier = building.build(
            client, recipe, files, places.arguments(), network=places.network, log=log, emit=emit
        )
        made[identifier] = round(time.monotonic() - begun, 1)
    built = [image for image in images.listed(client) if image.id in made]
    if as_json:
        console.show_json([{**_row(image), "seconds": made[image.id]} for image in built])
    else:
        _show(built)
    return 0


@images.command("list")
@_JSON
def list_(as_json: bool) -> int:
    """List the images, and why one is not what would be built today."""
    from mcwbuild.engines.docker import images
    from mcwbuild.report import console

    found = images.listed(_client())
    if as_json:
        console.show_json([_row(image) for image in found])
    elif found:
        _show(found)
    else:
        console.show_line("There are no images of the stages yet: mcwbuild images build")
    return 0


def _row(image: StageImage) -> dict[str, Any]:
    from mcwbuild.engines.docker import bases

    return {
        "phase": image.phase,
        "tags": list(image.tags),
        "id": image.id,
        "bytes": image.size,
        "created": image.created,
        "torch": image.torch,
        "toolkit": image.toolkit,
        "fresh": image.stale is None,
        "stale": image.stale,
        "base": image.base,
        "base_verified": bases.verified(image.base),
    }


def _show(found: Sequence[StageImage]) -> None:
    from mcwbuild.report import console
    from mcwbuild.report.text import size_text

    header = ["phase", "tag", "id", "size", "state", "base image", "digest"]
    table = []
    for image in found:
        row = _row(image)
        state = "fresh" if image.stale is None else f"{'unknown' if image.by_hand else 'stale'}: {image.stale}"
        tags = ", ".join(image.tags) or "-"
        digest = image.id.removeprefix("sha256:")[:12]
        table.append([image.phase, tags, digest, size_text(image.size), state, image.base, row["base_verified"]])
    console.show_table("", header, table, right=[3])


@images.command()
@click.argument("phases", nargs=-1, metavar="[PHASE]...")
@click.option("--cache", "cache_too", is_flag=True, help="Remove what builds left behind, too: the next one is slow.")
@_JSON
def prune(phases: tuple[str, ...], cache_too: bool, as_json: bool) -> int:
    """Remove the images of the phases that are stale, by their labels; other images are never touched."""
    from mcwbuild.engines.docker import images
    from mcwbuild.report import console
    from mcwbuild.report.text import size_text

    client = _client()
    done = images.prune(client, phases)
    freed = images.prune_cache(client) if cache_too else None
    if as_json:
        rows = [{**_row(entry.image), "kept": entry.kept} for entry in done]
        console.show_json({"images": rows, "cache_bytes": freed})
        return 0
    for entry in done:
        name = ", ".join(entry.image.tags) or entry.image.id
        console.show_line(f"{name}: {f'kept, {entry.kept}' if entry.kept else 'removed'} ({entry.image.stale})")
    if not done:
        console.show_line("No image is stale.")
    if freed is not None:
        console.show_line(f"The builds' cache is gone: {size_text(freed)}.")
    return int(ExitCode.DONE)


@images.command()
@click.argument("folder", type=_FOLDER)
@_sources
def wheelhouse(folder: Path, phases: tuple[str, ...], **given: Any) -> int:
    """Download all wheels of the images into FOLDER: `images build --wheelhouse FOLDER` needs no network then."""
    from mcwbuild.engines.docker import sources, wheelhouse

    places = sources.Sources(None, given["index_url"], given["extra_index_url"], given["ca_bundle"])
    wheelhouse.fill(folder, _recipes(phases, given), _emit("wheelhouse", False), places.pip_options())
    return 0
