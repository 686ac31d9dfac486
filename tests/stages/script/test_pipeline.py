"""All cores at once: order, one context a core, and how it ends when something fails or somebody stops it."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from stages.rknn.program.frames import Frame, held
from stages.rknn.program.npu import Stop
from stages.rknn.program.pipeline import Result, in_order
from tests.support.board import Board

PICTURE = np.zeros((2, 2, 3), np.uint8)


def frames(count: int) -> list[Frame]:
    return [Frame(str(number), held(PICTURE), number) for number in range(count)]


def test_results_come_in_order_whatever_each_takes() -> None:
    pauses = np.random.default_rng(0).random(40) / 100

    def work(frame: Frame) -> Result:
        time.sleep(pauses[frame.number or 0])
        return Result(frame)

    assert [result.frame.number for result in in_order(frames(40), work, 6, 12)] == list(range(40))


def test_no_more_frames_are_taken_in_than_can_wait() -> None:
    taken: list[int] = []
    begin = threading.Event()

    def source() -> object:
        for frame in frames(50):
            taken.append(frame.number or 0)
            yield frame

    def work(frame: Frame) -> Result:
        begin.wait()
        return Result(frame)

    results = in_order(source(), work, 2, 5)  # type: ignore[arg-type]
    threading.Timer(0.2, begin.set).start()
    next(results)
    assert len(taken) == 5
    results.close()
    assert len(taken) == 5


def test_an_error_of_the_source_comes_after_the_results_before_it() -> None:
    def source() -> object:
        yield from frames(7)
        raise Stop(2, "pulled out")

    results = in_order(source(), lambda frame: Result(frame), 3, 6)  # type: ignore[arg-type]
    assert [next(results).frame.number for _ in range(7)] == list(range(7))
    with pytest.raises(Stop, match="pulled out"):
        next(results)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    board = Board.make(tmp_path, target="rk3588")
    (tmp_path / "in").mkdir()
    for number in range(24):
        board.image(f"in/{number:02d}.png", seed=number)
    return board


def test_each_core_has_a_context_and_no_two_threads_share_one(board: Board, tmp_path: Path) -> None:
    board.configure(latency_ms=30)
    done = board.run("in", "--json")
    assert done.returncode == 0, done.stderr  # the stand-in refuses a context that is used twice at once
    assert (tmp_path / "core_masks.txt").read_text().split() == ["1", "2", "4"]
    assert [json.loads(line)["image"] for line in done.stdout.splitlines()] == [f"in/{n:02d}.png" for n in range(24)]


@pytest.mark.parametrize(
    ("words", "masks"),
    [(("--core", "0_1_2"), "7"), (("--core", "auto"), "0"), (("--core", "1"), "2"), ((), "1 2 4")],
)
def test_cores_are_those_asked_for(board: Board, tmp_path: Path, words: tuple[str, ...], masks: str) -> None:
    assert board.run("in", *words).returncode == 0
    assert (tmp_path / "core_masks.txt").read_text().split() == masks.split()


def test_one_picture_needs_one_context(board: Board, tmp_path: Path) -> None:
    assert board.run("in/03.png").returncode == 0
    assert (tmp_path / "core_masks.txt").read_text().split() == ["0"]


def test_a_runtime_that_fails_in_the_middle_ends_after_the_results_before(board: Board, tmp_path: Path) -> None:
    board.configure(latency_ms=10)
    board.fail("inference", "E RKNN: failed to submit!, op id: 1", at=18)
    done = board.run("in", "--json", "--coco", "found.json")
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1].startswith("error: inference failed: driver, runtime and model do not fit")
    shown = [json.loads(line)["image"] for line in done.stdout.splitlines()]
    assert shown == [f"in/{number:02d}.png" for number in range(len(shown))]
    assert 5 <= len(shown) <= 17  # at most 12 frames are taken in before a result is given out
    assert len({row["image_id"] for row in json.loads((tmp_path / "found.json").read_text())}) == len(shown)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_may_be_stopped_at_any_time(board: Board, tmp_path: Path, number: signal.Signals, code: int) -> None:
    board.configure(latency_ms=300)
    running = board.start("in", "--json", "--coco", "found.json")
    assert running.stdout is not None
    running.stdout.readline()
    running.send_signal(number)
    output, errors = running.communicate(timeout=20)
    assert running.returncode == code, errors
    assert "Traceback" not in errors
    assert len(output.splitlines()) < 20
    assert json.loads((tmp_path / "found.json").read_text())


def test_a_reader_that_goes_ends_it_quietly(board: Board) -> None:
    board.configure(latency_ms=100)
    running = board.start("in", "--json")
    assert running.stdout is not None
    running.stdout.readline()
    running.stdout.close()
    assert running.stderr is not None
    errors = running.stderr.read()
    assert running.wait(timeout=20) == 141
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors


def test_the_pipeline_is_quicker_than_one_core(board: Board) -> None:
    """How much quicker, `benchmarks/pipeline.py` measures: a busy machine fails no test."""
    board.configure(latency_ms=60)
    seconds = []
    for words in (("--core", "0"), ()):
        start = time.monotonic()
        assert board.run("in", *words).returncode == 0
        seconds.append(time.monotonic() - start)
    assert seconds[0] - seconds[1] > 0.3  # of 24 * 60 ms on one core and a third of that on three
