"""The onnx stage from an ONNX file of somebody else's to package: contract, proof, gate, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from mcwbuild.contract import documents, inherit, performance, validate
from mcwbuild.contract.artefacts import read_onnx
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import ContractBroken, InputError
from mcwbuild.contract.phases import ONNX
from mcwbuild.contract.stage import parser
from stages.onnx.stage import STAGE
from tests.support.drawn import draw
from tests.support.foreign_onnx import SMALL, export, metadata, network

NAMES = ("first", "second name")
SIZE = (32, 48)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.onnx as Ultralytics labels it, bare.onnx without its metadata, and a dataset."""
    folder = tmp_path_factory.mktemp("inputs")
    model = network(SMALL, len(NAMES))
    (folder / "model.onnx").write_bytes(export(model, SIZE, metadata=metadata(NAMES, SIZE, 16)))
    (folder / "bare.onnx").write_bytes(export(model, SIZE))
    draw(folder / "dataset", NAMES)
    return folder


def do(out: Path, *flags: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the stage's own part; returns its valid source and record."""
    out.mkdir()
    args = parser(STAGE).parse_args(["--out", str(out), "--threads", "1", *map(str, flags)])
    STAGE.work(STAGE.require(args), Bench(out, out, 1, lambda event: None))
    source, record = validate.require_all(
        [(out / "onnx_source.yaml", "onnx_source"), (out / "performance_onnx.json", "performance_onnx")]
    )
    return source.value, record.value


@pytest.fixture(scope="module")
def made(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    out = tmp_path_factory.mktemp("made") / "out"
    source, record = do(out, "--onnx", inputs / "model.onnx", "--name", "toy", "--data", inputs / "dataset/data.yaml")
    return out, source, record


def check(record: dict[str, Any], name: str) -> dict[str, Any]:
    return next(check for check in record["validation"]["checks"] if check["name"] == name)


def test_the_contract_is_that_of_its_metadata_and_stands_in_the_file(made: Any) -> None:
    out, source, record = made
    assert source["classes"]["names"] == list(NAMES)
    assert source["input"]["size"] == list(SIZE)
    assert source["model"]["name"] == "toy"
    assert source["training"]["known_from"] == "metadata of the ONNX file"
    facts = read_onnx(out / "best.onnx")
    assert facts.metadata["mcwbuild.contract_sha256"] == source["contract_sha256"] == inherit.contract_sha256(source)
    assert "Ultralytics" in check(record, "contract")["detail"]


def test_it_is_compared_with_the_given_file(inputs: Path, made: Any) -> None:
    _, source, record = made
    assert record["comparison_with_pt"]["reference"]["file"] == "model.onnx"
    assert check(record, "cut equals the given graph")["status"] == "passed"
    rows = {row["name"]: row["max_error"] for row in record["comparison_with_pt"]["outputs"]}
    assert rows.keys() == {"boxes", "scores"}
    assert rows["boxes"] < 0.01
    (gate,) = record["validation"]["gates"]
    assert gate["reference"] == "the given ONNX"
    metrics = record["comparison_with_pt"]["metrics"]
    assert metrics["map50_95"]["previous"] == pytest.approx(metrics["map50_95"]["current"], abs=1e-6)
    assert source["export"]["tool"] == "pytorch"
    assert source["export"]["onnx"]["opset"] == 17


def test_a_graph_that_decodes_otherwise_fails_the_phase(tmp_path: Path, inputs: Path) -> None:
    model = onnx.load(inputs / "model.onnx")
    last = model.graph.node[-1]
    model.graph.initializer.append(numpy_helper.from_array(np.array(1.05, np.float32), "larger"))
    model.graph.node.insert(len(model.graph.node) - 1, helper.make_node("Mul", [last.input[0], "larger"], ["grown"]))
    last.input[0] = "grown"
    onnx.save(model, tmp_path / "model.onnx")
    _, record = do(tmp_path / "out", "--onnx", tmp_path / "model.onnx", "--no-simplify")
    assert check(record, "cut equals the given graph")["status"] == "failed"
    assert performance.missed_gate(record, ONNX) is not None


def test_without_labels_the_gate_is_unmeasured_and_the_cut_is_proven_all_the_same(tmp_path: Path, inputs: Path) -> None:
    _, record = do(tmp_path / "out", "--onnx", inputs / "model.onnx", "--no-simplify")
    assert record["comparison_with_pt"]["metrics"] is None
    assert "--data" in record["comparison_with_pt"]["metrics_reason"]
    assert record["validation"]["status"] == "unmeasured"
    assert check(record, "cut equals the given graph")["status"] == "passed"


def test_a_source_may_be_given_instead_of_metadata(tmp_path: Path, inputs: Path, made: Any) -> None:
    _, source, _ = made
    contract = {key: source[key] for key in ("model", "classes", "input", "preprocessing")}
    training = {"schema": "training_source/1", **contract}
    training["preprocessing"] = {**contract["preprocessing"], "padding": {"enabled": True, "color": [0, 0, 0]}}
    for name, document in (("training_source.yaml", training), ("onnx_source.yaml", source)):
        documents.write_yaml(tmp_path / name, document)
        flags = ("--onnx", inputs / "bare.onnx", "--source", tmp_path / name, "--no-simplify")
        found, record = do(tmp_path / name.partition(".")[0], *flags)
        assert inherit.differences(inherit.complete(document), found) == []
        assert check(record, "contract")["detail"] == f"Of {name}."


def test_a_source_of_another_model_is_refused_with_everything_that_differs(
    tmp_path: Path, inputs: Path, made: Any
) -> None:
    source = {key: made[1][key] for key in ("schema", "model", "classes", "input", "preprocessing", "onnx")}
    source["classes"] = {"names": ["one", "two", "three"], "num_classes": 3}
    source["input"] = {**source["input"], "size": [64, 64]}
    documents.write_yaml(tmp_path / "onnx_source.yaml", source)
    with pytest.raises(ContractBroken) as caught:
        do(tmp_path / "out", "--onnx", inputs / "bare.onnx", "--source", tmp_path / "onnx_source.yaml")
    assert {problem.path for problem in caught.value.problems} == {"$.classes.num_classes", "$.input.size"}


def test_nothing_that_names_the_classes_says_what_to_write(tmp_path: Path, inputs: Path) -> None:
    with pytest.raises(InputError, match=r"classes\.names.*--source"):
        do(tmp_path / "out", "--onnx", inputs / "bare.onnx")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--onnx", "m.onnx", "--opset", "17"), "--opset cannot be given with --onnx"),
        (("--onnx", "m.onnx", "--previous", "p.json"), "--previous cannot be given with --onnx"),
        (("--onnx", "m.onnx", "--source", "s.yaml", "--name", "n"), "--source and --name cannot"),
        (("--pt", "m.pt"), "--pt needs --source"),
        (("--pt", "m.pt", "--source", "s.yaml", "--name", "n"), "--pt needs --source"),
    ],
)
def test_flags_that_mean_nothing_together_are_refused(tmp_path: Path, flags: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        do(tmp_path / "out", *flags)


@pytest.mark.parametrize("flags", [(), ("--pt", "m.pt", "--onnx", "m.onnx")])
def test_exactly_one_model_is_taken(tmp_path: Path, flags: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        do(tmp_path / "out", *flags)
    assert caught.value.code == 2
