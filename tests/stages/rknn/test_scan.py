"""The activation scan on toy networks: what it sees is what ONNX Runtime gives for the tensor itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from mcwbuild.contract import inherit
from stages.common.images import normalise
from stages.rknn.scan import Scan, scan
from tests.support import toy_onnx

CONTRACT = inherit.critical(toy_onnx.source())


def pictures(count: int = 3) -> list[np.ndarray]:
    random = np.random.default_rng(4)
    return [random.integers(0, 256, (toy_onnx.SIZE, toy_onnx.SIZE, 3), np.uint8) for _ in range(count)]


def scanned(model: onnx.ModelProto, folder: Path) -> Scan:
    onnx.save(model, str(folder / "best.onnx"))
    return scan(folder / "best.onnx", CONTRACT, pictures(), 1)


def joined(factor: float) -> onnx.ModelProto:
    """Boxes, made `factor` times as large, and scores in one output, as a stock head has them."""
    model = toy_onnx.network(factor=factor)
    shape = numpy_helper.from_array(np.array([1, -1, (toy_onnx.SIZE // 8) ** 2]), "shape")
    model.graph.initializer.append(shape)
    for name in ("boxes_8", "scores_8"):
        model.graph.node.append(helper.make_node("Reshape", [name, "shape"], [f"{name}_flat"]))
    model.graph.node.append(
        helper.make_node("Concat", ["boxes_8_flat", "scores_8_flat"], ["all"], name="/head/Concat", axis=1)
    )
    model.graph.node.append(helper.make_node("Identity", ["all"], ["output0"]))
    del model.graph.output[:]
    channels = 64 + len(toy_onnx.NAMES)
    output = helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, channels, (toy_onnx.SIZE // 8) ** 2])
    model.graph.output.append(output)
    return model


@pytest.mark.parametrize("opset", [12, 17, 19])
def test_the_ranges_are_those_of_the_tensors(tmp_path: Path, opset: int) -> None:
    model = toy_onnx.network(opset=opset)
    found = {one.tensor: one for one in scanned(model, tmp_path).ranges}
    assert {"c", "features", "boxes_8", "scores_8", "w0", "factor"} <= set(found)
    model.graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = [session.run(["features"], {"images": normalise(one, CONTRACT)})[0] for one in pictures()]
    assert found["features"].low == pytest.approx(np.min(given), abs=1e-5)
    assert found["features"].high == pytest.approx(np.max(given), rel=1e-5)
    assert (found["features"].op, found["features"].layer) == ("Relu", "/stem/Relu")
    assert found["w0"].layer == "/stem/Conv"


def test_an_overflow_names_the_layer_and_its_value(tmp_path: Path) -> None:
    assert scanned(toy_onnx.network(), tmp_path).findings(("fp16", "int8")) == []
    seen = scanned(toy_onnx.network(factor=1e5), tmp_path)
    (found,) = seen.findings(("fp16",))
    assert found.name == "fp16-overflow"
    # The factor itself is beyond FP16, and comes before what it makes.
    assert (found.evidence["layer"], found.evidence["op"]) == ("/box/Mul", "Weight")
    assert found.evidence["value"] == pytest.approx(1e5)
    assert seen.findings(("int8",)) == []


def test_infinity_is_told_as_such(tmp_path: Path) -> None:
    (found,) = scanned(toy_onnx.network(factor=float("inf")), tmp_path).findings(("fp16",))
    assert found.evidence["value"] == "infinity"


def test_a_stock_head_is_seen_through_reshaping(tmp_path: Path) -> None:
    (found,) = scanned(joined(300.0), tmp_path).findings(("int8", "fp16"))
    assert found.name == "mixed-output"
    assert found.evidence["layer"] == "/head/Concat"
    assert [part["tensor"] for part in found.evidence["parts"]] == ["boxes_8", "scores_8"]
    assert scanned(joined(1.0), tmp_path).findings(("int8",)) == []


def test_names_of_the_file_reach_nobody_as_they_are(tmp_path: Path) -> None:
    model = toy_onnx.network(factor=1e9)
    model.graph.node[4].name = "\x1b[31mred\n" + "x" * 500
    (found,) = scanned(model, tmp_path).findings(("fp16",))
    assert found.line.isprintable()
    assert len(found.evidence["layer"]) <= 120
