"""What is read from the toolkit's log; the logs are real ones, of version 2.3.2."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.rknn import compiler_log
from stages.rknn.compiler_log import Unsupported

LOGS = Path(__file__).with_name("logs")


def log(name: str) -> str:
    return (LOGS / f"{name}.txt").read_text("utf-8")


def test_layers_cycles_and_memory_come_from_the_tables() -> None:
    found = compiler_log.parse(log("yolo11n_int8"))
    assert len(found.layers) == 15
    first = found.layers[0]
    assert (first.id, first.op, first.dtype, first.unit) == (1, "ConvExSwish", "INT8", "NPU")
    assert (first.cycles, first.traffic_kb, first.name) == (147456, 194, "/model.0/conv/Conv")
    assert found.cycles == 147456 + 36864 + 16384 + 36864 + 36864 + 32768 + 36864 + 8192
    assert (found.internal_kb, found.weight_kb) == (704.0, 2584.56)
    assert not found.unsupported


def test_the_graphs_inputs_and_outputs_are_no_layers_on_the_cpu() -> None:
    assert compiler_log.parse(log("yolo11n_int8")).on("CPU") == ()


@pytest.mark.parametrize(
    ("name", "operator", "layer"),
    [("det_unsupported", "Det", "/l1/Det"), ("gridsample", "GridSample", "/l1/Grid")],
)
def test_operators_without_implementation_are_found_in_successful_builds(name: str, operator: str, layer: str) -> None:
    found = compiler_log.parse(log(name))
    assert found.unsupported == (Unsupported(operator, layer),)
    assert [row.op for row in found.on("CPU")] == [operator]
    assert found.errors == ()


def test_the_other_wording_for_an_unsupported_operator() -> None:
    line = "W RKNN: [10:00:00.000] Meet RKNN unsupport Operator: name = 'y', type = DeformConv, it will be treated as"
    assert compiler_log.parse(line).unsupported == (Unsupported("DeformConv", "y"),)


def test_a_harmless_error_line_counts_for_nothing() -> None:
    assert "Unkown op target: 0" in log("gridsample")
    assert compiler_log.parse("E RKNN: [00:54:11.890] Unkown op target: 0").errors == ()


def test_the_compilers_last_words_before_an_abort() -> None:
    assert "Meet unsupported conv, input tensor name: x" in compiler_log.parse(log("rk2118_int8_abort")).errors[-1]


def test_overflow_of_fp16_is_found() -> None:
    line = "W inference: The range [inf, inf] of 'y' is out of the float16!"
    assert compiler_log.parse(line).overflowed == ("y",)


def test_what_people_read_moves_no_cursor() -> None:
    text = compiler_log.readable("\x1b[1;33mW\x1b[0m build: a\x07b\x1b]0;title\rnext\nI Loading :  40%|##  | 1/2\n")
    assert text == "W build: a\\x07b\\x1b]0;title\nnext\n"


@given(st.text() | st.from_regex(r"(D|E|W) RKNN: .*\n", fullmatch=True))
def test_any_text_is_read_without_an_error(text: str) -> None:
    compiler_log.parse(text)
    assert all(part.isprintable() or part in "\t\n\xad" or part > "\x9f" for part in compiler_log.readable(text))
