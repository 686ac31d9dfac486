"""Both variants at once: what comes back, who fails first, and who is abandoned."""

from __future__ import annotations

import threading

import pytest

from mcwbuild.contract.events import Emit, Event, Noted
from stages.rknn.side_by_side import LARGE, Share, all_of, share


@pytest.mark.parametrize(
    ("variants", "threads", "size", "expected"),
    [
        (2, 2, 10, Share(True, 1)),
        (2, 9, LARGE, Share(True, 4)),
        (2, 1, 10, Share(False, 1)),
        (1, 4, 10, Share(False, 4)),
        (2, 4, LARGE + 1, Share(False, 4)),
    ],
)
def test_threads_are_shared_where_there_are_enough_and_the_model_is_not_large(
    variants: int, threads: int, size: int, expected: Share
) -> None:
    assert share(variants, threads, size) == expected


def test_both_are_under_way_at_once_and_their_events_come_whole() -> None:
    met, told = threading.Barrier(2, timeout=10), list[Event]()

    def job(name: str, emit: Emit) -> str:
        met.wait()  # breaks where the other is not there
        for number in range(200):
            emit(Noted(f"{name} {number}"))
        return name

    jobs = {name: (lambda emit, name=name: job(name, emit)) for name in ("fp16", "int8")}
    assert all_of(jobs, told.append, True, lambda: None) == {"fp16": "fp16", "int8": "int8"}
    for name in jobs:
        own = [event.text for event in told if isinstance(event, Noted) and event.text.startswith(name)]
        assert own == [f"{name} {number}" for number in range(200)]


def test_the_first_failure_is_told_and_the_other_is_made_to_end() -> None:
    abandoned = threading.Event()

    def broken(emit: Emit) -> None:
        raise ValueError("the first")

    def waiting(emit: Emit) -> None:
        assert abandoned.wait(10)
        raise RuntimeError("killed")

    with pytest.raises(ValueError, match="the first"):
        all_of({"int8": waiting, "fp16": broken}, lambda event: None, True, abandoned.set)


def test_one_after_the_other_stops_at_the_first_failure() -> None:
    done = list[str]()

    def broken(emit: Emit) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        all_of({"fp16": broken, "int8": lambda emit: done.append("int8")}, lambda event: None, False, lambda: None)
    assert not done
