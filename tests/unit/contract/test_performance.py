"""Gates and records."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcwbuild.contract import performance
from mcwbuild.contract.performance import Check, gate, relative_drop_percent, status

VALUES = st.floats(0.001, 1.0)


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
    assert performance.DROPS == {"onnx": 0.5, "fp16": 2.0, "int8": 5.0}
