"""Wheelhouses and indexes: what is there, what lacks, and what a build is told about the network."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcwbuild.contract import disk
from mcwbuild.contract.errors import EnvironmentLacking, InputError
from mcwbuild.contract.events import Event, Noted
from mcwbuild.contract.phases import ONNX
from mcwbuild.engines.docker import recipes, wheelhouse
from mcwbuild.engines.docker.sources import Sources
from tests.unit.engines.test_environments import write_wheel

UV, TORCH, TOY = (
    "uv-0.9.0-py3-none-any.whl",
    "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl",
    "toy_package-1.0-py3-none-any.whl",
)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheelhouse of toy wheels, and locks that name them."""
    folder = tmp_path / "house"
    locks = {}
    for place, file in (("uv", UV), ("torch-cpu", TORCH), ("onnx", TOY)):
        (folder / place).mkdir(parents=True)
        write_wheel(folder / place, file)
        name, version = wheelhouse.key(Path(file))
        digest = disk.sha256_of(folder / place / file)
        locks[place] = f"{name}=={version} \\\n    --hash=sha256:{digest}\n".encode()
    monkeypatch.setattr(wheelhouse, "locks", lambda recipe: locks)
    return folder


def test_a_whole_wheelhouse_goes_into_the_context(house: Path) -> None:
    context = wheelhouse.take(house, recipes.recipe(ONNX))
    assert context == {
        f"wheels/uv/{UV}": house / "uv" / UV,
        f"wheels/torch-cpu/{TORCH}": house / "torch-cpu" / TORCH,
        f"wheels/onnx/{TOY}": house / "onnx" / TOY,
    }


def test_what_is_missing_or_another_file_is_named(house: Path) -> None:
    (house / "uv" / UV).unlink()
    (house / "onnx" / TOY).write_bytes(b"something else")
    with pytest.raises(InputError) as caught:
        wheelhouse.take(house, recipes.recipe(ONNX))
    assert "uv/uv==0.9.0 is not there" in caught.value.found
    assert f"onnx/{TOY} is not the file that the lock names" in caught.value.found
    assert f"mcwbuild images wheelhouse {house}" in caught.value.remedy


def test_a_whole_wheelhouse_is_not_downloaded_again(house: Path) -> None:
    said: list[Event] = []
    wheelhouse.fill(house, [recipes.recipe(ONNX)], said.append)
    assert [type(event) for event in said] == [Noted] * 3


def test_the_rest_is_downloaded_by_the_real_pip(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = house.parent / "shelf"
    shelf.mkdir()
    (house / "onnx" / TOY).rename(shelf / TOY)
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    wheelhouse.fill(house, [recipes.recipe(ONNX)], lambda event: None, ["--no-index"])
    assert (house / "onnx" / TOY).is_file()
    (house / "onnx" / TOY).unlink()
    (shelf / TOY).write_bytes(b"something else")
    with pytest.raises(EnvironmentLacking, match="The wheels of onnx could not be downloaded"):
        wheelhouse.fill(house, [recipes.recipe(ONNX)], lambda event: None, ["--no-index"])


def test_every_lock_of_the_project_is_read_whole() -> None:
    for recipe in (recipes.recipe(ONNX), recipes.recipe(recipes.RKNN, toolkit="2.5.0")):
        for lock in wheelhouse.locks(recipe).values():
            pins = wheelhouse.pinned(lock)
            assert len(pins) == lock.count(b"==")
            assert sum(map(len, pins.values())) == lock.count(b"--hash=")


def test_a_build_is_told_addresses_and_no_folders() -> None:
    environment = {
        "PIP_EXTRA_INDEX_URL": "file:///srv/simple https://mirror.example/simple",
        "UV_DEFAULT_INDEX": "https://index.example/simple",
        "https_proxy": "http://proxy.example:3128",
    }
    assert Sources().arguments(environment) == {
        "PIP_INDEX_URL": "https://index.example/simple",
        "PIP_EXTRA_INDEX_URL": "https://mirror.example/simple",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "https_proxy": "http://proxy.example:3128",
    }
    assert Sources(index_url="https://mine.example").arguments(environment)["PIP_INDEX_URL"] == "https://mine.example"


def test_a_wheelhouse_means_no_network(house: Path) -> None:
    sources = Sources(house)
    assert not sources.network
    assert sources.arguments({"HTTPS_PROXY": "http://proxy.example:3128"}) == {}


def test_the_ca_bundle_goes_to_the_build(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("certificates")
    named = Sources(ca_bundle=tmp_path / "ca.pem").files(recipes.recipe(ONNX), {})
    assert named["ca/ca-bundle.pem"] == tmp_path / "ca.pem"
    usual = Sources().files(recipes.recipe(ONNX), {"PIP_CERT": str(tmp_path / "ca.pem")})
    assert usual["ca/ca-bundle.pem"] == tmp_path / "ca.pem"
    with pytest.raises(InputError, match="no such CA bundle"):
        Sources(ca_bundle=tmp_path / "absent").files(recipes.recipe(ONNX), {})
