"""Limits of gates: how they are written, and which of several counts."""

from __future__ import annotations

from typing import Any

import pytest

from mcwbuild.contract import limits
from mcwbuild.contract.limits import Limit


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3%", Limit(3, True)),
        (" 0.5 % ", Limit(0.5, True)),
        ("0.02", Limit(0.02, False)),
        (".02", Limit(0.02, False)),
        (0.02, Limit(0.02, False)),
        (0, Limit(0, False)),
    ],
)
def test_a_limit_is_a_percentage_or_a_share(text: Any, expected: Limit) -> None:
    assert limits.limit(text) == expected
    assert limits.limit(str(expected)) == expected


@pytest.mark.parametrize("text", ["", "%", "-1%", "3", "101%", "nan", "1e-3", "3 %%", True, "three"])
def test_what_is_no_limit_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match=r"neither a drop|is more than"):
        limits.limit(text)


def test_a_gate_is_named_by_its_model_and_metric() -> None:
    made = limits.override("int8.boxes.map50 = 3 %")
    assert (made.key, made.metric, made.limit) == ("int8", "boxes.map50", Limit(3, True))
    assert limits.override(str(made)) == made


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("map50_95=3%", "not of the form"),
        ("int8.map50_95", "not of the form"),
        ("int4.map50_95=3%", "int4 is no gate"),
        ("int8.map5095=3%", "no metric of the records"),
        ("int8.best_confidence=3%", "no metric of the records"),
    ],
)
def test_what_names_no_gate_is_refused_with_what_there_is(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        limits.override(text)


def test_every_number_of_the_records_can_be_gated() -> None:
    assert {"map50_95", "map50", "precision", "recall", "f1", "top1", "top5", "boxes.map50_95", "cosine"} <= set(
        limits.metrics()
    )
    assert "at_confidence.recall" in limits.metrics()
    assert not [name for name in limits.metrics() if name.endswith("confidence")]


def test_files_and_flags_say_the_same_and_the_last_word_counts() -> None:
    of_file = limits.overrides({"int8": {"map50_95": "3 %", "map50": 0.02}, "onnx": {"map50_95": "1%"}})
    assert [str(one) for one in of_file] == ["int8.map50_95=3%", "int8.map50=0.02", "onnx.map50_95=1%"]
    assert limits.overrides("int8.map50_95=3%,int8.map50=0.02,onnx.map50_95=1%") == of_file
    both = limits.merged((*of_file, limits.override("int8.map50_95=4%")))
    assert [str(one) for one in both] == ["int8.map50_95=4%", "int8.map50=0.02", "onnx.map50_95=1%"]


def test_the_promised_limit_holds_unless_another_is_set() -> None:
    given = limits.overrides("int8.map50=0.02,fp16.map50_95=1%")
    promised = Limit(5, True)
    assert limits.limits_of("int8", "map50_95", given) == {
        "map50_95": (promised, promised),
        "map50": (Limit(0.02, False), None),
    }
    assert limits.limits_of("fp16", "map50_95", given) == {"map50_95": (Limit(1, True), Limit(2, True))}
