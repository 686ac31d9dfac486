"""The stages' images, built by a real daemon: what is in them, what they run as, how they are listed and removed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from docker.errors import APIError

from mcwbuild.contract.phases import PHASES, Phase
from mcwbuild.engines import code
from mcwbuild.engines.docker import recipes
from mcwbuild.engines.docker.images import StageImage
from tests.support import containers, stage_images
from tests.support.commands import ROOT, mcwbuild

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]
phases = pytest.mark.parametrize("phase", PHASES.values(), ids=lambda phase: phase.name)
HARD: dict[str, Any] = {
    "network_mode": "none",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "tmpfs": {"/tmp": "rw,noexec,nosuid,nodev,mode=1777"},
    "pids_limit": 256,
    "remove": True,
}
CODE_HASH = """
import hashlib, pathlib
root, digest = pathlib.Path("/opt/mcwbuild/code"), hashlib.sha256()
for path in sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file() and p.suffix != ".pyc"):
    digest.update(f"{path}\\0{hashlib.sha256((root / path).read_bytes()).hexdigest()}\\n".encode())
print(digest.hexdigest())
"""
NEEDED = r"""
import pathlib, re
needed = {}
for path in pathlib.Path("/opt/mcwbuild/env").rglob("*.so*"):
    for symbol, version in re.findall(rb"\0(GLIBC|GLIBCXX)_(\d+(?:\.\d+)+)(?=\0)", path.read_bytes()):
        number = tuple(map(int, version.split(b".")))
        needed[symbol.decode()] = max(needed.get(symbol.decode(), (0,)), number)
print(sorted(needed.items()))
"""


@pytest.fixture(scope="module")
def client() -> DockerClient:
    return stage_images.client()


@pytest.fixture(scope="module")
def built() -> dict[Any, StageImage]:
    return stage_images.built()


def python(client: DockerClient, image: StageImage, text: str, **more: Any) -> str:
    """What Python prints in a container as hard as the engine's, of a user that no file of the image knows."""
    options = {**HARD, "user": "54321:54321", "entrypoint": ["python", "-s", "-P"], **more}
    output = client.containers.run(image.id, ["-c", text], **options)
    assert isinstance(output, bytes)
    return output.decode().strip()


@phases
def test_they_are_fresh_and_tagged(built: dict[Any, StageImage], phase: Phase) -> None:
    image = built[phase.name]
    assert image.stale is None
    assert set(recipes.recipe(phase).tags) <= set(image.tags)
    assert image.toolkit == ("2.3.2" if phase.name == "rknn" else None)


@phases
def test_the_code_is_what_a_stage_may_import(client: DockerClient, built: dict[Any, StageImage], phase: Phase) -> None:
    assert python(client, built[phase.name], CODE_HASH) == code.sha256()


@phases
def test_any_user_runs_them_on_a_read_only_root(
    client: DockerClient, built: dict[Any, StageImage], phase: Phase
) -> None:
    output = client.containers.run(built[phase.name].id, ["--help"], user="54321:54321", **HARD)
    assert b"--out" in output
    assert client.images.get(built[phase.name].id).attrs["Config"]["User"] == "10001:10001"


@phases
def test_python_is_whole_and_its_bytecode_is_there(
    client: DockerClient, built: dict[Any, StageImage], phase: Phase
) -> None:
    text = (
        "import bz2, ctypes, lzma, sqlite3, ssl, uuid, zlib, torch, stages.common.images as images, sys\n"
        "print(torch.__cached__, images.__cached__, torch.__version__, '%d.%d' % sys.version_info[:2])\n"
        "import pathlib; assert pathlib.Path(torch.__cached__).is_file() and pathlib.Path(images.__cached__).is_file()"
    )
    assert python(client, built[phase.name], text).endswith("2.13.0+cpu 3.11")


@phases
def test_nothing_is_left_of_the_build(client: DockerClient, built: dict[Any, StageImage], phase: Phase) -> None:
    """No installer, no compiler, no wheel, nothing in /tmp or /build, no file that its user may change."""
    text = (
        "import os, pathlib, shutil, importlib.util as u, json\n"
        "tools = [t for t in ('pip', 'pip3', 'uv', 'gcc', 'cc', 'make') if shutil.which(t)]\n"
        "modules = [m for m in ('pip', 'uv', 'ensurepip') if u.find_spec(m)]\n"
        "places = [str(p) for p in (pathlib.Path('/build'), *pathlib.Path('/tmp').iterdir()) if p.exists()]\n"
        "wheels = [str(p) for p in pathlib.Path('/opt').rglob('*.whl')]\n"
        "open_ = [p for d, _, fs in os.walk('/opt/mcwbuild') for p in (d, *(os.path.join(d, f) for f in fs))\n"
        "         if not os.path.islink(p) and os.stat(p).st_mode & 0o022]\n"
        "print(json.dumps([tools, modules, places, wheels, open_]))"
    )
    plain = {name: value for name, value in HARD.items() if name != "tmpfs"}
    output = client.containers.run(
        built[phase.name].id, ["-c", text], user="54321:54321", entrypoint=["python", "-s", "-P"], **plain
    )
    assert json.loads(output) == [[], [], [], [], []]


