"""A daemon of the test's own, in a network namespace of its own, that is stopped and started in mid-stage."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcwbuild.contract.errors import EnvironmentLacking, StageFailed
from mcwbuild.contract.events import Event, Noted
from mcwbuild.contract.phases import ONNX
from mcwbuild.engines import StageCall
from mcwbuild.engines.docker import attached
from mcwbuild.engines.docker.engine import DockerEngine
from tests.support import containers, own_daemon
from tests.support.own_daemon import Daemon

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def daemon(client: DockerClient, toy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    if reason := own_daemon.missing():
        pytest.skip(f"NOT RUN, {reason}")
    made = Daemon(tmp_path_factory.mktemp("d"))
    try:
        made.start()
        made.load(client, [toy])
        yield made
    finally:
        made.remove()


@pytest.fixture
def call(tmp_path: Path) -> StageCall:
    (tmp_path / "staging").mkdir(mode=0o700)
    return StageCall(ONNX, (), ("--do", "sleep"), tmp_path / "staging", tmp_path / "log", "n", timeout=90)


@pytest.fixture
def engine(daemon: Daemon, toy: str, monkeypatch: pytest.MonkeyPatch) -> DockerEngine:
    monkeypatch.setenv("DOCKER_HOST", daemon.address)
    return DockerEngine(find=lambda client, phase: toy)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_daemon_restarted_in_mid_stage_ends_the_run_and_leaves_no_container(
    number: int, daemon: Daemon, engine: DockerEngine, call: StageCall
) -> None:
    def restart(event: Event) -> None:
        if isinstance(event, Noted):
            daemon.end(number)
            daemon.start()

    with suppress(StageFailed):  # the container was stopped with the daemon, or is lost with it
        assert engine.run(call, restart) in (137, 143)
    own = daemon.client()
    assert containers.ours(own) == []
    own.close()


def test_a_daemon_that_stays_away_is_one_error(
    daemon: Daemon, engine: DockerEngine, call: StageCall, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(attached, "PATIENCE", 2.0)
    monkeypatch.setattr(attached, "REMOVAL", 2.0)

    def stop(event: Event) -> None:
        if isinstance(event, Noted):
            daemon.end(signal.SIGTERM)

    with pytest.raises(EnvironmentLacking) as raised:
        engine.run(call, stop)
    assert raised.value.kind in ("daemon", "docker")
    assert "lost" in call.log.read_text()
    daemon.start()
    monkeypatch.undo()
    monkeypatch.setenv("DOCKER_HOST", daemon.address)
    own = daemon.client()
    left = containers.ours(own)
    own.close()
    assert not any("running" in each for each in left)
