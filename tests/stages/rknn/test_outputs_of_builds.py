"""Findings in what real builds give: a stock head's scores are lost in INT8, and nothing else says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from tests.support import toy_onnx

ROOT = Path(__file__).parents[3]


def joined() -> onnx.ModelProto:
    """Boxes a thousand times as large and scores in one output."""
    model = toy_onnx.network(factor=1000.0)
    model.graph.node.append(helper.make_node("Concat", ["boxes_8", "scores_8"], ["all"], name="/head/Concat", axis=1))
    del model.graph.output[:]
    cells = toy_onnx.SIZE // 8
    channels = 64 + len(toy_onnx.NAMES)
    model.graph.output.append(helper.make_tensor_value_info("all", TensorProto.FLOAT, [1, channels, cells, cells]))
    return model


def test_scores_in_the_tensor_of_boxes_are_predicted_and_found_dead(tmp_path: Path) -> None:
    source: dict[str, Any] = toy_onnx.source()
    source["model"]["task"] = "generic"
    del source["classes"]
    cells = toy_onnx.SIZE // 8
    head = {"family": "outputs", "outputs": ["all"], "shapes": [[1, 64 + len(toy_onnx.NAMES), cells, cells]]}
    toy_onnx.package(tmp_path, joined(), source, head=head)
    images = toy_onnx.dataset(tmp_path / "data", 24).parent / "images" / "train"
    command = [sys.executable, "-m", "stages.rknn", "--onnx", "best.onnx", "--source", "onnx_source.yaml"]
    command += ["--target", "rk3588", "--dtype", "int8", "--dataset", str(images), "--out", "out", "--threads", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True)
    assert done.returncode in (0, 3), done.stderr[-3000:]
    record = json.loads((tmp_path / "out" / "performance_rknn.json").read_text())
    found = {issue["name"]: issue["evidence"] for issue in record["issues"] if "name" in issue}
    assert found["mixed-output"]["layer"] == "/head/Concat"
    # The simulator's scores are one value each, whatever the image: both channels of them.
    assert found["dead-scores"]["channels"] == len(toy_onnx.NAMES)
    assert found["dead-scores"]["first"] == 64
    # And the tensor as a whole agrees all but perfectly.
    assert record["comparison_with_onnx"]["int8"]["outputs"][0]["cosine"] > 0.999
