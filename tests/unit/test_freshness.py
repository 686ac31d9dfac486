"""What a step's freshness depends on beside its flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcwbuild import freshness
from mcwbuild.contract.phases import PT
from mcwbuild.plan import Step


@pytest.mark.parametrize("name", ["", "data.yaml"])
def test_a_text_that_was_corrected_makes_a_step_anew(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.png").write_bytes(b"image")
    (tmp_path / "val.txt").write_text("a.png\tone\n")
    (tmp_path / "data.yaml").write_text("val: val.txt\n")
    step = Step("pt", PT, (("--data", tmp_path / name),), (), (tmp_path / "a.png",), tmp_path / "out")
    before = freshness.input_hashes(step)
    assert freshness.input_hashes(step) == before
    (tmp_path / "val.txt").write_text("a.png\tOne\n")
    assert freshness.input_hashes(step) != before
