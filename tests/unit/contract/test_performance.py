"""Gates and records."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcwbuild.contract import performance
from mcwbuild.contract.limits import DROPS, Limit
from mcwbuild.contract.performance import Chance, Check, Gate, relative_drop_percent, status, warnings
from mcwbuild.contract.phases import PT

VALUES = st.floats(0.001, 1.0)


def gate(metric: str, reference: str, previous: float | None, current: float | None, limit: float, **more: Any) -> Gate:
    """A gate with a limit in percent."""
    return performance.gate(metric, reference, previous, current, Limit(limit, relative=True), **more)


def test_a_drop_is_relative_and_in_percent() -> None:
    assert relative_drop_percent(0.8, 0.4) == pytest.approx(50.0)
    assert relative_drop_percent(0.4, 0.8) == pytest.approx(-100.0)


@pytest.mark.parametrize(("previous", "current"), [(0.0, 0.5), (-1.0, 0.5), (math.nan, 0.5), (0.5, math.inf)])
def test_a_drop_from_nothing_is_not_defined(previous: float, current: float) -> None:
    with pytest.raises(ValueError, match="no relative drop"):
        relative_drop_percent(previous, current)


@given(VALUES, VALUES, st.floats(0.1, 50))
def test_a_gate_passes_exactly_up_to_its_limit(previous: float, current: float, limit: float) -> None:
    made = gate("map50_95", "onnx", previous, current, limit)
    drop = (previous - current) / previous * 100
    if abs(drop - limit) > 1e-6:
        assert made.status == ("passed" if drop < limit else "failed")
    assert made.drop_percent == pytest.approx(drop)


@pytest.mark.parametrize(("previous", "limit"), [(0.8, 2.0), (0.7, 5.0), (0.3, 0.5), (0.685, 0.5)])
def test_a_drop_of_exactly_the_limit_passes(previous: float, limit: float) -> None:
    assert gate("map50_95", "pt", previous, previous * (1 - limit / 100), limit).status == "passed"


def test_what_was_not_measured_is_neither_passed_nor_failed() -> None:
    assert gate("map50_95", "pt", None, 0.5, 0.5).status == "unmeasured"
    made = gate("map50_95", "pt", 0.5, None, 0.5, variant="int8", reason="No labels.")
    assert (made.status, made.reason, made.drop_percent) == ("unmeasured", "No labels.", None)
    assert gate("map50_95", "pt", 0.0, 0.0, 0.5).status == "unmeasured"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_never_passes(value: float) -> None:
    assert gate("map50_95", "pt", 0.5, value, 0.5).status == "failed"
    made = gate("map50_95", "pt", value, 0.5, 0.5)
    assert made.status == "failed"
    assert made.previous is None


def test_nothing_found_any_more_fails() -> None:
    made = gate("map50_95", "onnx", 0.83, 0.0, 5.0, variant="int8")
    assert made.status == "failed"
    assert made.reason == "int8 map50_95 is 0.0000 after 0.8300 (onnx): a drop of 100.00 % where 5 % is allowed."


def test_one_failure_decides_and_one_gap_keeps_from_passing() -> None:
    passed, failed, gap = (gate("m", "pt", p, 0.5, 1.0) for p in (0.5, 0.9, None))
    assert status([passed]) == "passed"
    assert status([passed, gap]) == "unmeasured"
    assert status([passed, gap, failed]) == "failed"
    assert status([passed], [Check("loads", "failed", "no")]) == "failed"
    assert status([]) == "unmeasured"


def test_the_limits_are_those_that_users_were_told() -> None:
    assert DROPS == {"onnx": 0.5, "fp16": 2.0, "int8": 5.0}


INTERVALS = [  # of a drop of 2.0 %, where 3 % are allowed, or of 4.0 %
    (97.5, (1.0, 2.9), "passed"),
    (97.5, (1.0, 3.0), "passed"),
    (97.5, (1.0, 3.1), "undecided"),
    (95.0, (3.1, 6.0), "failed"),
    (95.0, (3.0, 6.0), "undecided"),
    (95.0, (2.0, 6.0), "undecided"),
]


@pytest.mark.parametrize(("current", "interval", "expected"), INTERVALS)
def test_a_gate_decides_where_the_whole_interval_does(
    current: float, interval: tuple[float, float], expected: str
) -> None:
    made = gate("map50_95", "onnx", 100.0, current, 3.0, chance=Chance(interval, images=120))
    assert made.status == expected
    assert made.interval == interval
    assert ("do not decide" in made.reason) == (expected == "undecided")
    assert missed(made, strict=False) == (expected == "failed")
    assert missed(made, strict=True) == (expected != "passed")


def missed(made: Gate, *, strict: bool) -> bool:
    record = {"validation": performance.validation([made])}
    return performance.missed_gate(record, PT, strict=strict) is not None


def test_an_undecided_gate_says_how_many_images_would_decide() -> None:
    made = gate("map50_95", "onnx", 100.0, 98.0, 3.0, chance=Chance((0.0, 4.0), images=100))
    assert made.images_needed == 400  # half as wide
    assert "about 400 would" in made.reason
    other = gate("map50_95", "onnx", 100.0, 94.0, 3.0, chance=Chance((0.0, 9.0), images=100))
    assert other.images_needed == 400
    close = gate("map50_95", "onnx", 100.0, 97.0, 3.0, chance=Chance((0.0, 9.0), images=100))
    assert close.images_needed is None
    assert "no number of them is likely to" in close.reason


@pytest.mark.parametrize(("current", "expected"), [(0.5, "undecided"), (0.4, "failed")])
def test_too_few_images_pass_nothing_and_fail_what_they_show(current: float, expected: str) -> None:
    made = gate("map50_95", "onnx", 0.5, current, 5.0, chance=Chance(reason="Too few.", images=4, least=10))
    assert (made.status, made.images_needed) == (expected, 10 if expected == "undecided" else None)
    assert made.interval_reason == "Too few."


def test_without_an_interval_the_drop_alone_decides() -> None:
    chance = Chance(reason="Of other images.")
    assert [gate("f1", "onnx", 0.5, current, 5.0, chance=chance).status for current in (0.5, 0.4)] == [
        "passed",
        "failed",
    ]


def test_a_limit_may_be_in_the_metric_s_own_unit() -> None:
    made = performance.gate("map50", "onnx", 0.8, 0.77, Limit(0.02, relative=False))
    assert (made.status, made.limit_percent, made.limit_absolute) == ("failed", None, 0.02)
    assert made.drop_absolute == pytest.approx(0.03)
    assert made.drop_percent == pytest.approx(3.75)
    assert "a drop of 0.0300 where 0.02 is allowed" in made.reason


@pytest.mark.parametrize(
    ("limit", "loosened"),
    [(Limit(5, True), False), (Limit(4, True), False), (Limit(5.1, True), True), (Limit(0.01, False), True)],
)
def test_a_limit_that_allows_more_than_promised_is_told(limit: Limit, loosened: bool) -> None:
    made = performance.gate("map50_95", "onnx", 0.8, 0.8, limit, variant="int8", promised=Limit(5, True))
    assert made.loosened == loosened
    said = warnings({"validation": performance.validation([made])})
    assert [text for text in said if "int8 map50_95 is not the promised one" in text] == (said if loosened else [])


def test_an_undecided_gate_is_told_as_a_warning_and_decides_the_status() -> None:
    made = gate("map50_95", "onnx", 100.0, 98.0, 3.0, chance=Chance((0.0, 4.0), images=100))
    assert status([made, gate("m", "pt", 0.5, 0.5, 1.0), gate("m", "pt", None, 0.5, 1.0)]) == "undecided"
    assert [text[:11] for text in warnings({"validation": performance.validation([made])})] == ["undecided: "]
