"""What the plan says of a change: which steps it makes stale, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcwbuild import pipeline
from mcwbuild.contract import documents
from mcwbuild.store import Store
from tests.support.cache_trials import CHANGES, Silent, World, build, trial


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build(tmp_path_factory.mktemp("world") / "made")


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_makes_stale_what_depends_on_it_and_nothing_else(kind: str, made: World, tmp_path: Path) -> None:
    for seed in range(3):
        assert trial(kind, seed, made, tmp_path / str(seed)) == ""


def reasons(world: World) -> dict[str, tuple[str, ...]]:
    return {one.step.name: one.reasons for one in world.planned()}


def test_the_reasons_name_what_changed(tmp_path: Path) -> None:
    world = build(tmp_path / "world")
    assert reasons(world) == {"pt": (), "onnx": (), "rknn": ()}
    world.flags["opset"] = 13
    assert reasons(world) == {"pt": (), "onnx": ("option --opset 17 -> 13",), "rknn": ("the onnx step is stale",)}
    del world.flags["opset"]
    path = world.folder / "training_source.yaml"
    value = documents.read_yaml(path).value
    value["classes"]["names"][0] = "another"
    documents.write_yaml(path, value)
    assert reasons(world)["pt"] == ("classes.names changed in training_source.yaml",)
    documents.write_yaml(path, {**value, "model": {**value["model"], "author": "somebody"}})
    world.engine.environment["pt"]["code"] = "d" * 64
    assert reasons(world)["pt"][-1] == "code of the stages changed"


def test_a_stale_step_that_the_store_holds_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", 1 << 30)
    world = build(tmp_path / "world", store)
    other = World(world.folder, {**world.flags, "target": "rk3576"}, world.engine)
    assert [(one.state, one.stored) for one in other.planned(store)] == [
        ("fresh", False),
        ("fresh", False),
        ("stale", False),
    ]
    pipeline.execute(other.steps(), world.engine, other.out, Silent(), store=store)
    assert [one.stored for one in world.planned(store)] == [False, False, True]
