"""What callers rely on, for every engine alike: docker, local, forking and dask with a toy stage, and the fake."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from mcwbuild.contract.errors import EnvironmentLacking, StageFailed
from mcwbuild.contract.events import Event, Finished, Noted, Progressed, Started
from mcwbuild.contract.phases import ONNX, RKNN, Phase
from mcwbuild.engines import Engine, StageCall
from mcwbuild.engines.dask.engine import DaskEngine
from mcwbuild.engines.docker.engine import DockerEngine
from mcwbuild.engines.local import LocalEngine
from tests.support import containers, dask_cluster, stage_images
from tests.support.engines import FakeEngine, toy_code, toy_environment


def ignore(event: Event) -> None:
    """Nobody listens."""


def docker_engine() -> Engine:
    """The docker engine with one image, whose onnx stage is the toy."""
    toy = containers.toy_image(stage_images.client(), ONNX)

    def find(_client: object, phase: Phase) -> str:
        if phase is not ONNX:
            raise EnvironmentLacking(f"The {phase.name} stage has no image to run in.", f"No {phase.name} image.")
        return toy

    return DockerEngine(find=find)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dask_cluster.Processes]:
    made = dask_cluster.toy_cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()


@pytest.fixture(params=["fake", "local", "forking", pytest.param("docker", marks=pytest.mark.docker), "dask"])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    if request.param == "fake":
        yield FakeEngine()
    elif request.param == "docker":
        yield docker_engine()
    elif request.param == "dask":
        processes: dask_cluster.Processes = request.getfixturevalue("cluster")
        made = DaskEngine(processes.cluster, make=dask_cluster.toy_engine)
        yield made
        made.close()
    else:
        monkeypatch.setenv("MCWBUILD_CACHE", str(tmp_path / "cache"))
        toy_environment(ONNX)
        local = LocalEngine(toy_code(tmp_path / "code", ONNX), loaded="decimal")
        if request.param == "local":
            yield local
            return
        with local.forking(os.cpu_count() or 1) as told:
            monkeypatch.setattr(os, "environ", {**os.environ, **told})
            yield local


@pytest.fixture
def call(tmp_path: Path) -> StageCall:
    staging = tmp_path / "staging"
    staging.mkdir()
    model = tmp_path / "a model's.pt"
    model.write_bytes(b"model")
    return StageCall(ONNX, (("--pt", model),), ("--do", "done"), staging, tmp_path / "logs" / "onnx.log", "n1")


def test_it_has_a_name_and_an_identity_that_preparing_does_not_change(engine: Engine) -> None:
    before = engine.identity(ONNX)
    assert engine.name
    assert before
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in before.items())
    engine.prepare(ONNX, ignore)
    assert engine.identity(ONNX) == before


def test_two_phases_never_have_one_identity(engine: Engine) -> None:
    with suppress(EnvironmentLacking):  # an image that is not there has no identity
        assert engine.identity(ONNX) != engine.identity(RKNN)


def test_once_prepared_it_is_healthy_and_preparing_again_is_silent(engine: Engine) -> None:
    assert engine.can_prepare(ONNX) is None
    engine.prepare(ONNX, ignore)
    assert engine.health(ONNX) is None
    said: list[Event] = []
    engine.prepare(ONNX, said.append)
    assert said == []


def test_a_phase_that_was_not_prepared_is_refused_with_the_reason(engine: Engine, call: StageCall) -> None:
    assert engine.health(RKNN)
    with pytest.raises(EnvironmentLacking, match="rknn"):
        engine.run(replace(call, phase=RKNN), ignore)


def test_a_stage_that_ends_well_leaves_its_output_and_outcome(engine: Engine, call: StageCall) -> None:
    engine.prepare(ONNX, ignore)
    assert engine.run(call, ignore) == 0
    assert list((call.staging / "out").iterdir())
    assert json.loads((call.staging / "result.json").read_text())["nonce"] == "n1"


def test_events_arrive_in_order_and_noise_goes_to_the_log_only(engine: Engine, call: StageCall) -> None:
    engine.prepare(ONNX, ignore)
    call.log.parent.mkdir()
    call.log.write_text("an older run")
    said: list[Event] = []
    engine.run(call, said.append)
    assert said == [Started("work", "done"), Progressed("work", 1, 2), Finished("work", 0.1)]
    assert "a library's noise\n" in call.log.read_text()
    assert "older" not in call.log.read_text()


def test_a_stage_names_files_as_the_caller_does(engine: Engine, call: StageCall) -> None:
    engine.prepare(ONNX, ignore)
    model = call.staging.parent / 'größe "1".pt'
    model.write_bytes(b"model")
    said: list[Event] = []
    assert engine.run(replace(call, inputs=(("--pt", model),), options=("--do", "name")), said.append) == 0
    assert said[1:] == [Noted(f"{model}:1:2 is odd")]
    assert json.loads((call.staging / "result.json").read_text())["found"] == f"{model}:1:2"


@pytest.mark.parametrize("code", [1, 2, 3, 4, 6])
def test_the_stages_exit_code_is_the_engines_answer(engine: Engine, call: StageCall, code: int) -> None:
    engine.prepare(ONNX, ignore)
    assert engine.run(replace(call, options=("--do", "exit", str(code))), ignore) == code


def test_a_stage_that_takes_too_long_becomes_one_typed_error(engine: Engine, call: StageCall) -> None:
    engine.prepare(ONNX, ignore)
    with pytest.raises(StageFailed) as raised:
        engine.run(replace(call, options=("--do", "sleep"), timeout=0.5), ignore)
    assert raised.value.kind == "timeout"


def test_a_stage_that_is_told_to_stop_becomes_one_typed_error(engine: Engine, call: StageCall) -> None:
    engine.prepare(ONNX, ignore)
    stop = threading.Event()
    threading.Timer(1.0, stop.set).start()
    with pytest.raises(StageFailed) as raised:
        engine.run(replace(call, options=("--do", "sleep"), stop=stop), ignore)
    assert raised.value.kind == "stopped"


def test_what_the_listener_raises_comes_out(engine: Engine, call: StageCall) -> None:
    engine.prepare(ONNX, ignore)

    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt(event)

    with pytest.raises(KeyboardInterrupt):
        engine.run(call, interrupt)
