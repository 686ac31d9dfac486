"""The real Docker daemon for tests, and small images with a toy stage in them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mcwbuild.contract.phases import PT, Phase
from mcwbuild.engines import supervisor
from mcwbuild.engines.docker import bases, sweep
from mcwbuild.engines.docker.container import CODE, PYTHON, SUPERVISOR
from tests.support import stage_images

if TYPE_CHECKING:
    from docker import DockerClient

TOY, HOSTILE = (Path(__file__).with_name(name) for name in ("toy_stage.py", "hostile_stage.py"))
PYTHON_OF_BASE = "/usr/local/bin/python3.11"


def python_base() -> str:
    """The name of an image with the Python of the stages."""
    options = stage_images.base_options()["pt"]
    return options[1] if options else bases.bases(PT)[0].reference


def toy_image(client: DockerClient, phase: Phase, stage: Path = TOY, base: str | None = None) -> str:
    """The id of an image whose stage is `stage`: a Python (of `base`), the supervisor and this one file."""
    base = base or python_base()
    recipe = (
        f"FROM {base}\n"
        f"RUN mkdir -p {Path(PYTHON).parent} && ln -s {PYTHON_OF_BASE} {PYTHON}\n"
        f"COPY code {CODE}\n"
        f"COPY supervisor.py {SUPERVISOR}\n"
    )
    files = {
        "Dockerfile": recipe.encode(),
        "supervisor.py": Path(supervisor.__file__).read_bytes(),
        f"code/stages/{phase.name}/__main__.py": stage.read_bytes(),
    }
    return built(client, files, {"mcwbuild.toy": phase.name})


def built(client: DockerClient, files: dict[str, bytes], labels: Mapping[str, str]) -> str:
    """The id of an image whose context is `files`, a Dockerfile among them."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    context.seek(0)
    image, _ = client.images.build(fileobj=context, custom_context=True, rm=True, labels=dict(labels))
    assert image.id is not None
    return image.id


def hostile_image(client: DockerClient, image: str, phase: Phase) -> str:
    """The id of an image like the phase's own `image`, whose stage is tests/support/hostile_stage.py.

    Its labels say so: no engine may take it for the phase's own.
    """
    stage = f"{CODE}/stages/{phase.name}"
    recipe = f"FROM {image}\nUSER 0\nRUN rm -rf {stage}\nCOPY __main__.py {stage}/\nUSER 10001\n"
    recipe += "LABEL mcwbuild.phase=hostile mcwbuild.code=hostile\n"
    files = {"Dockerfile": recipe.encode(), "__main__.py": HOSTILE.read_bytes()}
    return built(client, files, {"mcwbuild.toy": phase.name})


def ours(client: DockerClient) -> list[str]:
    """The states of the containers that the engine started, by whomever."""
    found = client.api.containers(all=True, filters={"label": sweep.OWNER})
    return [f"{each['Names'][0]} {each['State']}" for each in found]
