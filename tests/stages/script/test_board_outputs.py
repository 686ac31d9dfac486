"""npu_inference.py of networks that tell nothing but themselves, on a stand-in for the board's runtime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from stages.families.shapes import output_shapes
from tests.support.board import Board, contract

SHAPES = [[1, 5], [1, 2, 3, 4]]
RANDOM = np.random.default_rng(11)


def made(folder: Path, task: str, head: dict[str, Any]) -> Board:
    block = contract()
    block["model"]["task"] = task
    if task == "generic":
        del block["classes"]
    return Board.make(folder, contract=block, head=head, shapes=output_shapes(head, [64, 96]))


def test_outputs_of_any_network_are_told_and_kept_as_they_are(tmp_path: Path) -> None:
    head = {"family": "outputs", "outputs": ["output_0", "/fc/y:1"], "shapes": SHAPES}
    board = made(tmp_path, "generic", head)
    given = [RANDOM.normal(0, 2, shape).astype(np.float32) for shape in SHAPES]
    board.record(given)
    path = board.image()
    done = board.run(path, "--json", "--outputs", tmp_path / "kept")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    for entry, name, output in zip(said["outputs"], head["outputs"], given, strict=True):
        assert (entry["name"], entry["shape"]) == (name, list(output.shape))
        wanted = [float(output.min()), float(output.max()), float(output.mean())]
        assert np.allclose([entry["min"], entry["max"], entry["mean"]], wanted, rtol=1e-6)
    (kept,) = (tmp_path / "kept").rglob("*.npz")
    with np.load(kept) as held:
        assert all(np.array_equal(held[name], output) for name, output in zip(head["outputs"], given, strict=True))
    lines = board.run(path).stdout.splitlines()
    assert lines[0].endswith("2 found")
    assert lines[1].split()[:1] == ["output_0"]


def test_scores_become_classes_as_their_head_says(tmp_path: Path) -> None:
    for activation in ("softmax", "none"):
        folder = tmp_path / activation
        folder.mkdir()
        head = {"family": "scores", "num_classes": 3, "outputs": ["y"], "activation": activation}
        board = made(folder, "classification", head)
        output = np.array([[0.2, 0.5, 0.3]], np.float32)
        board.record([output])
        done = board.run(board.image(), "--json", "--conf", "0")
        said = json.loads(done.stdout)
        wanted = np.exp(output[0]) / np.exp(output[0]).sum() if activation == "softmax" else output[0]
        assert [entry["class"] for entry in said["classes"]] == [1, 2, 0]
        assert np.allclose([entry["score"] for entry in said["classes"]], np.sort(wanted)[::-1], atol=1e-6)
