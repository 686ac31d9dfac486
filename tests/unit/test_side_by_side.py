"""Targets of one model at the same time, and GPUs that one stage has at a time: with an engine that only plays."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcwbuild import pipeline, plan
from mcwbuild.contract.errors import StageFailed
from mcwbuild.contract.events import Emit, Event, Noted
from mcwbuild.contract.phases import ONNX, PT, RKNN
from mcwbuild.contract.resumable import TUNING
from mcwbuild.engines import StageCall, gpus
from mcwbuild.engines.patience import Stopped
from mcwbuild.options import resolve
from mcwbuild.package import Workspace
from tests.support.engines import FakeEngine, write_outcome, write_package

NAMES = ["pt", "onnx", "rknn rk3588", "rknn rk3566", "rknn rk3568", "rknn rk3562"]


class Told:
    """A reporter that keeps which steps it was told of; one for all threads."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.said: list[str] = []
        self.all: list[str] = []

    def begin(self, step: plan.Step, log: Path) -> None:
        self.begun.append(step.name)
        self.all.append(f"begin {step.name}")

    def emit(self, event: Event) -> None:
        if isinstance(event, Noted):
            self.said.append(event.text)

    def end(self, outcome: pipeline.Outcome) -> None:
        self.ended.append(outcome.step.name)
        self.all.append(f"end {outcome.step.name}")

    def beside(self) -> Told:
        return self


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "best.pt").write_bytes(b"weights")
    return tmp_path / "out"


def steps(out: Path, **flags: Any) -> tuple[plan.Step, ...]:
    settings = resolve({"target": "rk3588,rk3566,rk3568,rk3562", **flags}, {}, out.parent)
    return plan.run_steps(out.parent / "best.pt", "toy", settings, None, out)


def target(call: StageCall) -> str:
    return call.options[call.options.index("--target") + 1]


def make(call: StageCall) -> int:
    write_package(call.staging / "out", call.phase)
    write_outcome(call, 0)
    return 0


def engine(play: Callable[[StageCall], int]) -> FakeEngine:
    """One that is ready, so that no target has to go first."""
    return FakeEngine(lambda call, emit: play(call), ready={"pt", "onnx", "rknn"})


def test_targets_are_built_at_the_same_time_and_the_rest_is_done_once(out: Path) -> None:
    together = threading.Barrier(3)  # rk3588, rk3566 and rk3562; rk3568 takes what rk3566 built

    def play(call: StageCall) -> int:
        if call.phase is RKNN and target(call) != "rk3568":
            together.wait(20)
        return make(call)

    fake, told = engine(play), Told()
    outcomes = pipeline.execute(steps(out, threads=6), fake, out, told, at_once=3)
    assert [outcome.step.name for outcome in outcomes] == NAMES
    assert sorted(told.ended) == sorted(NAMES)
    assert told.begun[:2] == NAMES[:2]
    assert told.all.index("begin rknn rk3568") > told.all.index("end rknn rk3566")
    assert [call.phase for call in fake.calls].count(ONNX) == 1
    shares = {call.options[call.options.index("--threads") + 1] for call in fake.calls if "--dtype" in call.options}
    assert shares == {"2"}
    assert {call.share for call in fake.calls if call.phase is RKNN} == {3}
    assert {call.share for call in fake.calls if call.phase is not RKNN} == {1}
    for count in (1, 3):  # whichever way, with whichever threads, it is the same
        again = pipeline.execute(steps(out, threads=count), engine(make), out, Told(), at_once=count)
        assert {outcome.state for outcome in again} == {"fresh"}
    assert not list(out.rglob(".tmp-*"))


def test_the_first_target_goes_alone_where_the_engine_has_to_be_made(out: Path) -> None:
    fake = FakeEngine(lambda call, emit: make(call))
    told = Told()
    pipeline.execute(steps(out), fake, out, told, at_once=3)
    assert told.ended[2] == "rknn rk3588"
    assert told.begun.index("rknn rk3566") > 2


def test_a_target_that_fails_does_not_take_the_others_with_it(out: Path) -> None:
    def play(call: StageCall) -> int:
        if call.phase is RKNN and target(call) == "rk3588":
            raise StageFailed("It failed.")
        return make(call)

    with pytest.raises(StageFailed):
        pipeline.execute(steps(out), engine(play), out, Told(), at_once=2)
    made = {path.parents[1].name for path in out.glob("*/rknn_package/SHA256SUMS")}
    assert made == {"rk3566", "rk3568", "rk3562"}
    assert not (out / "rk3588").exists()


