"""The whole way on the example checkpoint: three packages, real models, measured and gated."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from mcwbuild import inspection
from mcwbuild.contract import artefacts, documents, inherit, manifest
from tests.support.commands import EXAMPLE, mcwbuild, package_files

FILES = {
    "pt_package": [
        "SHA256SUMS", "best.pt", "evaluation_pt.npz", "manifest.json", "performance_pt.json", "results_pt.json",
        "training_source.yaml",
    ],
    "onnx_package": [
        "SHA256SUMS", "best.onnx", "evaluation_onnx.npz", "manifest.json", "onnx_source.yaml", "performance_onnx.json",
        "results_onnx.json",
    ],
    "rknn_package": [
        "SHA256SUMS", "best_fp16.rknn", "best_int8.rknn", "expected_fp16.npz", "expected_int8.npz",
        "manifest.json", "npu_inference.py", "performance_rknn.json", "results_rknn.json",
        "rknn_source.yaml",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_package_holds_exactly_the_workflows_files(example: Path, name: str) -> None:
    assert package_files(example / name) == FILES[name]
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=example / name, check=True)


def test_verify_tells_a_package_that_was_made_from_another_one(example: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(example, tmp_path / "run"))
    record = run / "pt_package" / "performance_pt.json"
    record.write_text(record.read_text() + "\n")  # as valid as before, and its own package agrees
    manifest.add(record.parent, record.name)
    done = mcwbuild("verify", run, cwd=tmp_path)
    assert done.code == 3
    assert "onnx_package/manifest.json" in done.stderr
    assert "it was made from another performance_pt.json than pt_package holds" in done.stderr


def test_verify_agrees(example: Path) -> None:
    done = mcwbuild("verify", example, cwd=example)
    assert (done.code, done.stdout.count("ok ")) == (0, 3), done.stderr


def test_the_checkpoint_is_the_users_byte_for_byte(example: Path) -> None:
    assert (example / "pt_package" / "best.pt").read_bytes() == (EXAMPLE / "best.pt").read_bytes()


def test_accuracy_is_measured_at_every_phase_and_passes_its_gates(example: Path) -> None:
    run = json.loads((example.parents[1] / "run.json").read_text())
    models = {model["model"]: model for model in run["models"]}
    assert list(models) == ["PT", "ONNX", "rk3588 FP16", "rk3588 INT8"]
    assert models["PT"]["map50_95"] > 0.5
    limits = {"ONNX": 0.5, "rk3588 FP16": 2.0, "rk3588 INT8": 5.0}
    for name, limit in limits.items():
        assert models[name]["limit_percent"] == limit
        assert models[name]["drop_percent"] <= limit
        assert models[name]["gate"] == "passed"
        assert not models[name]["loosened"]
    for name in ("rk3588 FP16", "rk3588 INT8"):
        low, high = models[name]["interval"]
        assert low < models[name]["drop_percent"] < high <= limits[name]


def test_the_contract_is_examined_and_not_doubted(example: Path) -> None:
    record = documents.read_json(example / "pt_package" / "performance_pt.json").value
    (found,) = [check for check in record["validation"]["checks"] if check["name"] == "contract check"]
    assert found["status"] == "passed"
    assert record["issues"] == []
    assert {name for row in record["tuning_history"] for name in row["contract"]} >= {"input.format", "input.size"}


def test_drops_are_those_of_the_recorded_figures(example: Path) -> None:
    onnx = documents.read_json(example / "onnx_package" / "performance_onnx.json").value
    rknn = documents.read_json(example / "rknn_package" / "performance_rknn.json").value
    reference = onnx["accuracy_metrics"]["map50_95"]
    for variant in ("fp16", "int8"):
        current = rknn["accuracy_metrics"][variant]["map50_95"]
        said = rknn["comparison_with_onnx"][variant]["metrics"]["map50_95"]
        assert said["previous"] == reference
        assert said["current"] == current
        assert said["drop_percent"] == pytest.approx(100 * (reference - current) / reference)


def test_the_npus_speed_is_not_made_up(example: Path) -> None:
    record = documents.read_json(example / "rknn_package" / "performance_rknn.json").value
    for variant in ("fp16", "int8"):
        assert record["inference_performance"][variant]["fps"] is None
        assert "board" in record["inference_performance"][variant]["fps_reason"]


def test_the_contract_is_one_and_stands_in_the_models_bytes(example: Path) -> None:
    sources = [
        documents.read_yaml(example / package / name)
        for package, name in (
            ("pt_package", "training_source.yaml"),
            ("onnx_package", "onnx_source.yaml"),
            ("rknn_package", "rknn_source.yaml"),
        )
    ]
    written = {source.value["contract_sha256"] for source in sources}
    computed = {inherit.contract_sha256(source.value) for source in sources}
    onnx = artefacts.read_onnx(example / "onnx_package" / "best.onnx")
    assert written == computed == {onnx.metadata["mcwbuild.contract_sha256"]}
    for name in ("best_fp16.rknn", "best_int8.rknn"):
        facts = artefacts.read_rknn(example / "rknn_package" / name)
        assert json.loads(facts.custom_string or "")["contract_sha256"] in written
        assert (facts.toolkit, facts.target) == ("2.3.2", ("rk3588",))


def test_a_second_run_finds_everything_fresh(example: Path) -> None:
    words = ("run", "--pt", EXAMPLE / "best.pt", "--data", EXAMPLE / "data.yaml", "--target", "rk3588", "--json")
    done = mcwbuild(*words, cwd=example.parents[1])
    assert done.code == 0, done.stderr
    assert {package["state"] for package in done.json["packages"]} == {"fresh"}


def test_another_target_in_the_same_folder_stops_before_anything_is_done(example: Path) -> None:
    words = ("run", "--pt", EXAMPLE / "best.pt", "--data", EXAMPLE / "data.yaml", "--target", "rk3566")
    done = mcwbuild(*words, cwd=example.parents[1])
    assert done.code == 2
    assert "rk3588" in done.stderr
    assert "--out" in done.stderr


@pytest.mark.parametrize("package", FILES)
def test_one_flipped_bit_in_any_file_is_found(example: Path, tmp_path: Path, package: str) -> None:
    copy = Path(shutil.copytree(example / package, tmp_path / package))
    for name in FILES[package]:
        path = copy / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
        phase = inspection.phase_of(copy)
        assert phase is not None
        assert inspection.inspect(copy, phase), name
        path.write_bytes(whole)
