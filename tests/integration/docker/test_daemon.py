"""A daemon of the test's own, in a network namespace of its own, that is stopped and started in mid-stage."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcwbuild.contract.errors import EnvironmentLacking, StageFailed
from mcwbuild.contract.events import Event, Noted
from mcwbuild.contract.phases import ONNX
from mcwbuild.engines import StageCall
from mcwbuild.engines.docker import attached
from mcwbuild.engines.docker.engine import DockerEngine
from tests.support import containers

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker


@dataclass
class Daemon:
    """One dockerd below `folder`; it shares nothing with the machine's own."""

    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def address(self) -> str:
        """For DOCKER_HOST."""
        return f"unix://{self.folder}/docker.sock"

    def start(self) -> None:
        """Starts it and waits until it answers."""
        from docker.errors import DockerException

        for stale in self.folder.glob("exec/containerd/containerd.*"):  # they make a start after SIGKILL fail
            stale.unlink()
        options = ["--bridge=none", "--iptables=false", "--ip-masq=false", f"--host={self.address}"]
        roots = [f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec", f"--pidfile={self.folder}/pid"]
        with (self.folder / "log").open("ab") as log:
            # `--bridge none` removes the machine's docker0 unless it is in a namespace of its own
            self.process = subprocess.Popen(
                ["unshare", "-n", "-m", "dockerd", *options, *roots], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with suppress(DockerException):
                self.client().close()
                return
            time.sleep(0.1)
        pytest.skip(f"NOT RUN, a second dockerd does not start here: {(self.folder / 'log').read_text()[-500:]}")

    def client(self) -> DockerClient:
        """A client of it."""
        from docker import DockerClient

        return DockerClient(self.address, timeout=120)

    def end(self, number: int) -> None:
        """Sends it a signal and waits until it is gone."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(60)


@pytest.fixture(scope="module")
def daemon(client: DockerClient, toy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        pytest.skip("NOT RUN, a second dockerd needs root and Docker's daemon")
    made = Daemon(tmp_path_factory.mktemp("d"))
    try:
        made.start()
        own = made.client()
        own.images.load(b"".join(client.images.get(toy).save()))
        own.close()
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            made.end(signal.SIGTERM)
        shutil.rmtree(made.folder)


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