def test_an_interruption_stops_all_of_them_and_leaves_the_tries_of_each(out: Path) -> None:
    working, halted = threading.Barrier(3), []

    def play(call: StageCall) -> int:
        if call.phase is not RKNN:
            return make(call)
        state = call.staging / TUNING.staged
        state.mkdir()
        (state / TUNING.file).write_text(target(call))
        if working.wait(20) == 0:
            _thread.interrupt_main()
        assert call.stop is not None
        assert call.stop.wait(20)
        halted.append(target(call))
        raise StageFailed("It was stopped.", kind="stopped")

    with pytest.raises(KeyboardInterrupt):
        pipeline.execute(steps(out), engine(play), out, Told(), at_once=3)
    assert sorted(halted) == ["rk3562", "rk3566", "rk3588"]
    kept = {path.read_text(): path.parents[1].name for path in out.glob(f"*/{TUNING.folder}/{TUNING.file}")}
    assert kept == {name: name for name in halted}
    resumed: dict[str, str] = {}

    def resume(call: StageCall) -> int:
        if call.phase is RKNN and target(call) != "rk3568":
            resumed[target(call)] = dict(call.inputs)["--resume"].read_text()
        return make(call)

    pipeline.execute(steps(out), engine(resume), out, Told(), at_once=3)
    assert resumed == kept
    assert not list(out.glob(f"**/{TUNING.folder}"))


def test_what_a_killed_run_left_beside_a_target_s_package_is_put_right(out: Path) -> None:
    left = out / "rk3588" / ".tmp-mcwbuild-rknn-01234567"
    (left / TUNING.staged).mkdir(parents=True)
    (left / TUNING.staged / TUNING.file).write_text("tries")
    with Workspace(out) as workspace:
        assert not left.exists()
        state = workspace.state(TUNING, out / "rk3588")
        assert state is not None
        assert state.read_text() == "tries"
        assert workspace.state(TUNING, out / "rk3566") is None


@pytest.mark.parametrize("count", [1, 2])
def test_a_gpu_has_one_stage_at_a_time(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setenv("MCWBUILD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "answer", lambda *_words: "".join(f"GPU {n}: NVIDIA (UUID: x)\n" for n in range(count)))
    monkeypatch.setattr(gpus, "_LOOK", 0.05)
    busy: list[str] = []
    most: list[int] = []

    def play(call: StageCall, emit: Emit) -> int:
        with gpus.held(call, emit) as alone:
            if call.phase is not PT:
                assert alone.gpu is None
                return make(call)
            assert alone.gpu is not None
            assert alone.gpu not in busy
            busy.append(alone.gpu)
            most.append(len(busy))
            time.sleep(0.3)
            busy.remove(alone.gpu)
        return make(call)

    reporters = [Told() for _ in range(4)]
    errors: list[BaseException] = []

    def convert(number: int) -> None:
        try:
            own = out.with_name(f"run{number}")
            pipeline.execute(steps(own), FakeEngine(play), own, reporters[number])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=convert, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert max(most) == count
    assert any("in use by other runs of mcwbuild" in text for told in reporters for text in told.said)


def test_what_is_set_and_what_a_training_asks_for_is_kept_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCWBUILD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(gpus, "answer", lambda *_words: "GPU 0: A\nGPU 1: B\nGPU 2: C\nGPU 3: D\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 3")
    assert gpus.visible() == ("2", "3")
    config, call = tmp_path / "train.yaml", StageCall(PT, (), (), tmp_path, tmp_path / "log", "n")
    locked: set[str] = set()
    for device, seen, lock in ((None, "2", "2.lock"), ("cpu", None, None), (1, None, "3.lock")):
        config.write_text("" if device is None else f"device: {device}\n")
        with gpus.held(replace(call, inputs=(("--train", config),)), lambda event: None) as alone:
            assert alone.gpu == seen
        locked |= {lock} if lock else set()
        assert {path.name for path in (tmp_path / "cache" / "gpus").iterdir()} == locked
    with gpus.held(replace(call, options=("--describe",)), lambda event: None) as alone:
        assert alone.gpu is None
    monkeypatch.setattr(gpus, "answer", lambda *_words: None)
    assert gpus.visible() == ()
    with gpus.held(call, lambda event: None) as alone:
        assert alone.gpu is None


def test_who_waits_for_a_gpu_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCWBUILD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(gpus, "visible", lambda: ("0",))
    stop = threading.Event()
    call = StageCall(PT, (), (), tmp_path, tmp_path / "log", "n", stop=stop)
    with gpus.held(call, lambda event: None):
        stop.set()
        with pytest.raises(Stopped), gpus.held(call, lambda event: None):
            pass
