"""Tests against the real Docker daemon. Where none runs they are skipped, and say so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from mcwbuild.contract.phases import ONNX
from tests.support import containers, stage_images

if TYPE_CHECKING:
    from docker import DockerClient


@pytest.fixture(scope="session")
def client() -> DockerClient:
    return stage_images.client()


@pytest.fixture(scope="session")
def toy(client: DockerClient) -> str:
    """The id of an image whose onnx stage is tests/support/toy_stage.py."""
    return containers.toy_image(client, ONNX)


@pytest.fixture(scope="session")
def hostile(client: DockerClient) -> str:
    """The id of an image whose onnx stage is tests/support/hostile_stage.py."""
    return containers.toy_image(client, ONNX, containers.HOSTILE)


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """Phase -> id of its image, built by `mcwbuild images` from stand-in bases and a wheelhouse, without a network."""
    return {name: image.id for name, image in stage_images.built().items()}


@pytest.fixture(autouse=True)
def nothing_is_left(client: DockerClient) -> Iterator[None]:
    """After each test, no container of ours is there."""
    yield
    assert containers.ours(client) == []
