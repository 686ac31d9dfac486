"""What becomes of a run when memory, disk, container, orchestrator or daemon fail under it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcwbuild import pipeline
from mcwbuild.contract.errors import EnvironmentLacking, StageFailed
from mcwbuild.contract.events import Event, Noted
from mcwbuild.contract.phases import ONNX
from mcwbuild.engines import StageCall
from mcwbuild.engines.docker import sweep
from mcwbuild.engines.docker.container import Host
from mcwbuild.engines.docker.engine import DockerEngine
from mcwbuild.plan import Step
from tests.support import containers
from tests.support.commands import ROOT
from tests.support.engines import Silent

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker

MEMORY = 256 << 20


def ignore(event: Event) -> None:
    """Nobody listens."""


@pytest.fixture
def call(tmp_path: Path) -> StageCall:
    (tmp_path / "staging").mkdir(mode=0o700)
    (tmp_path / "best.pt").write_bytes(b"model")
    return StageCall(
        ONNX, (("--pt", tmp_path / "best.pt"),), ("--do", "sleep"), tmp_path / "staging", tmp_path / "log", "n"
    )


@pytest.mark.parametrize("where", ["main", "child"])
def test_out_of_memory_is_seen_even_where_the_stage_says_that_all_is_well(
    where: str, call: StageCall, hostile: str
) -> None:
    engine = DockerEngine(MEMORY, find=lambda client, phase: hostile)
    with pytest.raises(StageFailed) as raised:
        engine.run(replace(call, options=("--do", "eat", where), timeout=120), ignore)
    assert raised.value.kind == "out-of-memory"
    assert "0.3 GB" in raised.value.found


def test_a_gpu_without_its_container_toolkit_is_told_as_such(
    call: StageCall, toy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = DockerEngine(find=lambda client, phase: toy)
    if "nvidia" in engine._info.get("Runtimes", {}):
        pytest.skip("NOT RUN, this machine has the container toolkit")
    monkeypatch.setattr(DockerEngine, "_host", lambda *_: Host((), gpus=True))
    with pytest.raises(EnvironmentLacking) as raised:
        engine.run(call, ignore)
    assert raised.value.kind == "gpu"
    assert "container toolkit" in raised.value.remedy


def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path: Path, hostile: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT RUN, mounting a small file system needs root")
    out, model = tmp_path / "out", tmp_path / "best.pt"
    out.mkdir()
    model.write_bytes(b"model")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(out)], check=True)
    try:
        step = Step("onnx", ONNX, (("--pt", model),), ("--do", "fill"), (), out / ONNX.package)
        engine = DockerEngine(find=lambda client, phase: hostile)
        with pytest.raises((StageFailed, EnvironmentLacking)) as raised:
            pipeline.execute([step], engine, out, Silent())
        assert raised.value.what
        assert sorted(path.name for path in out.iterdir() if path.name != ".lock") == ["logs"]
    finally:
        subprocess.run(["umount", str(out)], check=True)


def test_a_container_killed_from_outside_is_no_result(client: DockerClient, toy: str, tmp_path: Path) -> None:
    model = tmp_path / "best.pt"
    model.write_bytes(b"model")

    class Killer(Silent):
        def emit(self, event: Event) -> None:
            if isinstance(event, Noted):
                for found in client.api.containers(filters={"label": f"{sweep.OWNER}={sweep.owner()}"}):
                    client.api.kill(found["Id"])

    step = Step("onnx", ONNX, (("--pt", model),), ("--do", "sleep"), (), tmp_path / "out" / ONNX.package)
    with pytest.raises(StageFailed, match="without an outcome"):
        pipeline.execute([step], DockerEngine(find=lambda client, phase: toy), tmp_path / "out", Killer())
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.name != ".lock") == ["logs"]


def test_a_container_that_somebody_removes_is_no_result(client: DockerClient, toy: str, call: StageCall) -> None:
    def remove(event: Event) -> None:
        if isinstance(event, Noted):
            for found in client.api.containers(filters={"label": f"{sweep.OWNER}={sweep.owner()}"}):
                client.api.remove_container(found["Id"], force=True)

    with pytest.raises(StageFailed) as raised:
        DockerEngine(find=lambda client, phase: toy).run(call, remove)
    assert raised.value.kind == "engine-lost"


ORCHESTRATOR = """
import sys
from pathlib import Path
from mcwbuild.contract.phases import ONNX
from mcwbuild.engines import StageCall
from mcwbuild.engines.docker.engine import DockerEngine
base = Path(sys.argv[1])
call = StageCall(ONNX, (), ("--do", "sleep"), base / "staging", base / "log", "n")
DockerEngine(find=lambda client, phase: sys.argv[2]).run(call, lambda event: print(event, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_orchestrators_stage_ends_and_the_next_command_removes_its_container(
    number: int, client: DockerClient, toy: str, call: StageCall
) -> None:
    orchestrator = subprocess.Popen(
        [sys.executable, "-c", ORCHESTRATOR, str(call.staging.parent), toy],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert orchestrator.stdout is not None
    for line in orchestrator.stdout:
        if "family" in line:
            break
    assert any("running" in each for each in containers.ours(client))
    orchestrator.send_signal(number)
    assert orchestrator.wait(20) == -number
    deadline = time.monotonic() + 10
    while any("running" in each for each in containers.ours(client)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any("running" in each for each in containers.ours(client))
    DockerEngine(find=lambda client, phase: toy).health(ONNX)
    assert containers.ours(client) == []


def test_what_other_machines_and_living_processes_started_is_left_alone(client: DockerClient, toy: str) -> None:
    def create(label: str) -> str:
        return str(client.api.create_container(toy, ["x"], labels={sweep.OWNER: label})["Id"])

    made = [create(f"elsewhere/{os.getpid()}/1"), create(sweep.owner())]
    gone = create(f"{os.uname().nodename}/{os.getpid()}/12")  # the number is this process's, the start is not
    try:
        assert sweep.orphans(client) == 1
        left = {each["Id"] for each in client.api.containers(all=True, filters={"label": sweep.OWNER})}
        assert left == set(made)
        assert gone not in left
    finally:
        for each in made:
            client.api.remove_container(each, force=True)


def test_an_interrupted_run_removes_its_container_at_once(client: DockerClient, toy: str, call: StageCall) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Noted):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DockerEngine(find=lambda client, phase: toy).run(call, interrupt)
    assert containers.ours(client) == []
    assert not any(thread.name == "mcwbuild-container" and thread.is_alive() for thread in threading.enumerate())
