"""The whole phase, run as a person runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from mcwbuild.contract import artefacts, documents, manifest
from stages.common import images
from stages.common.detection import finish
from stages.families.yolo.decode import decode
from stages.rknn import expected
from stages.rknn.reference import OnnxRunner
from tests.support import failing_graphs, toy_onnx
from tests.support.board import Board

ROOT = Path(__file__).parents[3]


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stages.rknn", "--onnx", folder / "best.onnx"]
    command += ["--source", folder / "onnx_source.yaml", "--out", folder / "out", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(list(map(str, command)), cwd=folder, env=environment, text=True, capture_output=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with both variants."""
    folder = toy_onnx.package(tmp_path_factory.mktemp("made"), toy_onnx.network())
    data = toy_onnx.dataset(folder / "data")
    done = run(folder, "--target", "rk3588s", "--data", data, "--threads", 2)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_the_package_holds_the_workflows_files_and_their_hashes(made: Path) -> None:
    assert {path.name for path in (made / "out").iterdir()} == {
        *("best_fp16.rknn", "best_int8.rknn", "npu_inference.py", "rknn_source.yaml", "performance_rknn.json"),
        *("expected_fp16.npz", "expected_int8.npz", "manifest.json", "results_rknn.json", "SHA256SUMS"),
    }
    assert manifest.verify(made / "out") == []


def test_what_the_simulator_gave_is_kept_for_the_board(made: Path) -> None:
    head = documents.read_yaml(made / "out" / "rknn_source.yaml").value["postprocessing"]["head"]
    record = json.loads((made / "out" / "performance_rknn.json").read_text())
    for variant in ("fp16", "int8"):
        file = made / "out" / f"expected_{variant}.npz"
        with np.load(file, allow_pickle=False) as kept:
            assert kept["input 0"].shape == (32, 32, 3)
            given = [kept[f"output 0 {place}"] for place in range(len(head["outputs"]))]
        shapes = [tensor["shape"] for tensor in record["model_info"][variant]["outputs"]]
        assert [list(output.shape) for output in given] == shapes
        assert all(output.dtype == np.float16 for output in given) == (variant == "fp16")
        evaluation = expected.evaluation(file)
        assert evaluation is not None
        assert evaluation.count == 4


def test_the_record_says_what_was_measured_and_what_was_not(made: Path) -> None:
    record = json.loads((made / "out" / "performance_rknn.json").read_text())
    assert record["test_configuration"]["dataset"]["images"] == 4
    for variant in ("fp16", "int8"):
        assert record["accuracy_metrics"][variant]["map50_95"] >= 0
        assert record["inference_performance"][variant]["fps"] is None
        assert record["inference_performance"][variant]["estimated"]["layers"]["NPU"] > 0
        assert record["comparison_with_onnx"][variant]["metrics_reason"].startswith("No performance_onnx.json")
        assert record["model_info"][variant]["inputs"][0]["shape"] == [1, 3, 32, 32]
    assert record["validation"]["status"] == "unmeasured"
    assert not [check for check in record["validation"]["checks"] if check["status"] == "failed"]


def test_the_source_document_inherits_and_names_the_files(made: Path) -> None:
    source = documents.read_yaml(made / "out" / "rknn_source.yaml").value
    given = documents.read_yaml(made / "onnx_source.yaml").value
    assert source["contract_sha256"] == given["contract_sha256"]
    assert source["rknn"]["platform"]["target"] == "rk3588s"
    assert source["quantization"]["int8"]["dataset"]["size"] == 4
    assert source["verification"]["contract"] == "verified"
    facts = artefacts.read_rknn(made / "out" / source["models"]["int8"]["file"])
    assert json.loads(facts.custom_string or "")["contract_sha256"] == given["contract_sha256"]


