"""The local engine: a clean environment for the stage, bounded logs, and no process left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mcwbuild.contract import assets
from mcwbuild.contract.events import Event, Noted
from mcwbuild.contract.phases import ONNX
from mcwbuild.engines import StageCall, code, invocation, stage_log
from mcwbuild.engines.local import LocalEngine
from tests.support.engines import alive, gone_soon, toy_code, toy_environment

ROOT = Path(__file__).parents[3]


def ignore(event: Event) -> None:
    """Nobody listens."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MCWBUILD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def engine(cache: Path, tmp_path: Path) -> LocalEngine:
    toy_environment(ONNX)
    return LocalEngine(source=toy_code(tmp_path / "code", ONNX))


@pytest.fixture
def call(tmp_path: Path) -> StageCall:
    staging = tmp_path / "staging"
    staging.mkdir()
    model = tmp_path / "best.pt"
    model.write_bytes(b"model")
    return StageCall(ONNX, (("--pt", model),), ("--do", "done"), staging, tmp_path / "onnx.log", "n1")


def test_the_stages_environment_is_made_from_nothing(
    engine: LocalEngine, call: StageCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sentinel")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert engine.run(replace(call, options=("--threads", "3")), ignore) == 0
    seen = json.loads((call.staging / "out" / "seen.json").read_text())
    environment = seen["environment"]
    assert "sentinel" not in environment.values()
    assert "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" not in environment
    assert environment["CUDA_VISIBLE_DEVICES"] == "1"
    assert environment["YOLO_OFFLINE"] == "true"
    assert environment["PYTHONHASHSEED"] == "0"
    assert environment["OMP_NUM_THREADS"] == "3"
    for name in ("HOME", "TMPDIR", "YOLO_CONFIG_DIR"):
        assert Path(environment[name]).is_relative_to(call.staging)
    assert seen["path"][0] == str(call.staging.parent / "code")
    assert "" not in seen["path"]
    assert not any("/.local/" in part for part in seen["path"])


def test_the_stage_gets_the_words_that_it_gets_in_a_container(engine: LocalEngine, call: StageCall) -> None:
    engine.run(call, ignore)
    outcome = json.loads((call.staging / "result.json").read_text())
    out, result = str(call.staging / "out"), str(call.staging / "result.json")
    assert outcome["argv"][1:] == [
        *("--pt", str(call.inputs[0][1]), "--do", "done", "--out", out, "--result", result),
        *("--nonce", "n1", "--progress", "json"),
    ]
    assert outcome["cwd"] == str(call.staging / "work")


def test_another_program_of_the_stages_runs_in_a_phases_environment(call: StageCall) -> None:
    words = invocation.words(replace(call, program="common.paired"), lambda _flag, path: str(path), "/out")
    assert words[:4] == ["-s", "-P", "-m", "stages.common.paired"]
    assert words[4:] == invocation.words(call, lambda _flag, path: str(path), "/out")[4:]


def test_a_stage_ended_by_a_signal_gives_128_and_its_number(engine: LocalEngine, call: StageCall) -> None:
    assert engine.run(replace(call, options=("--do", "signal")), ignore) == 128 + signal.SIGSEGV


def test_processes_that_a_stage_leaves_end_with_it(engine: LocalEngine, call: StageCall) -> None:
    with gone_soon(str(call.staging), 0.5):
        assert engine.run(replace(call, options=("--do", "abandon")), ignore) == 0


def test_a_stopped_stages_whole_family_is_gone_even_where_it_ignores_sigterm(
    engine: LocalEngine, call: StageCall
) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Noted):
            assert len(alive(str(call.staging))) >= 3
            raise KeyboardInterrupt

    with gone_soon(str(call.staging), 0.5), pytest.raises(KeyboardInterrupt):
        engine.run(replace(call, options=("--do", "sleep")), interrupt)


ORCHESTRATOR = """
import sys
from pathlib import Path
from mcwbuild.contract.phases import ONNX
from mcwbuild.engines import StageCall
from mcwbuild.engines.local import LocalEngine
base = Path(sys.argv[1])
call = StageCall(ONNX, (), ("--do", "sleep"), base / "staging", base / "onnx.log", "n1")
LocalEngine(base / "code").run(call, lambda event: print(event, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_orchestrators_stage_dies_with_its_whole_family(
    engine: LocalEngine, call: StageCall, number: int
) -> None:
    orchestrator = subprocess.Popen(
        [sys.executable, "-c", ORCHESTRATOR, str(call.staging.parent)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert orchestrator.stdout is not None
    for line in orchestrator.stdout:
        if "family" in line:
            break
    with gone_soon(str(call.staging), 3):
        orchestrator.send_signal(number)
        assert orchestrator.wait() == -number


def test_a_log_is_bounded_and_keeps_its_beginning_and_its_end(
    engine: LocalEngine, call: StageCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCWBUILD_LIMIT_LOG_BYTES", "100000")
    assert engine.run(replace(call, options=("--do", "flood", "5000")), ignore) == 0
    log = call.log.read_text()
    assert len(log) < 100_000 + stage_log.TAIL + 100
    assert "a library's noise" in log
    assert f"{3:099}" in log
    assert "bytes left out" in log
    assert "the last word" in log


def test_lines_arrive_whole_however_the_pipe_cuts_them() -> None:
    text = b"one\ntwo\r\n\nthree"
    for size in range(1, len(text) + 1):
        taken: list[bytes] = []
        lines = stage_log.Lines(taken.append)
        for start in range(0, len(text), size):
            lines.feed(text[start : start + size])
        lines.feed(b"")
        assert taken == [b"one\n", b"two\r\n", b"\n", b"three\n"]


def test_the_code_folder_holds_what_a_stage_may_import_and_nothing_else(cache: Path) -> None:
    folder = code.folder(cache)
    assert {path.name for path in folder.iterdir()} == {"mcwbuild", "schemas", "stages"}
    assert {path.name for path in (folder / "mcwbuild").iterdir()} == {"__init__.py", "contract"}
    assert sorted(p.name for p in (folder / "schemas").iterdir()) == sorted(
        p.name for p in assets.schemas_dir().iterdir() if p.name != "__pycache__"
    )
    assert not list(folder.rglob("__pycache__"))


def test_what_python_compiled_in_the_code_folder_does_not_make_it_anew(cache: Path) -> None:
    folder = code.folder(cache)
    before = folder.stat().st_ino
    compiled = folder / "stages" / "__pycache__"
    (folder / "stages").chmod(0o755)
    compiled.mkdir()
    (compiled / "anything.cpython-311.pyc").write_bytes(b"root's Python wrote it")
    assert code.folder(cache).stat().st_ino == before  # another run may be using it


def test_a_code_folder_that_was_changed_is_made_again(cache: Path) -> None:
    folder = code.folder(cache)
    when = folder.stat().st_ino
    assert code.folder(cache).stat().st_ino == when
    (folder / "stages").chmod(0o755)
    (folder / "stages" / "intruder.py").write_text("raise SystemExit")
    assert code.folder(cache) == folder
    assert not (folder / "stages" / "intruder.py").exists()


def test_an_environment_whose_python_is_gone_is_not_healthy(engine: LocalEngine) -> None:
    python = engine.python(ONNX)
    python.unlink()
    python.symlink_to("/nowhere/python3.11")
    assert engine.health(ONNX) is not None
