"""What a batch promises about work: each step once, whatever it is for; a kill loses no finished step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import MCWBUILD, ROOT, mcwbuild
from tests.support.counted import Counted
from tests.support.engines import alive, gone_soon

CLASSIFICATION = ROOT / "examples" / "classification"
TARGETS = ("--target", "rk3588,rk3566,rk3568")  # the last two share a build
WORDS = ("batch", "--models", "models.txt", *TARGETS, "--dtype", "fp16", "--tune", "off", "--jobs", "4")
LIST = """first/best.pt  data={data}
broken/best.pt data={data}
second/best.pt data={data}
"""


class World:
    """A folder with two models that are alike but for their names, and a broken one between them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.counted = folder / "work", Counted(folder / "cache")
        whole = (CLASSIFICATION / "best.pt").read_bytes()
        for name, content in (("first", whole), ("second", whole), ("broken", whole[:5000])):
            (self.folder / name).mkdir(parents=True)
            (self.folder / name / "best.pt").write_bytes(content)
        (self.folder / "models.txt").write_text(LIST.format(data=CLASSIFICATION / "data"))
        self.environment = {"MCWBUILD_CACHE": str(self.counted.folder), "MCWBUILD_ENGINE": "local"}

    def batch(self, *more: str, store: bool = False) -> dict[str, Any]:
        """The summary of a batch, which fails with code 7 for the broken model."""
        environment = {**self.environment, "MCWBUILD_STORE": str(store).lower()}
        done = mcwbuild(*WORDS, "--json", *more, cwd=self.folder, environment=environment)
        assert done.code == 7, done.stderr
        made: dict[str, Any] = json.loads(done.stdout)
        return made

    def manifests(self) -> dict[str, Any]:
        """When each package of the batch was begun, and its key."""
        found = {}
        for path in sorted((self.folder / "build").rglob("*_package/manifest.json")):
            made = json.loads(path.read_text())
            found[str(path.parent.relative_to(self.folder))] = (made["started"], made["provenance"]["key"])
        return found


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, dict[str, Any]]:
    """A batch from the beginning, without the store."""
    world = World(tmp_path_factory.mktemp("once"))
    return world, world.batch()


def test_a_model_is_exported_once_for_all_its_targets(once: tuple[World, dict[str, Any]]) -> None:
    world, _ = once
    counts = Counter(start for start in world.counted.starts() if start[1] != "broken")
    wanted = [(name, step) for name in ("first", "second") for step in (("pt", ""), ("onnx", ""))]
    wanted += [(name, ("rknn", target)) for name in ("first", "second") for target in ("rk3588", "rk3566", "rk3568")]
    assert counts == Counter((phase, name, target) for name, (phase, target) in wanted)
    for name in ("first", "second"):
        there = sorted(path.parent for path in (world.folder / "build" / name).rglob("best.onnx"))
        assert there == [world.folder / "build" / name / "onnx_package"]
        keys = {package: made[1] for package, made in world.manifests().items() if f"/{name}/" in package}
        assert len(keys) == len(set(keys.values())) == 5  # pt, onnx, and a package for each target


def test_what_takes_long_to_load_is_loaded_once_for_all_models(once: tuple[World, dict[str, Any]]) -> None:
    world, _ = once
    taken_over = 2  # what rk3568 takes from rk3566: no work for threads, so that its call does not name their number
    assert world.counted.forked() >= len(world.counted.starts()) - taken_over
    assert alive("fork_server.py") == []


def test_the_broken_model_fails_alone(once: tuple[World, dict[str, Any]]) -> None:
    world, made = once
    states = {one["name"]: (one["state"], one["code"]) for one in made["models"]}
    assert states == {"first": ("done", 0), "broken": ("failed", 2), "second": ("done", 0)}
    assert made["counts"] == {"done": 2, "gate_failed": 0, "failed": 1, "not_run": 0}
    assert not list((world.folder / "build" / "broken").rglob("SHA256SUMS"))
    assert {start[0] for start in world.counted.starts() if start[1] == "broken"} <= {"pt"}
    for name in ("first", "second"):
        assert mcwbuild("verify", world.folder / "build" / name, cwd=world.folder).code == 0


def test_models_that_are_alike_are_made_once_where_the_store_is_asked(tmp_path: Path) -> None:
    world = World(tmp_path)
    (world.folder / "models.txt").write_text(
        f"first/best.pt data={CLASSIFICATION / 'data'} name=alike\nbroken/best.pt data={CLASSIFICATION / 'data'}\n"
    )
    world.batch(store=True)
    before, stored = len(world.counted.starts()), world.counted.stored()
    assert len(stored) == 5
    (world.folder / "build").rename(world.folder / "earlier")
    again = world.batch(store=True)
    assert [one["state"] for one in again["models"]] == ["done", "failed"]
    assert {start[1] for start in world.counted.starts()[before:]} == {"broken"}
    assert world.counted.stored() == stored
    ours = world.manifests()
    (world.folder / "build").rename(world.folder / "later")
    (world.folder / "earlier").rename(world.folder / "build")
    assert world.manifests() == ours


def test_after_a_kill_no_finished_step_is_run_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    process = subprocess.Popen(
        [*MCWBUILD, *WORDS],
        cwd=world.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MCWBUILD_STORE": "false", **world.environment},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 120
    while not list((world.folder / "build").glob("*/onnx_package/SHA256SUMS")) and time.monotonic() < until:
        time.sleep(0.05)
    with gone_soon(str(world.folder / "build")):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    finished, before = world.manifests(), world.counted.starts()
    assert "pt_package" in str(finished)
    assert 3 <= len(finished) < 10
    planned = {name: world_plan(world, name) for name in ("first", "second")}
    world.batch()
    after = world.manifests()
    assert len(after) == 10
    assert {package: after[package] for package in finished} == finished
    done = {(Path(package).parts[1], *step_of(package)) for package in finished}
    again = {(name, phase, target) for phase, name, target in world.counted.starts()[len(before) :]}
    assert not done & again
    everything = {(Path(package).parts[1], *step_of(package)) for package in after}
    assert again - {one for one in again if one[0] == "broken"} == everything - done
    for name, states in planned.items():
        fresh = {step for step, state in states.items() if state == "fresh"}
        assert fresh == {" ".join(step[1:]).strip() for step in done if step[0] == name}


def step_of(package: str) -> tuple[str, str]:
    """The phase of a package by its path, and its target."""
    parts = Path(package).parts
    return parts[-1].removesuffix("_package"), parts[2] if parts[-1] == "rknn_package" else ""


def world_plan(world: World, name: str) -> dict[str, str]:
    """What `plan` says of each step of a model."""
    words = ("--pt", f"{name}/best.pt", "--name", name, "--data", CLASSIFICATION / "data", *TARGETS, "--dtype", "fp16")
    done = mcwbuild(
        *("plan", *words, "--tune", "off", "--format", "json"), cwd=world.folder, environment=world.environment
    )
    assert done.code == 0, done.stderr
    return {one["step"]: one["state"] for one in json.loads(done.stdout)}
