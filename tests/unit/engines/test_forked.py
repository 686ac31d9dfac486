"""Fork servers: a stage that is forked is as one that is executed, and nothing is left of it or of its server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcwbuild.contract.events import Event, Noted
from mcwbuild.contract.phases import ONNX
from mcwbuild.engines import StageCall, fork_server, forked
from mcwbuild.engines.local import LocalEngine
from tests.support.engines import alive, gone_soon, toy_code, toy_environment

ROOT = Path(__file__).parents[3]
LOADED = "wave"  # a module that nothing else imports
THREADS = ("--threads", "1")


def ignore(event: Event) -> None:
    """Nobody listens."""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalEngine:
    monkeypatch.setenv("MCWBUILD_CACHE", str(tmp_path / "cache"))
    toy_environment(ONNX)
    return LocalEngine(toy_code(tmp_path / "code", ONNX), loaded=LOADED)


@pytest.fixture
def served(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalEngine]:
    with engine.forking(1) as told:
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        yield engine


@pytest.fixture
def call(tmp_path: Path) -> StageCall:
    model = tmp_path / "best.pt"
    model.write_bytes(b"model")
    (tmp_path / "staging").mkdir()
    return StageCall(ONNX, (("--pt", model),), THREADS, tmp_path / "staging", tmp_path / "onnx.log", "n1")


def seen(call: StageCall, engine: LocalEngine) -> dict[str, Any]:
    assert engine.run(call, ignore) == 0
    found: dict[str, Any] = json.loads((call.staging / "out" / "seen.json").read_text())
    return found


def test_a_forked_stage_sees_what_an_executed_one_sees_and_has_more_loaded(
    served: LocalEngine, call: StageCall, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = seen(call, served)
    (tmp_path / "other").mkdir()
    monkeypatch.delenv(forked.VARIABLE)
    other = replace(call, staging=tmp_path / "other")
    executed = seen(other, served)
    assert LOADED in made.pop("modules")
    assert LOADED not in executed.pop("modules")
    assert json.dumps(made).replace(str(call.staging), str(other.staging)) == json.dumps(executed)
    argv = [json.loads((one.staging / "result.json").read_text())["argv"][1:] for one in (call, other)]
    assert [word.replace(str(call.staging), str(other.staging)) for word in argv[0]] == argv[1]


def test_a_stage_leaves_nothing_behind_for_the_next(served: LocalEngine, call: StageCall, tmp_path: Path) -> None:
    first = seen(call, served)
    (tmp_path / "next").mkdir()
    following = seen(replace(call, staging=tmp_path / "next"), served)
    assert following["modules"] == first["modules"]


@pytest.mark.parametrize("threads", ["2", "3"])
def test_a_server_of_other_threads_is_not_asked(served: LocalEngine, call: StageCall, threads: str) -> None:
    assert LOADED not in seen(replace(call, options=("--threads", threads)), served)["modules"]


def test_where_a_server_cannot_load_stages_are_executed(
    engine: LocalEngine, call: StageCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = LocalEngine(engine._source, loaded="no_such_module")
    with broken.forking(1) as told:
        monkeypatch.setenv(forked.VARIABLE, told[forked.VARIABLE])
        assert LOADED not in seen(call, broken)["modules"]


def test_what_is_no_message_ends_no_server(served: LocalEngine, call: StageCall) -> None:
    server = next(path for path in Path(os.environ[forked.VARIABLE]).iterdir() if path.name != "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(str(server))
        connection.send(b"nonsense")
    assert LOADED in seen(call, served)["modules"]


def test_who_is_gone_before_the_answer_ends_no_server(served: LocalEngine, call: StageCall, tmp_path: Path) -> None:
    server = next(path for path in Path(os.environ[forked.VARIABLE]).iterdir() if path.name != "log")
    message = {"module": "this", "words": [], "environment": {}, "folder": str(tmp_path)}
    for _ in range(3):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection, open(os.devnull, "r+b") as nothing:  # noqa: PTH123
            connection.connect(str(server))
            four = [nothing.fileno()] * fork_server.DESCRIPTORS
            socket.send_fds(connection, [json.dumps(message).encode("ascii")], four)
    assert LOADED in seen(call, served)["modules"]


def test_nothing_is_left_of_servers_or_their_stages(
    engine: LocalEngine, call: StageCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gone_soon(str(call.staging)):
        with engine.forking(1) as told:
            monkeypatch.setenv(forked.VARIABLE, told[forked.VARIABLE])
            born = threading.Event()
            codes: list[int] = []

            def run() -> None:
                asleep = replace(call, options=(*THREADS, "--do", "sleep"))
                codes.append(engine.run(asleep, lambda event: born.set() if isinstance(event, Noted) else None))

            thread = threading.Thread(target=run)
            thread.start()
            assert born.wait(30)
            assert len(at_work(told[forked.VARIABLE])) >= 2
        thread.join(30)
    assert codes == [forked.LOST]
    assert not Path(told[forked.VARIABLE]).exists()
    assert at_work(told[forked.VARIABLE]) == []


def at_work(folder: str) -> list[int]:
    """The processes of the servers that were started in `folder`."""
    found = []
    for process in alive(fork_server.__file__):
        with suppress(FileNotFoundError):
            found += [process] if str(Path(f"/proc/{process}/cwd").readlink()).startswith(folder) else []
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_forked_stage_ends_with_who_asked_for_it(
    served: LocalEngine, call: StageCall, tmp_path: Path, number: int
) -> None:
    asks = (
        "import sys\n"
        "from dataclasses import replace\n"
        "from pathlib import Path\n"
        "from mcwbuild.contract.phases import ONNX\n"
        "from mcwbuild.engines import StageCall\n"
        "from mcwbuild.engines.local import LocalEngine\n"
        "folder = Path(sys.argv[1])\n"
        "call = StageCall(ONNX, (('--pt', folder / 'best.pt'),), ('--threads', '1', '--do', 'sleep'),\n"
        "                 folder / 'staging', folder / 'log', 'n1')\n"
        "LocalEngine(folder / 'code').run(call, lambda event: print(event, flush=True))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", asks, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with gone_soon(str(call.staging)), process:
        while b"family" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(number)
    assert LOADED in seen(call, served)["modules"]  # the server goes on
