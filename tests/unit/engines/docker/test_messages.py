"""The daemon's failures and a build's words, each told in one sentence with what to do."""

from __future__ import annotations

import io
import socket
from pathlib import Path

import pytest
from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import ReadTimeout

from mcwbuild.contract.errors import EnvironmentLacking, InputError
from mcwbuild.contract.events import Event, Finished
from mcwbuild.engines.docker import building, daemon
from tests.support.commands import mcwbuild

NO_SOCKET = "('Connection aborted.', FileNotFoundError(2, 'No such file or directory'))"
NO_RIGHT = "('Connection aborted.', PermissionError(13, 'Permission denied'))"
NO_REGISTRY = 'Get "https://registry/v2/": dial tcp: lookup registry on 10.0.0.1:53: no such host'


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DockerException(f"Error while fetching server API version: {NO_SOCKET}"), "daemon"),
        (NoConnection(NO_SOCKET), "daemon"),
        (ReadTimeout("read timed out"), "daemon"),
        (DockerException(f"Error while fetching server API version: {NO_RIGHT}"), "permission"),
        (APIError("500", explanation="write /var/lib/docker/tmp/x: no space left on device"), "disk"),
        (APIError("500", explanation=NO_REGISTRY), "network"),
        (ImageNotFound("404", explanation="No such image: mcwbuild/pt:0.1.0"), "image"),
        (APIError("404", explanation="manifest for x:1 not found: manifest unknown"), "image"),
        (APIError("500", explanation="x509: certificate signed by unknown authority"), "certificate"),
        (APIError("401", explanation="unauthorized: authentication required"), "registry"),
        (APIError("500", explanation='could not select device driver "" with capabilities: [[gpu]]'), "gpu"),
        (APIError("500", explanation="something new"), "docker"),
    ],
)
def test_each_failure_has_its_kind_and_three_sentences(error: Exception, kind: str) -> None:
    told = daemon.told(error, "The images could not be built.")
    assert isinstance(told, EnvironmentLacking)
    assert told.kind == kind
    assert told.what == "The images could not be built."
    assert told.found.endswith(".")
    assert told.remedy.endswith(".")
    assert "\n" not in str(told)


def test_an_error_of_ours_stays_what_it_is() -> None:
    ours = InputError("It was ours.")
    assert daemon.told(ours, "Not this.") is ours


@pytest.mark.parametrize("place", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:9"])
def test_no_daemon(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", place)
    with pytest.raises(EnvironmentLacking, match=f"No daemon answers at {place}") as caught:
        daemon.connect(2)
    assert caught.value.kind == "daemon"


def test_a_silent_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that takes the connection and never says a word."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "silent.sock"))
        server.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/silent.sock")
        with pytest.raises(EnvironmentLacking, match="No daemon answers"):
            daemon.connect(0.5)


def transcript(*messages: dict[str, object]) -> tuple[building.Transcript, list[Event]]:
    said: list[Event] = []
    made = building.Transcript(io.StringIO(), said.append)
    for message in messages:
        made.take(message)
    return made, said


def test_a_line_for_each_step() -> None:
    made, said = transcript(
        {"stream": "Step 1/2 : FROM base\n"},
        {"stream": " ---> 0123456789ab\n"},
        {"stream": "Step 2/2 : RUN true\n"},
        {"stream": " ---> Using cache\n"},
        {"aux": {"ID": "sha256:00"}},
    )
    made.close()
    assert [event.detail for event in said if isinstance(event, Finished)] == ["1/2 FROM base", "2/2 RUN true, cached"]
    assert made.image == "sha256:00"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("error: Failed to fetch: `https://index/simple/torch/`: dns error", "network"),
        ("ERROR: No matching distribution found for uv==0.13.9", "network"),
        ("error: invalid peer certificate: UnknownIssuer", "certificate"),
        ("error: Hash mismatch for `torch==2.13.0`", "hash"),
        ("OSError: [Errno 28] No space left on device", "disk"),
        ("ImportError: libssl.so.1.1: cannot open shared object file", "build"),
    ],
)
def test_a_step_that_failed_is_told_with_its_last_words(words: str, kind: str) -> None:
    made, _ = transcript(
        {"stream": "Step 11/42 : RUN sh /build/install.sh torch\n"},
        {"stream": words},
        {"error": "The command '/bin/sh -c sh /build/install.sh torch' returned a non-zero code: 1"},
    )
    error = building.failure(made, "The pt image could not be built.", Path("pt.log"))
    assert error.kind == kind
    assert "Step 11/42 RUN sh /build/install.sh torch failed" in error.found
    assert words in error.found
    assert "pt.log" in error.remedy


def test_a_base_image_that_cannot_be_had() -> None:
    made, _ = transcript({"stream": "Step 2/42 : FROM ${BASE_IMAGE} AS builder\n"}, {"error": NO_REGISTRY})
    error = building.failure(made, "The pt image could not be built.", Path("pt.log"))
    assert error.kind == "network"
    assert "--base-image" in error.remedy


def test_the_command_line_tells_it_with_exit_code_5(tmp_path: Path) -> None:
    done = mcwbuild("images", "list", cwd=tmp_path, environment={"DOCKER_HOST": f"unix://{tmp_path}/docker.sock"})
    assert done.code == 5
    assert done.stdout == ""
    assert "Start Docker" in done.stderr
