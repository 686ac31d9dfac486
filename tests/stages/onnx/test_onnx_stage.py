"""The onnx stage from checkpoint and source to package, and everything that it refuses."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcwbuild.contract import documents, inherit, validate
from mcwbuild.contract.artefacts import read_onnx
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import ContractBroken, InputError
from mcwbuild.contract.stage import parser
from stages.common import checkpoint as checkpoints
from stages.common.image_set import open_images
from stages.families import recognise
from stages.onnx import graph, make
from stages.onnx.stage import STAGE
from tests.support.drawn import draw
from tests.support.make_checkpoint import main as make_checkpoint

NAMES = ("first", "second name", "third")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with best.pt (an untrained YOLO11n for 64x96), its training_source.yaml, and a dataset."""
    folder = tmp_path_factory.mktemp("inputs")
    make_checkpoint(str(folder / "best.pt"), "yolo11n.yaml", "64,96", *NAMES)
    checkpoint = checkpoints.read(folder / "best.pt")
    documents.write_yaml(folder / "training_source.yaml", recognise(checkpoint).describe(checkpoint, "toy"))
    draw(folder / "dataset", NAMES)
    return folder


def do(inputs: Path, out: Path, *flags: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the stage's own part; returns its valid source and record."""
    out.mkdir()
    given = ["--pt", inputs / "best.pt", "--source", inputs / "training_source.yaml", *flags]
    args = parser(STAGE).parse_args(["--out", str(out), "--threads", "1", *map(str, given)])
    STAGE.work(STAGE.require(args), Bench(out, out, 1, lambda event: None))
    source, record = validate.require_all(
        [(out / "onnx_source.yaml", "onnx_source"), (out / "performance_onnx.json", "performance_onnx")]
    )
    return source.value, record.value


def baseline(inputs: Path, map50_95: float, **changes: Any) -> Path:
    """A pt record of the same dataset with the given accuracy, valid by its schema."""
    source = inherit.complete(documents.read_yaml(inputs / "training_source.yaml").value)
    images = open_images(inputs / "dataset" / "data.yaml", None, inherit.critical(source))
    figures = dict.fromkeys(("map50", "precision", "recall", "f1"), map50_95)
    dataset = {**copy.deepcopy(images.record), **changes}
    weights = (inputs / "best.pt").read_bytes()
    record = {
        "schema": "performance_pt/1",
        "report_info": {
            "phase": "pt",
            "created": "2026-01-01T00:00:00Z",
            "tool": "mcwbuild",
            "version": "0",
            "contract_sha256": inherit.contract_sha256(source),
        },
        "test_configuration": {"dataset": dataset, "evaluation": {"iou": 0.7, "max_detections": 300}},
        "device": {"kind": "CPU", "backend": "test"},
        "accuracy_metrics": {"map50_95": map50_95, **figures},
        "inference_performance": {"fps": 1.0},
        "model_info": {"file": "best.pt", "sha256": hashlib.sha256(weights).hexdigest()},
        "tuning_history": [],
        "issues": [],
        "validation": {"status": "passed", "gates": [], "checks": []},
    }
    path = inputs / "performance_pt.json"
    documents.write_json(path, record)
    return path


@pytest.fixture(scope="module")
def made(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    out = tmp_path_factory.mktemp("made") / "out"
    source, record = do(inputs, out, "--data", inputs / "dataset" / "data.yaml", "--previous", baseline(inputs, 0.9))
    return out, source, record


def test_the_contract_is_carried_into_source_and_file(inputs: Path, made: Any) -> None:
    out, source, _ = made
    training = inherit.complete(documents.read_yaml(inputs / "training_source.yaml").value)
    assert inherit.differences(training, source) == []
    facts = read_onnx(out / "best.onnx")
    assert facts.metadata["mcwbuild.contract_sha256"] == inherit.contract_sha256(training)
    assert source["contract_sha256"] == inherit.contract_sha256(training)


def test_the_source_describes_the_file(made: Any) -> None:
    out, source, _ = made
    data = (out / "best.onnx").read_bytes()
    assert source["onnx"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert source["onnx"]["size"] == len(data)
    assert source["export"]["onnx"]["opset"] == read_onnx(out / "best.onnx").opset == 17
    assert source["export"]["onnx"]["simplify"] == {"done": True}
    assert source["export"]["input_names"] == ["images"]
    assert source["onnx"]["shapes"]["inputs"] == {"images": [1, 3, 64, 96]}
    assert source["onnx"]["shapes"]["outputs"]["boxes_8"] == [1, 64, 8, 12]
    assert source["onnx"]["shapes"]["outputs"]["scores_32"] == [1, 3, 2, 3]


def test_it_agrees_with_pytorch_on_the_images(made: Any) -> None:
    _, _, record = made
    comparison = record["comparison_with_pt"]
    assert comparison["images"] == 4
    assert comparison["images_source"] == "dataset"
    assert len(comparison["outputs"]) == 6
    assert all(row["cosine"] > 0.999999 for row in comparison["outputs"])
    assert all(check["status"] == "passed" for check in record["validation"]["checks"])


def test_a_drop_against_the_baseline_fails_the_gate(made: Any) -> None:
    _, _, record = made  # an untrained network after a baseline of 0.9
    (gate,) = record["validation"]["gates"]
    assert gate["status"] == record["validation"]["status"] == "failed"
    assert gate["drop_percent"] > gate["limit_percent"] == 0.5
    assert record["comparison_with_pt"]["metrics"]["map50_95"]["previous"] == 0.9


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"sha256": "0" * 64}, "another dataset"), ({}, "")],
)
def test_a_baseline_from_another_dataset_is_not_compared(
    tmp_path: Path, inputs: Path, changes: dict[str, Any], said: str
) -> None:
    data = inputs / "dataset" / "data.yaml"
    flags = ["--previous", baseline(inputs, 0.9, **changes)] if changes else []
    _, record = do(inputs, tmp_path / "out", "--data", data, *flags, "--no-simplify")
    assert record["comparison_with_pt"]["metrics"] is None
    assert (said or "--previous") in record["comparison_with_pt"]["metrics_reason"]
    assert record["validation"]["status"] == "unmeasured"


