"""ONNX files with the anchor head of the original YOLOv5 and of YOLOv7, in the forms that their exports have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from mcwbuild.contract import documents, validate
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import ContractBroken, InputError
from mcwbuild.contract.stage import parser
from stages.families.yolo.preparation import LETTERBOXED
from stages.onnx import given, given_source, own
from stages.onnx.ort_runner import OrtRunner
from stages.onnx.stage import STAGE
from tests.support.foreign_onnx import export
from tests.support.yolov5 import ANCHORS, network

NAMES = ("first", "second", "third")
SIZE = (64, 96)
PIXELS = np.array(ANCHORS, float).reshape(3, 3, 2).tolist()
WRITTEN = {"stride": "32", "names": str(list(NAMES))}  # as export.py writes them
# What the head writes (see tests/support/yolov5.py), opset, simplified.
DECODED = [("v7", 12, True), ("v7", 17, False), ("yolov7", 17, False), ("yolov7", 12, True), ("v6", 13, False)]
MAPS = [("rockchip", 12, True), ("convolutions", 17, False), ("maps", 17, True)]


def exported(form: str, opset: int = 17, slim: bool = False, metadata: dict[str, str] | None = None) -> bytes:
    model = network(NAMES)
    model.model[-1].form = form
    return export(model, SIZE, opset, slim=slim, metadata=metadata, names=("images",))


def written(folder: Path, data: bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(data)
    return path


def document(folder: Path, **model: Any) -> Any:
    """A source written by hand."""
    path = folder / "training_source.yaml"
    whole = {
        "model": {"name": "toy", "type": "YOLOv5", "task": "object_detection", **model},
        "classes": {"names": list(NAMES), "num_classes": len(NAMES)},
        "input": {"size": list(SIZE), "format": "RGB"},
        "preprocessing": LETTERBOXED,
    }
    documents.write_yaml(path, whole)
    return given_source.read_document(path)


def errors(found: given.Given) -> dict[str, float]:
    """How far the cut's predictions are from the file's own, on noise."""
    data = given.cut(found)
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    image = np.random.default_rng(4).random((1, 3, *SIZE), np.float32)
    made = own.decoded(found.head, OrtRunner(data, {}, found.head.described["outputs"], 1).run(image))
    theirs = own.predictions(found.head, OrtRunner(found.data, {}, own.tensors(found.head), 1).run(image))
    return {name: float(np.abs(a - b).max()) for name, a, b in zip(("boxes", "scores"), made, theirs, strict=True)}


@pytest.mark.parametrize(("form", "opset", "slim"), DECODED)
def test_the_anchors_of_a_decoded_file_are_found_in_what_it_does(
    tmp_path: Path, form: str, opset: int, slim: bool
) -> None:
    found = given.read(written(tmp_path, exported(form, opset, slim)))
    assert found.head.described == {
        "family": "yolo_anchors",
        "strides": [8, 16, 32],
        "anchors": PIXELS,
        "num_classes": 3,
        "outputs": ["cells_8", "cells_16", "cells_32"],
        "score_activation": "sigmoid",
    }
    worst = errors(found)
    assert worst["boxes"] < 1e-3
    assert worst["scores"] < 1e-6


@pytest.mark.parametrize(("form", "opset", "slim"), MAPS)
def test_a_file_of_raw_maps_takes_its_anchors_from_the_source(
    tmp_path: Path, form: str, opset: int, slim: bool
) -> None:
    found = given.read(written(tmp_path, exported(form, opset, slim)))
    assert "anchors" not in found.head.described
    told = document(tmp_path, anchors=PIXELS)
    whole = given_source.with_anchors(found, told)
    assert whole.head.described["anchors"] == PIXELS
    assert given_source.from_document(told, whole)["model"]["anchors"] == PIXELS
    worst = errors(whole)
    assert worst["boxes"] < 1e-3
    assert worst["scores"] < 1e-6


@pytest.mark.parametrize("anchors", [None, PIXELS[:2], [scale[:2] for scale in PIXELS]])
def test_raw_maps_whose_anchors_nothing_tells_say_what_to_write(tmp_path: Path, anchors: Any) -> None:
    found = given.read(written(tmp_path, exported("rockchip", metadata=WRITTEN)))
    with pytest.raises(InputError, match=r"model\.anchors"):
        given_source.with_anchors(found, document(tmp_path, **({"anchors": anchors} if anchors else {})))
    with pytest.raises(InputError, match="anchors"):
        given_source.from_metadata(found, "toy")


def test_a_source_with_other_anchors_than_the_graph_breaks_the_contract(tmp_path: Path) -> None:
    found = given.read(written(tmp_path, exported("v7")))
    other = [[[side + 1 for side in anchor] for anchor in scale] for scale in PIXELS]
    told = document(tmp_path, anchors=other)
    with pytest.raises(ContractBroken, match=r"(?i)model\.anchors is \[\[\[11"):
        given_source.from_document(told, given_source.with_anchors(found, told))
    rounded = document(
        tmp_path, anchors=[[[side * 1.00001 for side in anchor] for anchor in scale] for scale in PIXELS]
    )
    taken = given_source.with_anchors(found, rounded)
    assert given_source.from_document(rounded, taken)["model"]["anchors"] == taken.head.described["anchors"]
    assert given_source.from_document(document(tmp_path), found)["model"]["anchors"] == PIXELS


def test_the_metadata_of_export_py_are_contract_enough(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    path = written(tmp_path, exported("v7", 12, True, WRITTEN))
    args = parser(STAGE).parse_args(["--out", str(out), "--threads", "1", "--onnx", str(path), "--name", "toy"])
    STAGE.work(STAGE.require(args), Bench(out, out, 1, lambda event: None))
    names = [(out / "onnx_source.yaml", "onnx_source"), (out / "performance_onnx.json", "performance_onnx")]
    source, record = (each.value for each in validate.require_all(names))
    assert source["model"]["type"] == "YOLOv5"
    assert source["model"]["anchors"] == source["onnx"]["head"]["anchors"] == PIXELS
    assert source["classes"]["names"] == list(NAMES)
    checks = {check["name"]: check["status"] for check in record["validation"]["checks"]}
    assert checks["cut equals the given graph"] == checks["output shapes"] == "passed"


def larger(model: Any) -> None:
    """Boxes that are not the formula's: every number of the output a little larger."""
    last = next(node for node in reversed(model.graph.node) if model.graph.output[0].name in node.output)
    last.output[0] = "raw"
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1.05), "larger"))
    model.graph.node.append(helper.make_node("Mul", ["raw", "larger"], [model.graph.output[0].name]))


def test_boxes_by_another_formula_are_refused_with_how_far_they_are_off(tmp_path: Path) -> None:
    model = onnx.load_from_string(exported("v7"))
    larger(model)
    with pytest.raises(InputError, match=r"not \(2 s\)\^2 times an anchor.*pixels off"):
        given.read(written(tmp_path, model.SerializeToString()))
