"""`--reproducible` in containers: other folders, another number of threads and a busy machine change no byte."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.support import reproducible_trials as trials
from tests.support.commands import EXAMPLE, mcwbuild

pytestmark = pytest.mark.docker


def test_two_containers_build_the_same_to_the_last_byte(images: dict[str, str], example: Path, tmp_path: Path) -> None:
    package = example / "onnx_package"
    made = []
    for place, busy, threads in (("a", 0, 1), ("b/much/longer", 3, 2)):
        with trials.load(busy):
            done = mcwbuild(
                *("convert", "--onnx", package / "best.onnx", "--source", package / "onnx_source.yaml"),
                *("--data", EXAMPLE / "data.yaml", "--target", "rk3588", "--tune", "off", "--reproducible"),
                *("--engine", "docker", "--threads", str(threads), "--out", tmp_path / place),
                cwd=tmp_path,
            )
        assert done.code == 0, done.stderr
        files = sorted((tmp_path / place / "rknn_package").glob("best_*.rknn"))
        made.append({file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files})
    assert sorted(made[0]) == ["best_fp16.rknn", "best_int8.rknn"]
    assert made[0] == made[1]
