"""The commands of images.yml, and of convert.yml with the images, on the real daemon: built, tried, kept, pushed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from docker.errors import ImageNotFound

from mcwbuild.contract.phases import PHASES
from tests.support import containers
from tests.support import registry as registries
from tests.support.commands import ROOT, mcwbuild
from tests.support.registry import Registry
from tests.support.workflows import Runner, condition, jobs

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]
ACTOR, TOKEN = "an-actor", "a token with $(touch hacked)"


@pytest.fixture
def registry(tmp_path: Path, client: DockerClient) -> Iterator[Registry]:
    """A registry, and afterwards no image of this machine is called after it."""
    folder = tmp_path / "registry"
    folder.mkdir()
    with registries.serving(folder, ACTOR, TOKEN) as served:
        yield served
    for image in client.images.list():
        for tag in (tag for tag in image.tags if tag.startswith(served.address)):
            client.images.remove(tag)
    shutil.rmtree(folder)


def runner(folder: Path) -> Runner:
    (folder / "examples").symlink_to(ROOT / "examples")
    return Runner(folder, {"GITHUB_ACTOR": ACTOR, "GITHUB_REF_NAME": "v1.2.3", "MCWBUILD_STORE": "false"})


@pytest.fixture
def small(images: dict[str, str], client: DockerClient) -> Iterator[dict[str, str]]:
    """Images of some bytes under the names of the stages', which have gigabytes to carry about; phase -> id."""
    made: dict[str, str] = {}
    try:
        for phase in images:
            files = {"Dockerfile": b"FROM scratch\nCOPY file /\n", "file": phase.encode()}
            made[phase] = containers.built(client, files, {"mcwbuild.toy": phase})
            client.images.get(made[phase]).tag(f"mcwbuild/{phase}", "latest")
        yield made
    finally:
        for phase, image in images.items():
            client.images.get(image).tag(f"mcwbuild/{phase}", "latest")
        for image in made.values():
            with suppress(ImageNotFound):  # a test that failed in the middle has removed it already
                client.images.remove(image, force=True)


def digests(client: DockerClient) -> dict[str, str]:
    return {phase: str(client.images.get(f"mcwbuild/{phase}:latest").id) for phase in PHASES}


def saving(steps: list[dict[str, Any]]) -> int:
    """The number of the first step that moves images about."""
    return [step.get("name") for step in steps].index("Save")


def test_they_are_built_and_tried(images: dict[str, str], tmp_path: Path) -> None:
    steps, ran, values = jobs("images.yml")["build"]["steps"], runner(tmp_path), dict[str, str]()
    assert ran.run(steps[: saving(steps)], values) == 0, ran.said
    assert "is there, and fresh" in "".join(ran.said)
    key = values["steps.key.outputs.key"]
    assert key == mcwbuild("doctor", "--cache-key", "--engine", "docker", cwd=tmp_path).stdout.strip()
    assert "rk3588 INT8" in ran.summary.read_text()
    provenance = json.loads((ran.temporary / "small" / "rknn_package" / "manifest.json").read_text())["provenance"]
    assert provenance["environment"] == {"image": images["rknn"]}


def test_they_are_saved_pushed_pulled_and_loaded(
    small: dict[str, str], client: DockerClient, registry: Registry, tmp_path: Path
) -> None:
    there, key = jobs("images.yml"), "images-key"
    ran, values = runner(tmp_path), {"vars.MCWBUILD_REGISTRY": f"{registry.address}/owner/mcwbuild"}
    values["steps.key.outputs.key"] = key
    steps = there["build"]["steps"]
    assert ran.run(steps[saving(steps) :], values) == 0, ran.said
    outputs = {name: values[text.strip("${} ")] for name, text in there["build"]["outputs"].items()}
    given = {**values, **{f"needs.build.outputs.{name}": text for name, text in outputs.items()}, "github.token": TOKEN}
    assert ran.run(there["push"]["steps"], given) == 0, ran.said
    assert digests(client) == small
    tags = {name for name in registry.manifests if not name[1].startswith("sha256:")}
    assert tags == {(f"owner/mcwbuild/{phase}", tag) for phase in PHASES for tag in (key, "v1.2.3")}
    for phase in PHASES:  # the manifest names the image's own configuration: its id
        assert json.loads(registry.manifests[f"owner/mcwbuild/{phase}", key][1])["config"]["digest"] == small[phase]

    (step,) = (step for step in jobs("convert.yml")["convert"]["steps"] if step.get("name") == "Images")
    pulling = {
        "inputs.engine": "docker",
        "inputs.images": f"{registry.address}/owner/mcwbuild",
        "steps.key.outputs.key": key,
    }
    ran.environment["DOCKER_CONFIG"] = str(ran.temporary / "docker")
    for image in small.values():
        client.images.remove(image, force=True)
    assert ran.run([step], pulling) == 0, ran.said
    assert "::notice::" not in ran.said[-1]
    for phase, image in small.items():
        assert client.images.get(f"{registry.address}/owner/mcwbuild/{phase}:{key}").id == image
    saved: dict[str, Any] = {**pulling, "inputs.images": ""}
    assert ran.run([step], saved) == 0, ran.said
    assert "Loaded image: mcwbuild/rknn:latest" in ran.said[-1]
    assert digests(client) == small
    assert not (tmp_path / "hacked").exists()


def test_what_a_registry_lacks_is_told_and_built(images: dict[str, str], registry: Registry, tmp_path: Path) -> None:
    (step,) = (step for step in jobs("convert.yml")["convert"]["steps"] if step.get("name") == "Images")
    values = {"inputs.engine": "docker", "inputs.images": f"{registry.address}/none", "steps.key.outputs.key": "no-key"}
    ran = runner(tmp_path)
    assert ran.run([step], values) == 0, ran.said
    assert ran.said[-1].count("::notice::") == 3


def test_without_a_registry_they_are_saved_once_for_all_jobs(images: dict[str, str], tmp_path: Path) -> None:
    there = jobs("convert.yml")["images"]
    assert condition(there["if"], {"inputs.engine": "docker"})
    assert not condition(there["if"], {"inputs.engine": "local"})
    ran, values = runner(tmp_path), dict[str, str]()
    (tmp_path / "images.tar.zst").write_bytes(b"of an earlier run")  # what the cache brought is not made again
    assert ran.run(there["steps"], values) == 0, ran.said
    assert (tmp_path / "images.tar.zst").read_bytes() == b"of an earlier run"
    assert values["steps.key.outputs.key"].startswith("images-")


def test_they_go_nowhere_without_a_tag_and_a_registry() -> None:
    when = jobs("images.yml")["push"]["if"]
    tag, where = {"github.ref_type": "tag"}, {"vars.MCWBUILD_REGISTRY": "ghcr.io/owner/mcwbuild"}
    assert condition(when, {**tag, **where})
    assert not condition(when, tag)
    assert not condition(when, {"github.ref_type": "branch", **where})