def test_the_packages_program_finds_on_a_board_what_the_evaluator_finds(made: Path, tmp_path: Path) -> None:
    board = Board.of_package(made / "out", tmp_path)
    contract, head = board.data["contract"], board.data["head"]
    picture = made / "data" / "images" / "val" / "0.png"
    image = images.read(picture)
    prepared, placement = images.prepare(image, contract)
    runner = OnnxRunner(made / "best.onnx", contract, head["outputs"], 1)
    outputs = runner.run(runner.feed(prepared))
    board.configure(onnx=str(made / "best.onnx"))  # the stand-in normalises as the .rknn itself says
    done = board.run(picture, "--json", "--conf", 0.1)
    assert done.returncode == 0, done.stderr
    expected = finish(decode(outputs, head, 0.1), placement, image.shape[:2], 0.7, 300)
    found = json.loads(done.stdout)
    assert len(expected.scores) > 0
    assert [entry["box"] for entry in found["detections"]] == expected.boxes.tolist()
    assert [entry["score"] for entry in found["detections"]] == expected.scores.tolist()
    assert board.run(picture, "--model", "best_fp16.rknn").returncode == 0


def test_a_chip_with_the_same_npu_takes_the_package_and_says_so(made: Path, tmp_path: Path) -> None:
    done = run(made, "--target", "rk3588", "--shared", made / "out", "--out", tmp_path / "taken")
    assert done.returncode == 0, done.stderr[-3000:]
    taken = tmp_path / "taken"
    assert manifest.verify(taken) == []
    assert {path.name for path in taken.iterdir()} == {path.name for path in (made / "out").iterdir()}
    for variant in ("fp16", "int8"):
        name = f"best_{variant}.rknn"
        assert (taken / name).read_bytes() == (made / "out" / name).read_bytes()
    platform = documents.read_yaml(taken / "rknn_source.yaml").value["rknn"]["platform"]
    assert (platform["target"], platform["built_for"]) == ("rk3588", "rk3588s")
    record, first = (json.loads((folder / "performance_rknn.json").read_text()) for folder in (taken, made / "out"))
    assert record["accuracy_metrics"] == first["accuracy_metrics"]
    assert record["issues"][-1]["what"].startswith("Built and measured once, for rk3588s")
    assert Board.of_package(taken, tmp_path).data["target"] == "rk3588"


def test_a_package_of_another_npu_or_changed_or_of_another_model_is_not_taken(made: Path, tmp_path: Path) -> None:
    done = run(made, "--target", "rk3576", "--shared", made / "out", "--out", tmp_path / "a")
    assert (done.returncode, "another NPU" in done.stderr) == (2, True), done.stderr
    changed = tmp_path / "changed"
    shutil.copytree(made / "out", changed)
    (changed / "best_int8.rknn").write_bytes(b"RKNN")
    done = run(made, "--target", "rk3588", "--shared", changed, "--out", tmp_path / "b")
    assert (done.returncode, "not what was published" in done.stderr) == (6, True), done.stderr
    other = toy_onnx.package(tmp_path / "other", toy_onnx.network(factor=2.0))
    done = run(other, "--target", "rk3588", "--shared", made / "out", "--out", tmp_path / "c")
    assert (done.returncode, "was not made of best.onnx" in done.stderr) == (3, True), done.stderr


def test_without_images_there_is_fp16_only_with_the_reason(tmp_path: Path) -> None:
    toy_onnx.package(tmp_path, toy_onnx.network(), signed=False)
    done = run(tmp_path, "--target", "rk3566")
    assert done.returncode == 0, done.stderr[-3000:]
    assert not (tmp_path / "out" / "best_int8.rknn").exists()
    assert "best_int8.rknn is not made: there are no calibration images" in done.stdout
    source = documents.read_yaml(tmp_path / "out" / "rknn_source.yaml").value
    assert source["models"]["int8"]["absent"].startswith("there are no calibration images")
    assert source["verification"]["contract"] == "unverified"
    record = json.loads((tmp_path / "out" / "performance_rknn.json").read_text())
    assert record["comparison_with_onnx"]["fp16"]["images_source"] == "generated"
    assert record["accuracy_metrics"]["int8"]["status"] == "unmeasured"


def test_a_failed_check_keeps_the_package_and_ends_with_3(tmp_path: Path) -> None:
    toy_onnx.package(tmp_path, toy_onnx.network(factor=1e6))
    done = run(tmp_path, "--target", "rk3588", "--dtype", "fp16")
    assert done.returncode == 3
    assert "NaN or infinity" in done.stderr
    assert (tmp_path / "out" / "best_fp16.rknn").exists()
    # Seen before the build by the scan, and after it in what the simulator gave.
    issues = json.loads((tmp_path / "out" / "performance_rknn.json").read_text())["issues"]
    found = {issue["name"]: issue["evidence"] for issue in issues if "name" in issue}
    assert {"fp16-overflow", "not-finite"} <= set(found)
    assert found["fp16-overflow"]["layer"] == "/box/Mul"
    assert "warning: fp16-overflow: " in done.stdout


