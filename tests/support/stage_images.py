"""The three stage images, built once for all tests that need them: by the command line, without a network."""

from __future__ import annotations

import os
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from docker.errors import DockerException

from mcwbuild.contract.errors import McwbuildError
from mcwbuild.contract.phases import PHASES, PhaseName
from mcwbuild.engines.docker import bases, daemon, images
from mcwbuild.engines.environments import cache_folder
from tests.support import standin_base
from tests.support.commands import ROOT, mcwbuild

if TYPE_CHECKING:
    from docker import DockerClient

STAND_INS = {
    "pt": ("--base-image", standin_base.PYTHON),
    "onnx": ("--base-image", standin_base.PYTHON),
    "rknn": ("--base-image", standin_base.UBUNTU, "--python-image", standin_base.PYTHON),
}


@cache
def client() -> DockerClient:
    """A client of this machine's daemon; skips the test, loudly, where none answers."""
    try:
        return daemon.connect()
    except McwbuildError as error:
        pytest.skip(f"NOT RUN, no Docker daemon: {error.found}")


@cache
def wheelhouse() -> Path:
    """All wheels of the three images, kept in the user's cache."""
    folder = Path(os.environ.get("MCWBUILD_WHEELHOUSE") or cache_folder() / "wheelhouse")
    done = mcwbuild("images", "wheelhouse", folder, cwd=ROOT)
    assert done.code == 0, done.stderr
    return folder


@cache
def base_options() -> dict[str, tuple[str, ...]]:
    """Phase -> the options of `images build` that name its base images: stand-ins, made where they are not there.

    Where none can be made the true ones are pulled; where that fails too the test is skipped, loudly. The wheels come
    meanwhile.
    """
    there = all(standin_base.labels(client(), name) for name in (standin_base.PYTHON, standin_base.UBUNTU))
    obstacle = None if there else standin_base.obstacle()
    if obstacle is not None:
        try:
            for base in {base for phase in PHASES.values() for base in bases.bases(phase)}:
                client().images.pull(base.reference)
        except DockerException as error:
            pytest.skip(f"NOT RUN, no base images: {obstacle}, and none can be pulled: {error}")
        return dict.fromkeys(PHASES, ())
    meanwhile = threading.Thread(target=wheelhouse)
    meanwhile.start()
    standin_base.make(client())
    meanwhile.join()
    return STAND_INS


@cache
def built() -> dict[PhaseName, images.StageImage]:
    """The fresh image of each phase, built unless Docker's cache has it."""
    options = base_options()
    made: dict[PhaseName, images.StageImage] = {}
    for phase in PHASES.values():
        done = mcwbuild("images", "build", phase.name, *options[phase.name], "--wheelhouse", wheelhouse(), cwd=ROOT)
        assert done.code == 0, done.stderr
        image = images.find(client(), phase)
        assert image is not None
        made[phase.name] = image
    return made
