"""What a stage can reach from inside its container, told by a stage that tries."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from mcwbuild.contract.events import Event
from mcwbuild.contract.phases import PHASES
from mcwbuild.engines import StageCall
from mcwbuild.engines.docker.container import NOBODY
from mcwbuild.engines.docker.engine import DockerEngine
from tests.support import containers

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker

MEMORY = 512 << 20


def ignore(event: Event) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def listeners() -> Iterator[tuple[str, list[int]]]:
    """The bridge's address, and two ports that the host listens on: on loopback and on every address."""
    with ExitStack() as stack:
        ports = []
        for place in ("127.0.0.1", "0.0.0.0"):
            server = stack.enter_context(socket.create_server((place, 0)))
            ports.append(server.getsockname()[1])
        with socket.create_connection(("127.0.0.1", ports[0]), 1):
            pass  # they can be reached from here
        yield "172.17.0.1", ports


@pytest.fixture(scope="module", params=PHASES)
def seen(
    request: pytest.FixtureRequest,
    client: DockerClient,
    images: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
    listeners: tuple[str, list[int]],
) -> dict[str, Any]:
    """What the stage wrote down, in a container of each phase's own image."""
    phase = PHASES[request.param]
    hostile = containers.hostile_image(client, images[phase.name], phase)
    folder = tmp_path_factory.mktemp("walls")
    (folder / "staging").mkdir(mode=0o700)
    (folder / "best.pt").write_bytes(b"model")
    (folder / "best.pt").chmod(0o600)
    os.environ["SECRET_OF_THE_HOST"] = "sentinel"
    host, ports = listeners
    call = StageCall(
        phase,
        (("--pt", folder / "best.pt"),),
        ("--do", "probe", host, *map(str, ports)),
        folder / "staging",
        folder / "log",
        "n",
        timeout=60,
    )
    try:
        assert DockerEngine(MEMORY, find=lambda _client, _phase: hostile).run(call, ignore) == 0, call.log.read_text()
    finally:
        del os.environ["SECRET_OF_THE_HOST"]
    assert (folder / "best.pt").read_bytes() == b"model"
    client.images.remove(hostile, force=True)
    found: dict[str, Any] = json.loads((folder / "staging" / "out" / "probe.json").read_text())
    return found


def test_it_is_nobody_in_particular_and_has_no_capability(seen: dict[str, Any]) -> None:
    user = os.geteuid() or NOBODY
    assert seen["user"][0] == user
    assert seen["user"][1] != 0
    assert set(seen["user"][2]) <= {seen["user"][1]}
    assert set(seen["capabilities"]) == {"0" * 16}
    assert seen["no_new_privileges"] == "1"
    assert seen["seccomp"] == "2"
    assert seen["become_root"] == "EPERM"


def test_it_has_no_network(seen: dict[str, Any]) -> None:
    assert [name for name in seen["interfaces"] if name != "lo"] == []
    assert len(seen["connections"]) == 4
    assert "done" not in seen["connections"].values()
    assert seen["names"] != "done"
    assert seen["docker_socket"] is False


def test_it_writes_to_its_staging_folder_and_tmp_and_nowhere_else(seen: dict[str, Any]) -> None:
    writable = {place for place, result in seen["writes"].items() if result == "done"}
    assert writable == {"/out", "/tmp"}
    assert seen["input_write"] == seen["input_chmod"] == "EROFS"
    assert seen["input_rename"] != "done"


def test_the_kernel_gives_it_nothing_more(seen: dict[str, Any]) -> None:
    assert seen["run_from_tmp"] == "EACCES"
    assert seen["mount"] == seen["user_namespace"] == seen["kernel_keys"] == "EPERM"
    assert seen["device"] == "EPERM"


def test_memory_processes_and_files_are_limited(seen: dict[str, Any]) -> None:
    assert seen["memory"] == MEMORY
    assert 0 < seen["forks"] < seen["pids"] <= 2048
    assert seen["files"] == 4096
    assert seen["core"] == 0
    assert 0 < seen["file_size"] < 1 << 40


def test_it_sees_its_own_processes_and_nothing_of_the_callers_environment(seen: dict[str, Any]) -> None:
    assert seen["processes"][0] == 1
    assert "sentinel" not in seen["environment"].values()
    assert {name for name in seen["environment"] if "PROXY" in name.upper() or "TOKEN" in name} == set()
