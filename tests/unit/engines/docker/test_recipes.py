"""Recipes and build contexts: what is sent, how it is labelled, and when an image is stale. No daemon is asked."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from mcwbuild import __version__
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.phases import ONNX, PHASES, PT, RKNN, Phase
from mcwbuild.engines import code
from mcwbuild.engines.docker import bases, context, recipes, wheelhouse

phases = pytest.mark.parametrize("phase", PHASES.values(), ids=lambda phase: phase.name)
OWN = "rknn_toolkit2-2.0.0b0-cp311-cp311-linux_x86_64.whl"


def own_wheel(folder: Path) -> Path:
    wheel = folder / OWN
    wheel.write_bytes(b"an own wheel")
    return wheel


@phases
def test_an_image_holds_what_a_stage_may_import_and_nothing_else(phase: Phase) -> None:
    files = recipes.recipe(phase).files()
    others = {place for place in files if not place.startswith("docker/")} - set(code.files())
    assert set(code.files()) <= set(files)
    assert others <= {recipes.SUPERVISOR}
    assert sorted(place for place in files if place.endswith(".lock")) == sorted(
        ["docker/installer.lock", "docker/pt/torch-cpu.lock", f"docker/{phase.name}/requirements.lock"]
    )
    assert not [place for place in files if "__pycache__" in place or place.endswith(".pyc")]


@phases
def test_todays_labels_are_fresh(phase: Phase) -> None:
    labels = recipes.recipe(phase).labels()
    assert labels[recipes.PHASE] == phase.name
    assert labels[recipes.CODE] == code.sha256()
    assert labels[recipes.VERSION] == __version__
    assert recipes.stale(labels) is None


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (recipes.CODE, "the stages' code changed"),
        (recipes.LOCKS, "its locks changed"),
        (recipes.RECIPE, "its Dockerfile changed"),
        (recipes.BASE_DIGEST, "its base image changed"),
    ],
)
def test_another_hash_makes_an_image_stale(label: str, reason: str) -> None:
    assert recipes.stale({**recipes.recipe(ONNX).labels(), label: "0" * 64}) == reason


def test_a_base_image_of_ones_own_is_no_reason() -> None:
    assert recipes.stale(recipes.recipe(ONNX, base_image="mirror.local/python:3.11").labels()) is None


def test_an_image_built_by_hand_says_nothing() -> None:
    assert "by hand" in (recipes.stale({recipes.PHASE: "pt"}) or "")


def test_tags_name_version_and_variant(tmp_path: Path) -> None:
    assert recipes.recipe(ONNX).tags == (f"mcwbuild/onnx:{__version__}", "mcwbuild/onnx:latest")
    assert recipes.recipe(PT, torch="cuda").tags == (f"mcwbuild/pt:{__version__}-cuda",)
    assert recipes.recipe(RKNN, toolkit="2.5.0").tags == (f"mcwbuild/rknn:{__version__}-toolkit2.5.0",)
    assert recipes.recipe(RKNN, wheel=own_wheel(tmp_path)).tags == (f"mcwbuild/rknn:{__version__}-toolkit2.0.0b0",)


def test_cuda_is_for_the_phase_with_a_gpu() -> None:
    assert recipes.recipe(PT, torch="cuda").arguments()["TORCH"] == "cuda"
    assert recipes.recipe(ONNX, torch="cuda").arguments()["TORCH"] == "cpu"


def test_toolkits_have_a_lock_each() -> None:
    assert list(recipes.toolkit_versions()) == ["2.3.2", "2.5.0"]
    assert b"rknn-toolkit2==2.5.0" in recipes.recipe(RKNN, toolkit="2.5.0").requirements()
    with pytest.raises(InputError, match="There is no lock for RKNN-Toolkit2"):
        recipes.recipe(RKNN, toolkit="9.9")


def test_an_own_wheel_takes_the_toolkits_place_in_the_lock(tmp_path: Path) -> None:
    ours, theirs = recipes.recipe(RKNN, wheel=own_wheel(tmp_path)), recipes.recipe(RKNN)
    pins, before = wheelhouse.pinned(ours.requirements()), wheelhouse.pinned(theirs.requirements())
    digest = hashlib.sha256(b"an own wheel").hexdigest()
    assert pins.pop(("rknn-toolkit2", "2.0.0b0")) == {digest}
    before.pop(("rknn-toolkit2", "2.3.2"))
    assert pins == before
    assert recipes.stale(ours.labels()) is None


@pytest.mark.parametrize("name", ["rknn_toolkit2-2.0.0-cp38-cp38-linux_x86_64.whl", "toolkit.whl", "absent"])
def test_a_wheel_that_cannot_serve_is_refused(tmp_path: Path, name: str) -> None:
    wheel = tmp_path / (OWN if name == "absent" else name)
    if name != "absent":
        wheel.write_bytes(b"")
    with pytest.raises(InputError, match="no wheel of RKNN-Toolkit2"):
        recipes.recipe(RKNN, wheel=wheel)


def test_other_base_images_take_the_place_of_the_tables() -> None:
    found = bases.bases(RKNN, "mirror.local/ubuntu:20.04@sha256:" + "1" * 64)
    assert found[0].reference == "mirror.local/ubuntu:20.04@sha256:" + "1" * 64
    assert found[1].image == "python:3.11-slim-bullseye"
    assert bases.verified(found[0].reference) == "not one of docker/images.yaml"
    assert bases.verified(found[1].reference) == "not verified by a pull yet"


def test_the_context_is_a_tar_that_depends_on_names_and_contents_only(tmp_path: Path) -> None:
    """Read by tarfile, which did not write it; longer than a block, empty, and with a long name."""
    long = "a/" * 60 + "file"
    files: dict[str, Path | bytes] = {"big": b"x" * 70_000, "empty": b"", long: b"y", "script": tmp_path / "script"}
    (tmp_path / "script").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "script").chmod(0o700)
    sent: list[int] = []
    data = b"".join(context.stream(files, sent.append))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        kept = [member for member in archive if member.isfile()]
        held = {member.name: archive.extractfile(member).read() for member in kept}  # type: ignore[union-attr]
        assert {member.mode for member in kept} == {0o644}
        assert len({member.mtime for member in archive}) == 1
        folders = {member.name: member.mode for member in archive if member.isdir()}
        assert folders == {"/".join(["a"] * depth): 0o755 for depth in range(1, 61)}
    assert held == {"big": b"x" * 70_000, "empty": b"", long: b"y", "script": b"#!/bin/sh\n"}
    assert sent[-1] == context.size(files) == 70_011
    (tmp_path / "script").touch()
    assert b"".join(context.stream(files)) == data
