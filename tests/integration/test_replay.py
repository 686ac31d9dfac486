"""`mcwbuild replay` as a user runs it. Its parts are in tests/unit/test_replay.py."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.commands import EXAMPLE, mcwbuild

STEP = "onnx_package"


def test_a_step_of_a_run_that_was_moved_is_repeated(example: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(example, tmp_path / "a/b/c/d/moved"))  # the dataset lies elsewhere, seen from here
    asked = ("replay", run / STEP, "--json", "--keep", tmp_path / "kept")
    lost = mcwbuild(*asked, cwd=tmp_path)
    assert lost.code == 2
    assert "the input --data of the onnx phase is not found" in lost.stderr
    done = mcwbuild(*asked, "--data", EXAMPLE / "data.yaml", cwd=tmp_path)
    assert done.code == 0, done.stderr
    (step,) = done.json
    assert [model["verdict"] for model in step["models"]] == ["same bytes"]
    assert step["environment"] == []
    made = tmp_path / "kept" / f"0-{STEP}" / STEP / "best.onnx"
    assert made.read_bytes() == (run / STEP / "best.onnx").read_bytes()


def test_bytes_are_asked_for(example: Path, tmp_path: Path) -> None:
    done = mcwbuild("replay", example / "rknn_package", "--bytes", cwd=tmp_path)
    assert done.code == 3
    assert "other bytes, the same accuracy" in done.stdout
    assert done.stdout.count("0.") >= 4


def test_what_cannot_be_kept_is_told_before_anything_runs(example: Path, tmp_path: Path) -> None:
    within = mcwbuild("replay", example, "--keep", example / "again", cwd=tmp_path)
    (tmp_path / "there").mkdir()
    there = mcwbuild("replay", example, "--keep", tmp_path / "there", cwd=tmp_path)
    assert (within.code, there.code) == (2, 2)
    assert "lies in the run that is repeated" in within.stderr
    assert "is there already" in there.stderr