def test_without_images_it_is_compared_on_generated_ones(tmp_path: Path, inputs: Path) -> None:
    source, record = do(inputs, tmp_path / "out", "--no-simplify")
    assert record["comparison_with_pt"]["images_source"] == "generated"
    assert record["test_configuration"]["dataset"] is None
    assert record["accuracy_metrics"]["status"] == "unmeasured"
    assert source["export"]["onnx"]["simplify"] == {"done": False, "reason": make.NOT_WANTED}
    assert record["issues"] == []


def test_a_simplified_graph_that_computes_something_else_is_not_taken(
    tmp_path: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(data: bytes) -> tuple[bytes, str]:
        import onnx
        from onnx import numpy_helper

        model = onnx.load_from_string(data)
        for part in model.graph.initializer:
            if len(part.dims) == 1:  # biases
                values = numpy_helper.to_array(part)
                changed = (values * np.r_[1.5, np.ones(len(values) - 1)]).astype(values.dtype)
                part.CopyFrom(numpy_helper.from_array(changed, part.name))
        return model.SerializeToString(), ""

    monkeypatch.setattr(graph, "simplify", spoil)
    source, record = do(inputs, tmp_path / "out")
    assert source["export"]["onnx"]["simplify"]["done"] is False
    assert "differs by" in source["export"]["onnx"]["simplify"]["reason"]
    assert record["issues"][0]["what"] == "The graph was not simplified."
    assert all(row["cosine"] > 0.999999 for row in record["comparison_with_pt"]["outputs"])


def test_a_simplified_graph_that_does_not_load_is_not_taken(
    tmp_path: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "simplify", lambda data: (data[: len(data) // 2], ""))
    source, _ = do(inputs, tmp_path / "out")
    assert "not sound" in source["export"]["onnx"]["simplify"]["reason"]


def test_another_contract_than_the_checkpoint_s_is_refused(tmp_path: Path, inputs: Path) -> None:
    source = documents.read_yaml(inputs / "training_source.yaml").value
    changed = {**source, "classes": {**source["classes"], "names": ["first", "second name", "fourth"]}}
    changed.pop("contract_sha256", None)
    documents.write_yaml(tmp_path / "training_source.yaml", changed)
    with pytest.raises(ContractBroken, match=r"classes\.names"):
        do(inputs, tmp_path / "out", "--source", tmp_path / "training_source.yaml")


def test_every_wrong_input_is_told_at_once(tmp_path: Path, inputs: Path) -> None:
    (tmp_path / "training_source.yaml").write_text("schema: training_source/1\nonnx: {file: x}\n")
    (tmp_path / "performance_pt.json").write_text("{}")
    with pytest.raises(InputError) as caught:
        do(
            *(inputs, tmp_path / "out", "--source", tmp_path / "training_source.yaml"),
            *("--previous", tmp_path / "performance_pt.json"),
        )
    files = {Path(str(problem.file)).name for problem in caught.value.problems}
    assert files == {"training_source.yaml", "performance_pt.json"}


@pytest.mark.parametrize("opset", ["11", "20"])
def test_an_operator_set_that_rknn_does_not_take_is_refused(inputs: Path, opset: str) -> None:
    with pytest.raises(SystemExit) as caught:
        parser(STAGE).parse_args(["--out", "x", "--pt", "x", "--source", "x", "--opset", opset])
    assert caught.value.code == 2