def test_the_rknn_image_asks_no_more_of_ubuntu_20_04_than_it_has(
    client: DockerClient, built: dict[Any, StageImage]
) -> None:
    """Ubuntu 20.04 has glibc 2.31, and GLIBCXX_3.4.28; the stand-in has newer ones, so its running proves less."""
    needed = dict(eval(python(client, built["rknn"], NEEDED)))
    assert needed["GLIBC"] <= (2, 31)
    assert needed["GLIBCXX"] <= (3, 4, 28)


@phases
def test_building_again_takes_all_from_the_cache(built: dict[Any, StageImage], phase: Phase) -> None:
    words = ("images", "build", phase.name, *stage_images.base_options()[phase.name], "--json")
    done = mcwbuild(*words, "--wheelhouse", stage_images.wheelhouse(), cwd=ROOT)
    assert done.code == 0, done.stderr
    [row] = done.json
    assert row["id"] == built[phase.name].id
    assert row["fresh"] is True


def test_the_dockerfile_builds_by_hand_from_a_checkout(
    client: DockerClient, built: dict[Any, StageImage], tmp_path: Path
) -> None:
    """`docker build -f docker/onnx/Dockerfile .`: the context is the checkout, through .dockerignore.

    What `mcwbuild images build` has made is taken from the cache: its layers are the same.
    """
    for place in ("docker", "schemas", "stages", "mcwbuild", ".dockerignore"):
        copy = shutil.copytree if (ROOT / place).is_dir() else shutil.copy
        copy(ROOT / place, tmp_path / place)
    for place in ("uv", "torch-cpu", "onnx"):
        shutil.copytree(stage_images.wheelhouse() / place, tmp_path / "wheels" / place)
    for path in tmp_path.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # as with the usual umask
    image, _ = client.images.build(
        path=str(tmp_path),
        dockerfile="docker/onnx/Dockerfile",
        buildargs={"BASE_IMAGE": base[1]} if (base := stage_images.base_options()["onnx"]) else {},
        network_mode="none",
        rm=True,
    )
    try:
        assert image.labels[recipes.PHASE] == "onnx"
        assert image.attrs["RootFS"] == client.images.get(built["onnx"].id).attrs["RootFS"]
        output = client.containers.run(image.id, ["--help"], user="54321:54321", **HARD)
        assert b"--out" in output
    finally:
        with suppress(APIError):  # the other one is made of it, but for its labels: so it should be, and it stays
            client.images.remove(str(image.id), noprune=True)


@pytest.fixture
def old(client: DockerClient) -> Iterator[str]:
    """An image of a phase that there is no more, so that nobody else's is pruned with it; its id."""
    labels = {**recipes.recipe(PHASES["onnx"]).labels(), recipes.PHASE: "tensorflow"}
    image = containers.built(client, {"Dockerfile": b"FROM scratch\nCOPY file /\n", "file": b""}, labels)
    yield image
    if image in {other.id for other in client.images.list(all=True)}:
        client.images.remove(image, force=True)


def test_list_and_prune_know_fresh_from_stale(client: DockerClient, built: dict[Any, StageImage], old: str) -> None:
    listed = {row["id"]: row for row in mcwbuild("images", "list", "--json", cwd=ROOT).json}
    assert listed[old]["stale"] == "there is no phase tensorflow"
    for image in built.values():
        assert listed[image.id]["fresh"] is True
        assert listed[image.id]["bytes"] > 10**9
    used = client.containers.create(old, ["/nothing"])
    kept = mcwbuild("images", "prune", "tensorflow", "--json", cwd=ROOT)
    assert [row["id"] for row in kept.json["images"] if row["kept"]] == [old]
    used.remove()
    others = {str(image.id) for image in client.images.list()} - {old}
    done = mcwbuild("images", "prune", "tensorflow", "--json", cwd=ROOT)
    assert done.code == 0, done.stderr
    assert [row["id"] for row in done.json["images"] if row["kept"] is None] == [old]
    assert {str(image.id) for image in client.images.list()} & (others | {old}) == others


def test_a_base_image_that_is_not_there() -> None:
    stage_images.base_options()
    words = ("images", "build", "onnx", "--base-image", "nowhere.invalid/python:0")
    done = mcwbuild(*words, "--wheelhouse", stage_images.wheelhouse(), cwd=ROOT)
    assert done.code == 5
    assert "The onnx image could not be built." in done.stderr
    assert "--base-image" in done.stderr


def test_a_step_that_fails_is_named_with_its_log(tmp_path: Path) -> None:
    """An own wheel of the toolkit that is none: uv refuses it inside the build."""
    stage_images.base_options()
    wheel = tmp_path / "rknn_toolkit2-2.0.0-cp311-cp311-linux_x86_64.whl"
    wheel.write_bytes(b"no wheel")
    words = ("images", "build", "rknn", *stage_images.base_options()["rknn"], "--toolkit-wheel", wheel)
    done = mcwbuild(*words, "--wheelhouse", stage_images.wheelhouse(), cwd=ROOT)
    assert done.code == 5, done.stderr
    assert "install.sh" in done.stderr
    log = next(word for word in done.stderr.split() if word.endswith(".log."))
    assert "rknn" in Path(log.rstrip(".")).read_text()
