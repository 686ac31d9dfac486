"""The gate on speed."""

from __future__ import annotations

import pytest

from mcwbuild.contract.limits import limits_of, override
from mcwbuild.contract.speed import speed_gate


@pytest.mark.parametrize(
    ("variant", "measured", "given", "status"),
    [
        ("int8", 40.0, [], "passed"),
        ("int8", 39.9, [], "undecided"),
        ("fp16", 20.0, [], "passed"),
        ("fp16", 300.0, [], "passed"),
        ("int8", 39.9, ["int8.speedup=3.5"], "passed"),
        ("int8", 39.9, ["int8.speedup=4"], "failed"),
        ("int8", 39.9, ["fp16.speedup=4"], "undecided"),
    ],
)
def test_slower_than_a_set_limit_fails_slower_than_usual_is_a_warning(
    variant: str, measured: float, given: list[str], status: str
) -> None:
    gate = speed_gate(variant, 10.0, measured, [override(text) for text in given])
    assert gate.status == status
    assert f"{measured / 10:.2f} times as fast" in gate.reason


def test_what_was_not_timed_is_unmeasured() -> None:
    assert speed_gate("int8", None, 50.0, []).status == "unmeasured"
    assert "The NPU was not timed" in speed_gate("int8", 10.0, None, []).reason
    assert speed_gate("int8", None, None, [], "A stand-in.").reason == "A stand-in."


def test_a_speed_up_is_a_factor_and_no_drop() -> None:
    assert str(override("int8.speedup=4")) == "int8.speedup=4"
    assert override("fp16.speedup = 12").limit.value == 12
    assert set(limits_of("int8", "map50", [override("int8.speedup=4")])) == {"map50"}
    for bad in ("int8.speedup=4%", "int8.speedup=0", "onnx.speedup=2", "int8.speedup=fast"):
        with pytest.raises(ValueError):
            override(bad)
