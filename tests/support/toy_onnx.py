"""A detector small enough to build in a second: one scale, 32 x 32 input, the head of a cut YOLO.

Needs onnx: for tests that run in a stage's environment.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mcwbuild.contract import disk, documents, inherit

SIZE = 32  # pixels, both ways
NAMES = ["cat", "dog"]
HEAD = {
    "family": "yolo_dfl",
    "strides": [8],
    "reg_max": 16,
    "num_classes": len(NAMES),
    "outputs": ["boxes_8", "scores_8"],
    "score_activation": "sigmoid",
}


def source(colours: str = "RGB", mean: float = 0.0, std: float = 255.0) -> dict[str, Any]:
    """A training_source of the detector; `mean` is the first channel's, each further one's is higher by 1."""
    channels = inherit.CHANNELS[colours]
    return inherit.complete(
        {
            "model": {"name": "toy", "type": "YOLO11", "task": "object_detection"},
            "classes": {"names": NAMES},
            "input": {"size": [SIZE, SIZE], "format": colours},
            "preprocessing": {
                "resize": {"method": "letterbox"},
                "normalize": {"mean": [mean + n for n in range(channels)], "std": [std] * channels},
            },
        }
    )


def network(
    extra: str | None = None,
    *,
    factor: float = 1.0,
    channels: int = 3,
    opset: int = 17,
    input_type: int = TensorProto.FLOAT,
    size: Any = SIZE,
) -> onnx.ModelProto:
    """The detector; `extra` is an operator put in front of the boxes, `factor` multiplies them."""
    random = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(random.normal(0, 0.2, shape).astype(np.float32), name)

    constants = [
        weights("w0", 16, channels, 8, 8),
        weights("w1", 64, 16, 1, 1),
        weights("w2", len(NAMES), 16, 1, 1),
        numpy_helper.from_array(np.array(factor, np.float32), "factor"),
    ]
    nodes = [
        helper.make_node("Conv", ["images", "w0"], ["c"], name="/stem/Conv", strides=[8, 8]),
        helper.make_node("Relu", ["c"], ["features"], name="/stem/Relu"),
        helper.make_node("Conv", ["features", "w1"], ["b"], name="/box/Conv"),
        helper.make_node(extra or "Identity", ["b"], ["e"], name="/box/extra"),
        helper.make_node("Mul", ["e", "factor"], ["boxes_8"], name="/box/Mul"),
        helper.make_node("Conv", ["features", "w2"], ["s"], name="/score/Conv"),
        helper.make_node("Sigmoid", ["s"], ["scores_8"], name="/score/Sigmoid"),
    ]
    inputs = [helper.make_tensor_value_info("images", input_type, [1, channels, size, size])]
    cells = SIZE // 8
    outputs = [
        helper.make_tensor_value_info("boxes_8", TensorProto.FLOAT, [1, 64, cells, cells]),
        helper.make_tensor_value_info("scores_8", TensorProto.FLOAT, [1, len(NAMES), cells, cells]),
    ]
    graph = helper.make_graph(nodes, "toy", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def package(
    folder: Path,
    model: onnx.ModelProto,
    given: dict[str, Any] | None = None,
    *,
    signed: bool = True,
    head: dict[str, Any] = HEAD,
) -> Path:
    """Write best.onnx and onnx_source.yaml as the onnx phase does; unsigned: without the contract inside."""
    given = source() if given is None else given
    folder.mkdir(parents=True, exist_ok=True)
    if signed:
        metadata = {
            "mcwbuild.contract": inherit.canonical(inherit.critical(given)),
            "mcwbuild.contract_sha256": inherit.contract_sha256(given),
            "mcwbuild.head": json.dumps(head),
        }
        helper.set_model_props(model, metadata)
    onnx.save(model, str(folder / "best.onnx"))
    about = {"file": "best.onnx", "sha256": disk.sha256_of(folder / "best.onnx"), "head": head}
    documents.write_yaml(
        folder / "onnx_source.yaml", {"schema": "onnx_source/1", **inherit.carry(given), "onnx": about}
    )
    return folder


def dataset(folder: Path, images: int = 4) -> Path:
    """A labelled dataset in YOLO format, with both splits. Returns its data.yaml."""
    random = np.random.default_rng(3)
    for split in ("train", "val"):
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
        for number in range(images):
            picture = random.integers(0, 256, (40, 30, 3), np.uint8)
            assert cv2.imwrite(str(folder / "images" / split / f"{number}.png"), picture)
            (folder / "labels" / split / f"{number}.txt").write_text("0 0.5 0.5 0.4 0.4\n1 0.3 0.3 0.2 0.2\n")
    file = folder / "data.yaml"
    file.write_text(f"train: images/train\nval: images/val\nnames: {NAMES}\n")
    return file
