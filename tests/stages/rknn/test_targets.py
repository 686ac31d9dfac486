"""The table of chips, tried on the toolkit: a small detector for each in FP16 and INT8, and what two of them share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mcwbuild.contract.artefacts import read_rknn
from mcwbuild.contract.targets import TARGETS
from stages.rknn import compiler_log
from tests.support.target_trials import outcome, tried
from tests.support.toolkit_trials import Trial

LEAKED = 2000  # bytes: addresses and fragments of memory, different in every build, whatever its size


@pytest.mark.parametrize("name", TARGETS)
def test_a_chip_builds_what_the_table_says(tmp_path: Path, name: str) -> None:
    target = TARGETS[name]
    assert (outcome(tried(name, "float16", tmp_path)) == "built") is not bool(target.fp16)
    assert (outcome(tried(name, "w8a8", tmp_path)) == "built") is not bool(target.int8)


@pytest.mark.parametrize(
    ("name", "kind", "what"),
    [
        ("rk3576", "w4a16", "built"),
        ("rk3588", "w4a16", "refused"),
        ("rk3562", "w8a16", "crashed"),
        ("rv1106", "float16", "failed"),
    ],
)
def test_types_that_are_not_offered_are_as_the_table_says(tmp_path: Path, name: str, kind: str, what: str) -> None:
    assert outcome(tried(name, kind, tmp_path)) == what
    assert (kind in TARGETS[name].others) is (what == "built")


def content(made: Trial) -> NDArray[np.uint8]:
    return np.frombuffer((made.folder / "made.rknn").read_bytes(), np.uint8)


@pytest.mark.parametrize("kind", ["float16", "w8a8"])
@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if target.build != name])
def test_chips_that_share_a_build_differ_in_their_name_and_leaked_memory_alone(
    tmp_path: Path, name: str, kind: str
) -> None:
    own, other = (tried(chip, kind, tmp_path) for chip in (name, TARGETS[name].build))
    tables = [compiler_log.parse(made.log) for made in (own, other)]
    assert tables[0].layers
    assert tables[0].layers == tables[1].layers
    assert tables[0].weight_kb == tables[1].weight_kb
    assert tables[0].internal_kb == tables[1].internal_kb
    assert len(content(own)) == len(content(other))
    assert np.count_nonzero(content(own) != content(other)) < LEAKED
    assert read_rknn(own.folder / "made.rknn").target == (TARGETS[name].platform,)


def test_other_chips_builds_differ_in_size_already(tmp_path: Path) -> None:
    sizes = {
        len(content(tried(name, "w8a8", tmp_path))) for name in ("rk3562", "rk3566", "rk3576", "rk3588", "rv1126b")
    }
    assert len(sizes) == 5
