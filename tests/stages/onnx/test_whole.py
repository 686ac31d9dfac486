"""ONNX files of classifiers and of any other network: taken whole, measured beside themselves."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from mcwbuild.contract import documents, validate
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import ContractBroken, InputError
from mcwbuild.contract.stage import parser
from stages.onnx.stage import STAGE
from tests.support.archives import MODELS

SOURCE: dict[str, Any] = {
    "model": {"name": "any", "type": "own", "task": "generic"},
    "input": {"size": [24, 32], "format": "RGB"},
    "preprocessing": {
        "resize": {"method": "direct"},
        "normalize": {"enabled": True, "method": "mean_std", "mean": [0.0] * 3, "std": [255.0] * 3},
    },
}


class Two(torch.nn.Module):
    """A map, and scores."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = torch.nn.Conv2d(3, 4, 3, 2), torch.nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[1, 4, 11, 15] and [1, 5]."""
        found = self.conv(x).relu()
        return found, self.linear(found.mean((2, 3)))


def exported(network: torch.nn.Module, *names: str, given: str = "x") -> bytes:
    torch.manual_seed(1)
    stream = io.BytesIO()
    example = torch.zeros(1, 3, 24, 32)
    torch.onnx.export(
        network.eval(),
        (example,),
        stream,
        input_names=[given],
        output_names=list(names),
        opset_version=17,
        dynamo=False,
    )
    return stream.getvalue()


def do(folder: Path, model: bytes, source: dict[str, Any], *flags: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the stage's own part; returns its valid source and record."""
    out = folder / "out"
    out.mkdir()
    (folder / "model.onnx").write_bytes(model)
    documents.write_yaml(folder / "source.yaml", source)
    words = ("--onnx", folder / "model.onnx", "--source", folder / "source.yaml", *flags)
    args = parser(STAGE).parse_args(["--out", str(out), "--threads", "1", *map(str, words)])
    STAGE.work(STAGE.require(args), Bench(out, out, 1, lambda event: None))
    found = validate.require_all(
        [(out / "onnx_source.yaml", "onnx_source"), (out / "performance_onnx.json", "performance_onnx")]
    )
    return found[0].value, found[1].value


def classifier() -> dict[str, Any]:
    made = copy.deepcopy(SOURCE)
    made["model"]["task"] = "classification"
    made["classes"] = {"names": list("abcde"), "num_classes": 5}
    return made


def test_any_network_keeps_its_outputs(tmp_path: Path) -> None:
    model = exported(Two(), "map", "/fc/scores")
    source, record = do(tmp_path, model, SOURCE)
    assert source["onnx"]["head"] == {
        "family": "outputs", "outputs": ["map", "/fc/scores"], "shapes": [[1, 4, 11, 15], [1, 5]],
    }  # fmt: skip
    assert "classes" not in source
    (gate,) = record["validation"]["gates"]
    assert (gate["metric"], gate["reference"], gate["status"], gate["limit_percent"]) == (
        "cosine",
        "the given ONNX",
        "passed",
        0.1,
    )
    assert record["accuracy_metrics"]["reason"].startswith("A generic network has no metric")
    image = np.random.default_rng(0).random((1, 3, 24, 32), np.float32)
    own = onnxruntime.InferenceSession((tmp_path / "out" / "best.onnx").read_bytes())
    theirs = onnxruntime.InferenceSession(model)
    assert [each.name for each in own.get_inputs()] == ["images"]
    for a, b in zip(own.run(None, {"images": image}), theirs.run(None, {"x": image}), strict=True):
        assert np.allclose(a, b, atol=1e-6)


def test_a_classifier_is_taken_with_its_scores(tmp_path: Path) -> None:
    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.two = Two()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.two(x)[1].softmax(1)

    source, record = do(tmp_path, exported(Classifier(), "y"), classifier())
    assert source["onnx"]["head"] == {"family": "scores", "num_classes": 5, "outputs": ["y"], "activation": "none"}
    assert record["comparison_with_pt"]["reference"]["file"] == "model.onnx"
    (gate,) = record["validation"]["gates"]
    assert (gate["metric"], gate["status"]) == ("top1", "unmeasured")


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    model = exported(Two(), "map", "scores")
    with pytest.raises(InputError, match="no classifier of 5 classes"):
        do(_new(tmp_path, "a"), model, classifier())
    wrong = copy.deepcopy(SOURCE)
    wrong["input"]["size"] = [32, 32]
    with pytest.raises(ContractBroken, match=r"nput\.size is \[32, 32\]"):
        do(_new(tmp_path, "b"), model, wrong)
    inside = onnx.load_from_string(model)
    inside.graph.node[0].output[0] = "images"
    inside.graph.node[1].input[0] = "images"
    with pytest.raises(InputError, match="called images"):
        do(_new(tmp_path, "c"), inside.SerializeToString(), SOURCE)
    whole = onnx.load_from_string(model)
    whole.graph.node.append(onnx.helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0))
    whole.graph.output.append(onnx.helper.make_tensor_value_info("best", onnx.TensorProto.INT64, [1]))
    with pytest.raises(InputError, match="'best' is int64"):
        do(_new(tmp_path, "d"), whole.SerializeToString(), SOURCE)


def _new(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made


@pytest.mark.parametrize("name", ["classifier_traced.pt", "classifier_scripted.pt", "classifier.pt2"])
def test_a_program_is_exported_as_it_computes(tmp_path: Path, name: str) -> None:
    source = copy.deepcopy(SOURCE)
    source["input"]["size"] = [64, 64]
    documents.write_yaml(tmp_path / "source.yaml", source)
    (tmp_path / "out").mkdir()
    words = ["--pt", MODELS / name, "--source", tmp_path / "source.yaml", "--out", tmp_path / "out", "--threads", "1"]
    STAGE.work(
        STAGE.require(parser(STAGE).parse_args([str(word) for word in words])),
        Bench(tmp_path / "out", tmp_path, 1, lambda event: None),
    )
    (gate,) = documents.read_json(tmp_path / "out" / "performance_onnx.json").value["validation"]["gates"]
    assert (gate["metric"], gate["reference"], gate["status"]) == ("cosine", "pt", "passed")