def test_a_failed_build_publishes_nothing(tmp_path: Path) -> None:
    toy_onnx.package(tmp_path, toy_onnx.network("Atan"))
    done = run(tmp_path, "--target", "rk3588", "--dtype", "fp16")
    assert done.returncode == 4
    assert "cannot run on rk3588" in done.stderr
    assert not list((tmp_path / "out").iterdir())


def test_a_fusion_rule_that_fails_is_turned_off_told_and_written_down(tmp_path: Path) -> None:
    toy_onnx.package(tmp_path, failing_graphs.with_failing_rule(toy_onnx.network()))
    data = toy_onnx.dataset(tmp_path / "data")
    done = run(tmp_path, "--target", "rk3588", "--data", data, "--threads", 2)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "fusion rule fuse_conv_gather fails on this graph: the int8 build begins again without it" in done.stdout
    record = json.loads((tmp_path / "out" / "performance_rknn.json").read_text())
    assert [attempt["disabled_rules"] for attempt in record["tuning_history"]] == [["fuse_conv_gather"]] * 2
    assert [issue["what"] for issue in record["issues"] if "fuse_conv_gather" in issue["what"]]
    worst = min(row["cosine"] for row in record["comparison_with_onnx"]["fp16"]["outputs"])
    assert worst > 0.999  # what is built without the rule is still the model


def test_an_operator_that_nobody_knows_is_the_toolkits_failure_and_no_bug(tmp_path: Path) -> None:
    toy_onnx.package(tmp_path, toy_onnx.network("FooBar"))
    data = toy_onnx.dataset(tmp_path / "data")
    done = run(tmp_path, "--target", "rk3588", "--data", data)
    assert done.returncode == 4, done.stderr[-3000:]
    assert 'Layer: FooBar "/box/extra"' in done.stderr


def test_an_edited_critical_value_is_named_with_both_values(tmp_path: Path) -> None:
    toy_onnx.package(tmp_path, toy_onnx.network())
    document = tmp_path / "onnx_source.yaml"
    text = document.read_text()
    document.write_text(text.replace("format: RGB", "format: BGR"))
    done = run(tmp_path, "--target", "rk3588")
    line = text[: text.index("format: RGB")].count("\n") + 1
    assert done.returncode == 3
    assert f"onnx_source.yaml:{line}" in done.stderr
    assert 'input.format is "BGR"' in done.stderr
    assert '"RGB" in best.onnx' in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "rk9999"), "rk3562, rk3566"),
        (("--target", "rk3588", "--dtype", "int8"), "no calibration images"),
        (("--target", "rv1106", "--dtype", "fp16"), "integers only"),
        (("--target", "rk2118", "--dtype", "int8"), "aborts on INT8"),
        (("--target", "rv1106"), "cannot be built for rv1106"),
        (("--target", "rk3588", "--dataset", "missing.txt"), "missing"),
    ],
)
def test_requests_that_cannot_be_met_are_refused_before_anything_is_built(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    toy_onnx.package(tmp_path, toy_onnx.network())
    done = run(tmp_path, *arguments)
    assert done.returncode == 2, done.stderr[-2000:]
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_everything_that_is_wrong_with_the_graph_is_told_at_once(tmp_path: Path) -> None:
    model = toy_onnx.network(opset=20, input_type=TensorProto.UINT8, size="side")
    toy_onnx.package(tmp_path, model)
    done = run(tmp_path, "--target", "rk3588")
    assert done.returncode == 2
    for message in ("opset is 20", "must be float32", "is not fixed"):
        assert message in done.stderr


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x08\x12\x07pytorch"])
def test_a_broken_onnx_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    toy_onnx.package(tmp_path, toy_onnx.network())
    (tmp_path / "best.onnx").write_bytes(content)
    done = run(tmp_path, "--target", "rk3588")
    assert done.returncode == 2
    assert "is not an ONNX file" in done.stderr
