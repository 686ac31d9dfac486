"""Every way in which the toolkit fails becomes one error with three sentences."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mcwbuild.contract.errors import EnvironmentLacking, McwbuildError, StageFailed, from_dict
from stages.rknn import compiler_log, failures
from stages.rknn.compiler_log import Unsupported

LOGS = Path(__file__).with_name("logs")
EMPTY = compiler_log.parse("")


def refused(cause: str, log: str = "") -> McwbuildError:
    return failures.refused("int8", "build", cause, compiler_log.parse(log))


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        ("ValueError: Unsupport onnx opset 20, need <= 19!", "opset"),
        ("ValidationError: No Op registered for FooBar with domain_version of 19", "operator-unknown"),
        ("Fail: No opset import for domain 'my.ops'", "operator-unknown"),
        ("NonMaxSuppression will cause the graph to be a dynamic graph! Remove it manually", "dynamic-graph"),
        ("The input shape ['N', 3, 32, 32] of 'x' is not support!", "input-shape"),
        ("MemoryError: Unable to allocate 3.2 GiB", "out-of-memory"),
        ("something that nobody has seen", "toolkit"),
    ],
)
def test_refusals_are_stage_failures_with_a_cause_and_a_remedy(cause: str, kind: str) -> None:
    error = refused(cause)
    assert isinstance(error, StageFailed)
    assert error.kind == kind
    assert error.what == "The int8 build failed in build."
    assert cause.split("!")[0][:30] in error.found
    assert error.remedy


def test_a_bare_return_code_is_explained_by_the_log() -> None:
    log = "E build: Current target_platform(rv1103) not support do_quantization = False!"
    error = refused("build returned -1", log)
    assert error.kind == "no-float"
    assert "not support do_quantization" in error.found


def test_the_layer_is_named_where_the_toolkit_names_one() -> None:
    cause = next(line for line in (LOGS / "unknown_operator.txt").read_text().splitlines() if "In Node" in line)
    error = refused(cause)
    assert error.kind == "operator-unknown"
    assert 'Layer: FooBar "/l1/Foo".' in error.found


def test_a_fusion_rule_is_taken_out_of_the_log_and_crosses_to_the_orchestrator_as_a_failure() -> None:
    log = "W You can add disable_rules=['fuse_conv_gather'] in rknn.config() to temporarily disable the error rule!"
    error = refused("TypeError: len() of unsized object", log)
    assert isinstance(error, failures.RuleFailed)
    assert error.rule == "fuse_conv_gather"
    crossed = from_dict(error.as_dict())
    assert type(crossed) is StageFailed
    assert crossed.kind == "fusion-rule"
    assert "len() of unsized object" in crossed.found


def test_what_nobody_has_seen_is_said_to_be_unknown() -> None:
    assert refused("something new").remedy.startswith("mcwbuild does not know this failure")


def test_a_crash_without_a_word_is_known_by_its_signal() -> None:
    error = failures.killed("fp16", "fp16 build", signal.SIGSEGV, 0, EMPTY)
    assert error.kind == "compiler-crash"
    assert "It printed no reason." in error.found
    assert "cubic" in error.found


def test_a_missing_toolkit_and_a_full_disk_are_the_environments() -> None:
    for cause in ("No module named 'rknn'", "OSError: [Errno 28] No space left on device"):
        assert isinstance(refused(cause), EnvironmentLacking)


def test_an_abort_carries_the_compilers_last_words() -> None:
    log = compiler_log.parse((LOGS / "rk2118_int8_abort.txt").read_text())
    error = failures.killed("int8", "int8 build", signal.SIGABRT, 0, log)
    assert "SIGABRT" in error.found
    assert 'Layer: "x"' in error.found
    assert error.kind == "conv-unsupported"


def test_sigkill_means_that_memory_ran_out() -> None:
    error = failures.killed("int8", "int8 build", signal.SIGKILL, 1_500_000, EMPTY)
    assert error.kind == "out-of-memory"
    assert "1.5 GB" in error.found


def test_an_unknown_signal_is_told_by_its_number() -> None:
    assert "signal 63" in failures.killed("fp16", "build", 63, 0, EMPTY).found


def test_success_that_no_board_can_run_names_every_operator() -> None:
    error = failures.unsupported("fp16", (Unsupported("Det", "/l1/Det"), Unsupported("Atan", "")), "rk3588")
    assert 'Det (layer "/l1/Det"), Atan' in error.found


def test_hostile_text_of_the_toolkit_stays_on_one_ascii_line() -> None:
    error = refused("bad\x1b[31m\nname \u202e" + "x" * 5000)
    assert error.found.isascii()
    assert error.found.isprintable()
    assert len(error.found) < 600


@pytest.mark.parametrize("said", ["corrupted size vs. prev_size", "corrupted double-linked list"])
def test_a_heap_that_the_compiler_has_destroyed_is_its_crash(said: str) -> None:
    error = failures.killed("int8", "int8 build", signal.SIGABRT, 0, compiler_log.parse(f"I building\n{said}\n"))
    assert error.kind == "compiler-crash"
    assert said in error.found
