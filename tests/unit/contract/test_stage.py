"""The harness: exit codes, the outcome as data, what is written and what never is, whose output goes where."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mcwbuild.contract import manifest
from mcwbuild.contract.events import Finished, from_line
from mcwbuild.contract.phases import PT

ROOT = Path(__file__).parents[3]
TOY = ROOT / "tests" / "support" / "toy_harness.py"


def start(folder: Path, deed: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(TOY), deed, "--out", str(folder / "out"), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    return subprocess.Popen(
        command,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell's background job ignores ^C, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def outcome(folder: Path, deed: str) -> tuple[int, dict[str, Any], str, str]:
    """Exit code, result.json, standard output and standard error."""
    result = folder / "result.json"
    process = start(folder, deed, "--result", str(result), "--nonce", "n1", "--progress", "json")
    stdout, stderr = process.communicate()
    told = json.loads(result.read_text())
    assert (told["nonce"], told["phase"], told["code"]) == ("n1", "pt", process.returncode)
    return process.returncode, told, stdout, stderr


def test_a_sound_package_is_delivered_whole(tmp_path: Path) -> None:
    code, told, _, _ = outcome(tmp_path, "done")
    assert (code, told["status"], told["error"]) == (0, "done", None)
    assert (
        sorted(told["files"])
        == sorted(path.name for path in (tmp_path / "out").iterdir())
        == sorted(set(PT.files) - {PT.evaluation, PT.results})
    )
    assert manifest.verify(tmp_path / "out") == []


def test_progress_is_all_that_reaches_standard_output(tmp_path: Path) -> None:
    _, _, stdout, stderr = outcome(tmp_path, "done")
    events = [from_line(line) for line in stdout.splitlines()]
    assert None not in events
    assert isinstance(events[-1], Finished)
    assert "from C" in stderr
    assert "from Python" in stderr


@pytest.mark.parametrize(("deed", "expected", "word"), [("input", 2, "toy.pt"), ("refused", 6, "os.system")])
def test_an_expected_failure_crosses_as_data_and_nothing_is_written(
    tmp_path: Path, deed: str, expected: int, word: str
) -> None:
    code, told, _, stderr = outcome(tmp_path, deed)
    assert (code, told["status"], told["files"]) == (expected, "failed", [])
    assert word in json.dumps(told["error"])
    assert "Traceback" not in stderr
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("deed", ["bug", "extra"])
def test_a_bug_is_told_as_one_with_its_traceback_in_the_log(tmp_path: Path, deed: str) -> None:
    code, told, _, stderr = outcome(tmp_path, deed)
    assert (code, told["status"]) == (1, "failed")
    assert "A bug in the pt stage" in told["error"]["what"]
    assert "Traceback" in stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_an_invalid_document_never_leaves(tmp_path: Path) -> None:
    code, told, _, _ = outcome(tmp_path, "invalid")
    assert (code, told["status"]) == (2, "failed")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_missed_gate_keeps_the_package(tmp_path: Path) -> None:
    code, told, _, _ = outcome(tmp_path, "gate")
    assert (code, told["status"]) == (3, "gate_failed")
    assert "7 images gave NaN." in told["error"]["found"]
    assert manifest.verify(tmp_path / "out") == []


def test_a_person_reads_sentences(tmp_path: Path) -> None:
    process = start(tmp_path, "input")
    _, stderr = process.communicate()
    assert process.returncode == 2
    assert stderr.splitlines() == ["toy.pt:3:7 $.a: it is a toy", "error: The toy cannot be read."]


def test_what_an_older_package_had_and_the_new_one_has_not_goes(tmp_path: Path) -> None:
    outcome(tmp_path, "done")
    (tmp_path / "out" / "best.pt").write_text("older")
    outcome(tmp_path, "done")
    assert manifest.verify(tmp_path / "out") == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_stage_leaves_nothing(tmp_path: Path, number: int, code: int) -> None:
    process = start(tmp_path, "sleep", "--progress", "json")
    assert process.stdout is not None
    while '"finished"' not in process.stdout.readline():
        pass
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == code
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_killed_stage_left_is_swept_by_the_next(tmp_path: Path) -> None:
    process = start(tmp_path, "sleep", "--progress", "json")
    assert process.stdout is not None
    while '"finished"' not in process.stdout.readline():
        pass
    process.kill()
    process.communicate()
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".partial-")]
    time.sleep(0.1)
    outcome(tmp_path, "done")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        set(PT.files) - {PT.evaluation, PT.results}
    )
