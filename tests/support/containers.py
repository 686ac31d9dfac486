"""The real Docker daemon for tests, and small images with a toy stage in them."""

from __future__ import annotations

import io
import tarfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcwbuild.contract.errors import McwbuildError
from mcwbuild.contract.phases import PHASES, Phase
from mcwbuild.engines import supervisor
from mcwbuild.engines.docker import daemon, images, sweep
from mcwbuild.engines.docker.container import CODE, PYTHON, SUPERVISOR
from tests.support import standin_base
from tests.support.commands import ROOT, mcwbuild

if TYPE_CHECKING:
    from docker import DockerClient

TOY, HOSTILE = (Path(__file__).with_name(name) for name in ("toy_stage.py", "hostile_stage.py"))
PYTHON_OF_BASE = "/usr/local/bin/python3.11"


@cache
def client() -> DockerClient:
    """A client of this machine's daemon; skips the test, loudly, where none answers."""
    try:
        return daemon.connect()
    except McwbuildError as error:
        pytest.skip(f"NOT RUN, no Docker daemon: {error.found}")


def toy_image(client: DockerClient, phase: Phase, stage: Path = TOY) -> str:
    """The id of an image whose stage is `stage`: a Python, the supervisor and this one file."""
    standin_base.make(client)
    recipe = (
        f"FROM {standin_base.PYTHON}\n"
        f"RUN mkdir -p {Path(PYTHON).parent} && ln -s {PYTHON_OF_BASE} {PYTHON}\n"
        f"COPY code {CODE}\n"
        f"COPY supervisor.py {SUPERVISOR}\n"
    )
    files = {
        "Dockerfile": recipe.encode(),
        "supervisor.py": Path(supervisor.__file__).read_bytes(),
        f"code/stages/{phase.name}/__main__.py": stage.read_bytes(),
    }
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    context.seek(0)
    image, _ = client.images.build(fileobj=context, custom_context=True, rm=True, labels={"mcwbuild.toy": phase.name})
    assert image.id is not None
    return image.id


def ours(client: DockerClient) -> list[str]:
    """The states of the containers that the engine started, by whomever."""
    found = client.api.containers(all=True, filters={"label": sweep.OWNER})
    return [f"{each['Names'][0]} {each['State']}" for each in found]


def stage_images(client: DockerClient, wheelhouse: Path) -> dict[str, str]:
    """Phase -> id of the image that `mcwbuild images build` makes of stand-in bases; at once where it is there."""
    standin_base.make(client)
    found = {phase: images.find(client, phase) for phase in PHASES.values()}
    if not all(image is not None and image.stale is None for image in found.values()):
        command("images", "wheelhouse", wheelhouse)
        for phase in PHASES:
            bases = ["--base-image", standin_base.PYTHON]
            if phase == "rknn":
                bases = ["--base-image", standin_base.UBUNTU, "--python-image", standin_base.PYTHON]
            command("images", "build", phase, *bases, "--wheelhouse", wheelhouse)
        found = {phase: images.find(client, phase) for phase in PHASES.values()}
    return {phase.name: image.id for phase, image in found.items() if image is not None}


def command(*words: str | Path) -> None:
    """Runs mcwbuild, which has to succeed."""
    done = mcwbuild(*words, cwd=ROOT)
    assert done.code == 0, done.stderr
