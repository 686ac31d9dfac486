"""^C and kill -9 in the middle of every phase: no half-written package, no process left, the next run goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from mcwbuild import inspection
from mcwbuild.contract.phases import PHASES
from tests.support.commands import EXAMPLE, MCWBUILD, ROOT, small_dataset

ORPHANS_GONE = 5.0  # seconds that a stage may outlive its killed orchestrator


def start(folder: Path, data: Path, *more: str) -> subprocess.Popen[str]:
    words = ["run", "--pt", EXAMPLE / "best.pt", "--data", data, "--target", "rk3588", "--progress", "json", *more]
    return subprocess.Popen(
        [*MCWBUILD, *map(str, words), "--dtype", "fp16", "--out", "out"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        # A shell's background job ignores ^C, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def interrupt(run: subprocess.Popen[str], phase: str, number: int) -> None:
    """Send the signal when the phase is at work."""
    assert run.stderr is not None
    for line in run.stderr:
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("step") == phase and event.get("event") == "started":
            break
    time.sleep(0.3)
    run.send_signal(number)
    run.stderr.read()
    run.wait(30)


def stages_alive(folder: Path) -> list[str]:
    """Command lines of stage processes that work for this run."""
    alive = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "stages." in words and str(folder) in words:
            alive.append(words)
    return alive


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_in_each_phase_in_turn_ends_whole(tmp_path: Path, number: int) -> None:
    data = small_dataset(tmp_path, 6)
    out = tmp_path / "out"
    for phase in PHASES.values():
        run = start(tmp_path, data)
        interrupt(run, phase.name, number)
        assert run.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
        deadline = time.monotonic() + ORPHANS_GONE
        while stages_alive(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not stages_alive(tmp_path)
        assert not (out / phase.package).exists()
        for package in inspection.packages_in(out):
            done = inspection.phase_of(package)
            assert done is not None
            assert inspection.inspect(package, done) == []
    run = start(tmp_path, data)
    assert run.stderr is not None
    events = [json.loads(line) for line in run.stderr if line.startswith("{")]
    assert run.wait() == 0
    states = {event["step"]: event["state"] for event in events if event["event"] == "end"}
    assert states == {"pt": "fresh", "onnx": "fresh", "rknn": "made"}
    assert not list(out.glob(".tmp-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_targets_at_the_same_time_end_together_and_go_on_together(tmp_path: Path, number: int) -> None:
    data, more = small_dataset(tmp_path, 4), ("--target", "rk3576", "--jobs", "2", "--tune", "off")
    run, at_work = start(tmp_path, data, *more), set()
    assert run.stderr is not None
    while len(at_work) < 2:
        event = json.loads(run.stderr.readline())
        if event["event"] == "started" and event["step"].startswith("rknn"):
            at_work.add(event["step"])
    run.send_signal(number)
    run.stderr.read()
    run.wait(30)
    assert run.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}[number]
    deadline = time.monotonic() + ORPHANS_GONE
    while stages_alive(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not stages_alive(tmp_path)
    left = {path.name for path in (tmp_path / "out").glob("*/.tmp-*")}
    assert bool(left) == (number == signal.SIGKILL)
    run = start(tmp_path, data, *more)
    assert run.stderr is not None
    events = [json.loads(line) for line in run.stderr if line.startswith("{")]
    assert run.wait() == 0
    states = {event["step"]: event["state"] for event in events if event["event"] == "end"}
    assert states == {"pt": "fresh", "onnx": "fresh", "rknn rk3588": "made", "rknn rk3576": "made"}
    assert not list((tmp_path / "out").rglob(".tmp-*"))
