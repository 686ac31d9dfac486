"""Timing: percentiles of each part and of the whole."""

from __future__ import annotations

import time

import pytest

from stages.common.timing import Timer


def test_parts_add_up_to_the_total_of_each_image() -> None:
    timer = Timer({"pre": [1.0, 2, 3], "inference": [10.0, 20, 30], "post": [5.0, 5, 5]})
    latency = timer.latency_ms()
    assert latency["inference"] == {"p50": 20, "p90": 28, "p99": 29.8}
    assert latency["total"]["p50"] == 27
    assert timer.runs == 3


def test_a_block_is_timed_in_milliseconds() -> None:
    timer = Timer()
    with timer.part("post"):
        time.sleep(0.02)
    assert 20 <= timer.parts["post"][0] < 500


def test_a_block_that_fails_is_not_counted() -> None:
    timer = Timer()
    with pytest.raises(KeyError), timer.part("inference"):
        raise KeyError
    assert timer.runs == 0
    assert timer.latency_ms()["total"] == {"p50": None, "p90": None, "p99": None}
