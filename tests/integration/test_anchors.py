"""The original YOLOv5 the whole way: the committed stand-in, and an ONNX file of it in the form of Rockchip's fork."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mcwbuild.contract import documents
from mcwbuild.contract.phases import ONNX
from mcwbuild.engines.local import LocalEngine
from tests.support.board import Board
from tests.support.commands import EXAMPLE, ROOT, mcwbuild

STANDIN = ROOT / "tests" / "models" / "yolov5_standin.pt"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict]]:
    """The packages, and what the run said of each model."""
    folder = tmp_path_factory.mktemp("anchors")
    words = ("--pt", STANDIN, "--data", EXAMPLE / "data.yaml", "--target", "rk3588", "--out", "out", "--json")
    done = mcwbuild("run", *words, cwd=folder)
    assert done.code == 0, done.stderr
    return folder / "out", {model["model"]: model for model in done.json["models"]}


def test_every_phase_keeps_its_accuracy(run: tuple[Path, dict[str, dict]]) -> None:
    out, models = run
    assert list(models) == ["PT", "ONNX", "rk3588 FP16", "rk3588 INT8"]
    assert {model["gate"] for model in list(models.values())[1:]} == {"passed"}
    assert models["PT"]["map50_95"] > 0.7  # trained for minutes: enough to tell a wrong decoder
    assert mcwbuild("verify", out, cwd=out.parent).code == 0
    sources = [
        documents.read_yaml(out / f"{phase}_package" / f"{name}_source.yaml").value
        for phase, name in (("pt", "training"), ("onnx", "onnx"), ("rknn", "rknn"))
    ]
    assert len({json.dumps(source["model"]["anchors"]) for source in sources}) == 1
    assert sources[1]["onnx"]["head"]["anchors"] == sources[0]["model"]["anchors"]


def test_the_board_s_program_finds_what_stands_in_the_outputs(run: tuple[Path, dict], tmp_path: Path) -> None:
    board = Board.of_package(run[0] / "rknn_package", tmp_path)
    shapes = board.data["shapes"]
    outputs = [np.zeros(shape, np.float32) for shape in shapes]
    outputs[1].reshape(3, 11, *shapes[1][2:])[0, :, 4, 5] = [0.5, 0.5, 0.5, 0.5, 1.0, 0.1, 0.9, *[0.0] * 4]
    board.record(outputs)
    done = board.run(board.image(), "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    (found,) = said["detections"]
    assert (found["class"], found["name"]) == (1, "blue_disc")
    assert found["score"] == pytest.approx(0.9, abs=1e-6)


def test_an_onnx_file_of_raw_maps_is_the_same_model(run: tuple[Path, dict[str, dict]], tmp_path: Path) -> None:
    """With the source that the checkpoint told; its anchors are in no part of the file."""
    python = LocalEngine().python(ONNX)
    environment = {**os.environ, "YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    model, out, packages = tmp_path / "model.onnx", tmp_path / "out", run[0]
    flags = ["--onnx", model, "--source", packages / "pt_package" / "training_source.yaml"]
    out.mkdir()
    for words in (
        ["-m", "tests.support.yolov5", STANDIN, model, "rockchip"],
        ["-m", "stages.onnx", *flags, "--data", EXAMPLE / "data.yaml", "--out", out],
    ):
        subprocess.run([str(word) for word in (python, *words)], check=True, env=environment, cwd=ROOT)
    found, own = (
        documents.read_json(folder / "performance_onnx.json").value for folder in (out, packages / "onnx_package")
    )
    assert found["accuracy_metrics"]["map50_95"] == pytest.approx(own["accuracy_metrics"]["map50_95"], abs=1e-3)
    assert found["report_info"]["contract_sha256"] == own["report_info"]["contract_sha256"]
    assert found["validation"]["status"] == "passed"
