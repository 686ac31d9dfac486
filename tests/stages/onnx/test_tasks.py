"""The cut networks of every task as ONNX files: ONNX Runtime gives what PyTorch gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.common.checkpoint import read
from stages.families import recognise
from stages.families.shapes import output_shapes
from stages.families.yolo.network import quiet_ultralytics

quiet_ultralytics()

import torch  # noqa: E402

from stages.onnx import graph  # noqa: E402
from stages.onnx.ort_runner import OrtRunner  # noqa: E402
from tests.support.detectors import saved, untrained  # noqa: E402

CASES = [
    ("yolov8n-cls", "classify"),
    ("yolo11n-seg", "segment"),
    ("yolo26n-seg", "segment"),
    ("yolov8n-pose", "pose"),
    ("yolo26n-pose", "pose"),
    ("yolo11n-obb", "obb"),
    ("yolo26n-obb", "obb"),
]


@pytest.mark.parametrize(("name", "task"), CASES)
def test_the_exported_graph_gives_what_the_cut_network_gives(tmp_path: Path, name: str, task: str) -> None:
    checkpoint = read(saved(tmp_path, untrained(f"{name}.yaml"), imgsz=64, task=task))
    family = recognise(checkpoint)
    source = family.describe(checkpoint)
    network, head = family.cut(family.build(checkpoint))
    data = graph.export(network, [64, 96], 3, head["outputs"], 17)
    slim, reason = graph.simplify(data)
    assert not reason
    labelled = graph.label(slim, source, head)
    graph.check(labelled)
    runner = OrtRunner(labelled, source, head["outputs"], 1)
    image = np.random.default_rng(0).random((1, 3, 64, 96), np.float32)
    found = runner.run(image)
    assert [list(output.shape) for output in found] == output_shapes(head, [64, 96])
    with torch.inference_mode():
        for own, expected in zip(found, network(torch.from_numpy(image)), strict=True):
            assert np.abs(own - expected.numpy()).max() < 1e-3 * max(1.0, float(expected.abs().max()))
