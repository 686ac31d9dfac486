"""Workers that are killed, frozen, wanting or shared: every call ends once, and what is taken is whole."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from mcwbuild.contract.errors import EnvironmentLacking, StageFailed
from mcwbuild.contract.events import Event, Noted, Started
from mcwbuild.contract.phases import ONNX
from mcwbuild.engines import StageCall
from mcwbuild.engines.dask.engine import DaskEngine
from tests.integration.dask.conftest import Call
from tests.support.dask_cluster import (
    ALLOWED,
    Processes,
    stages_below,
    toy_cluster,
    toy_engine,
    unprepared_engine,
    until,
)
from tests.support.engines import gone_soon


def ignore(event: Event) -> None:
    """Nobody listens."""


def whole(call: StageCall) -> bool:
    """Whether what the stage made lies where the caller looks."""
    outcome = json.loads((call.staging / "result.json").read_text())
    return outcome["nonce"] == call.nonce and (call.staging / "out" / "seen.json").is_file()


def when_busy(cluster: Processes, do: int) -> threading.Thread:
    """Sends the signal to the first worker below which a stage runs."""

    def wait() -> None:
        until(lambda: bool(cluster.busy()))
        time.sleep(0.3)
        cluster.kill(cluster.busy()[0], do)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_killed_workers_step_begins_anew_on_another(
    three: Processes, engine: DaskEngine, call: Call, tmp_path: Path
) -> None:
    said: list[Event] = []
    killer = when_busy(three, signal.SIGKILL)
    made = call("wait", "2", str(tmp_path / "ledger"))
    with gone_soon("a model's.pt"):
        assert engine.run(made, said.append) == 0
    killer.join()
    assert whole(made)
    assert (tmp_path / "ledger").read_text() == "n1\n"
    assert [type(event) for event in said].count(Started) == 2
    assert any(isinstance(event, Noted) and "A worker was lost" in event.text for event in said)
    assert len(three.alive()) == 2


def test_a_frozen_workers_step_begins_anew_and_what_it_writes_later_is_nobodys(
    three: Processes, engine: DaskEngine, call: Call, tmp_path: Path
) -> None:
    freezer = when_busy(three, signal.SIGSTOP)
    made = call("wait", "3", str(tmp_path / "ledger"))
    before = set(three.alive())
    assert engine.run(made, ignore) == 0
    freezer.join()
    assert whole(made)
    seen = (made.staging / "out" / "seen.json").read_bytes()
    frozen = [name for name in before if "T (stopped)" in Path(f"/proc/{three.workers[name].pid}/status").read_text()]
    assert len(frozen) == 1
    three.kill(frozen[0], signal.SIGCONT)
    until(lambda: not stages_below(three.workers[frozen[0]].pid), 10)
    until(lambda: three.workers[frozen[0]].poll() is not None, 40)
    assert (made.staging / "out" / "seen.json").read_bytes() == seen
    assert not list((three.shared / "calls").iterdir())


def test_two_drivers_at_once_and_a_worker_killed_between_them(three: Processes, call: Call, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    engines = [DaskEngine(three.cluster, make=toy_engine) for _ in range(2)]
    calls = [call("wait", "1", str(ledger), nonce=f"d{number}") for number in range(8)]
    killer = when_busy(three, signal.SIGKILL)
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda pair: engines[pair[0] % 2].run(pair[1], ignore), enumerate(calls)))
    killer.join()
    for made in engines:
        made.close()
    assert codes == [0] * 8
    assert all(whole(made) for made in calls)
    assert sorted(ledger.read_text().split()) == sorted(made.nonce for made in calls)


@pytest.mark.parametrize("code", [3, 4])
def test_a_stages_own_failure_is_not_tried_again(engine: DaskEngine, call: Call, code: int) -> None:
    said: list[Event] = []
    assert engine.run(call("exit", str(code)), said.append) == code
    assert said == [Started("work", "exit")]


def test_a_stage_beyond_its_time_is_not_tried_again(engine: DaskEngine, call: Call) -> None:
    said: list[Event] = []
    made = call("sleep")
    late = StageCall(made.phase, made.inputs, made.options, made.staging, made.log, made.nonce, timeout=0.5)
    with pytest.raises(StageFailed) as raised:
        engine.run(late, said.append)
    assert raised.value.kind == "timeout"
    assert said in ([], [Started("work", "sleep")], [Started("work", "sleep"), Noted("family")])


def test_a_listener_that_raises_ends_the_stage_where_it_runs(three: Processes, engine: DaskEngine, call: Call) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Noted):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run(call("sleep"), interrupt)
    assert three.busy() == []
    assert list((three.shared / "calls").iterdir()) == []


def test_a_worker_without_the_resource_gets_nothing_and_the_wait_is_told(
    tmp_path_factory: pytest.TempPathFactory, call: Call, tmp_path: Path
) -> None:
    cluster = toy_cluster(tmp_path_factory.mktemp("poor"), 0)
    said: list[Event] = []
    try:
        cluster.work("poor", resources="")
        engine = DaskEngine(cluster.cluster, make=toy_engine)
        assert "offers what a stage needs (One worker is there)" in str(engine.health(ONNX))

        def help_out() -> None:
            until(lambda: bool(said))
            cluster.work("rich")

        helper = threading.Thread(target=help_out)
        helper.start()
        made = call("wait", "0.1", str(tmp_path / "ledger"))
        assert engine.run(made, said.append) == 0
        helper.join()
        engine.close()
        waits = [event.text for event in said if isinstance(event, Noted)]
        assert len(waits) == 1
        assert waits[0].startswith("Waiting. No worker of tcp://127.0.0.1")
        assert '--resources "mcwbuild=1"' in waits[0]
        assert "Registered" in (cluster.folder / "poor.log").read_text()
        assert whole(made)
    finally:
        cluster.close()


def test_long_work_goes_on_where_a_killed_worker_left_it(three: Processes, engine: DaskEngine, call: Call) -> None:
    def kill() -> None:
        until(lambda: bool(list(three.shared.glob("calls/*/*/state/training/state.pt"))))
        three.kill(three.busy()[0])

    killer = threading.Thread(target=kill)
    killer.start()
    made = call("train", "first")
    said: list[Event] = []
    assert engine.run(made, said.append) == 0
    killer.join()
    assert Noted("goes on with what first left") in said
    assert whole(made)


def test_the_state_of_long_work_that_is_stopped_comes_back(engine: DaskEngine, call: Call) -> None:
    def interrupt(event: Event) -> None:
        if event == Noted("trains"):
            raise KeyboardInterrupt

    made = call("train", "first")
    with pytest.raises(KeyboardInterrupt):
        engine.run(made, interrupt)
    assert (made.staging / "training" / "state.pt").read_text() == "what first left"
    assert made.log.is_file()


def test_a_stage_that_costs_one_worker_after_the_other_is_given_up(
    three: Processes, engine: DaskEngine, call: Call
) -> None:
    def kill() -> None:
        for _ in range(ALLOWED + 1):
            until(lambda: bool(three.busy()))
            three.kill(three.busy()[0])

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(EnvironmentLacking) as raised:
        engine.run(call("sleep"), ignore)
    killer.join()
    assert raised.value.kind == "workers-lost"
    assert len(three.alive()) == 1


def test_a_worker_whose_disk_fails_is_avoided(three: Processes, engine: DaskEngine, call: Call, tmp_path: Path) -> None:
    broken = three.alive()[:2]
    for name in broken:
        shutil.rmtree(three.scratch(name))
        three.scratch(name).write_text("no folder")
    try:
        for number in range(3):
            said: list[Event] = []
            made = call("wait", "0", str(tmp_path / "ledger"), nonce=f"k{number}")
            assert engine.run(made, said.append) == 0
            assert whole(made)
            told = [event.text for event in said if isinstance(event, Noted)]
            assert len(told) <= 2
            assert all("cannot be written" in text for text in told)
    finally:
        for name in broken:
            three.kill(name)


def test_every_worker_is_made_ready_and_says_what_it_does(three: Processes, tmp_path: Path) -> None:
    engine = DaskEngine(three.cluster, make=partial(unprepared_engine, str(tmp_path)))
    assert "was not prepared" in str(engine.health(ONNX))
    said: list[Event] = []
    engine.prepare(ONNX, said.append)
    assert engine.health(ONNX) is None
    assert len(list(tmp_path.iterdir())) == 3
    assert said == [Noted("makes it")] * 3
    engine.prepare(ONNX, said.append)
    assert len(said) == 3
    engine.close()


def test_workers_that_would_make_different_packages_are_told(three: Processes, tmp_path: Path) -> None:
    engine = DaskEngine(three.cluster, make=partial(unprepared_engine, str(tmp_path)))
    with pytest.raises(EnvironmentLacking) as raised:
        engine.identity(ONNX)
    assert raised.value.kind == "identity"
    assert raised.value.found.count("on the worker tcp://127.0.0.1") + raised.value.found.count("On the worker") == 2
    engine.close()


def test_workers_that_are_busy_are_told(three: Processes, call: Call, tmp_path: Path) -> None:
    engine = DaskEngine(three.cluster, make=toy_engine)
    said: list[Event] = []
    with ThreadPoolExecutor(4) as pool:
        first = [
            pool.submit(engine.run, call("wait", "7", str(tmp_path / "ledger"), nonce=f"b{number}"), ignore)
            for number in range(3)
        ]
        until(lambda: len(three.busy()) == 3)
        assert engine.run(call("wait", "0", str(tmp_path / "ledger"), nonce="late"), said.append) == 0
        assert [future.result() for future in first] == [0, 0, 0]
    engine.close()
    assert "Waiting: all 3 workers are busy." in [event.text for event in said if isinstance(event, Noted)]


def test_a_lost_scheduler_is_one_typed_error_and_no_stage_goes_on(
    tmp_path_factory: pytest.TempPathFactory, call: Call
) -> None:
    cluster = toy_cluster(tmp_path_factory.mktemp("headless"), 1)
    try:
        engine = DaskEngine(cluster.cluster, make=toy_engine)

        def behead() -> None:
            until(lambda: bool(cluster.busy()))
            assert cluster.scheduler is not None
            cluster.scheduler.kill()

        killer = threading.Thread(target=behead)
        killer.start()
        with pytest.raises(EnvironmentLacking) as raised:
            engine.run(call("sleep"), ignore)
        killer.join()
        assert raised.value.kind == "engine-lost"
        until(lambda: not cluster.busy(), 10)
        with suppress(OSError):
            engine.close()
    finally:
        cluster.close()


def test_a_damaged_object_is_sent_again(three: Processes, engine: DaskEngine, call: Call, tmp_path: Path) -> None:
    made = call("wait", "0", str(tmp_path / "ledger"))
    assert engine.run(made, ignore) == 0
    for place in (three.shared / "objects").glob("*/*"):
        place.write_bytes(b"x" * place.stat().st_size)
    again = call("wait", "0", str(tmp_path / "ledger"), nonce="n2")
    said: list[Event] = []
    assert engine.run(again, said.append) == 0
    assert any(isinstance(event, Noted) and "did not arrive" in event.text for event in said)
    assert whole(again)
