"""`run --onnx`: the example exported by Ultralytics itself goes the whole way, and is the same model there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mcwbuild.contract import documents
from mcwbuild.contract.phases import ONNX
from mcwbuild.engines.local import LocalEngine
from tests.support.commands import EXAMPLE, ROOT, Done, mcwbuild


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.onnx as `yolo export format=onnx` writes it."""
    folder = tmp_path_factory.mktemp("given")
    engine = LocalEngine()
    engine.prepare(ONNX, lambda event: None)
    program = ROOT / "tests" / "support" / "foreign_onnx.py"
    offline = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0", "YOLO_CONFIG_DIR": str(folder)}
    subprocess.run(
        [str(engine.python(ONNX)), str(program), str(EXAMPLE / "best.pt"), str(folder / "model.onnx")],
        env={**os.environ, **offline},
        check=True,
        capture_output=True,
    )
    return folder / "model.onnx"


def run(model: Path, folder: Path, *words: str | Path) -> Done:
    labelled = ("--data", EXAMPLE / "data.yaml", "--target", "rk3588", "--json")
    return mcwbuild("run", "--onnx", model, *labelled, *words, cwd=folder)


def test_it_goes_the_whole_way_and_is_the_model_that_the_checkpoint_makes(
    given: Path, example: Path, tmp_path: Path
) -> None:
    done = run(given, tmp_path, "--out", tmp_path / "out", "--name", "shapes")
    assert done.code == 0, done.stderr
    models = {model["model"]: model for model in done.json["models"]}
    assert list(models) == ["ONNX", "rk3588 FP16", "rk3588 INT8"]
    assert {model["gate"] for model in models.values()} == {"passed"}
    own = documents.read_json(example / "onnx_package" / "performance_onnx.json").value["accuracy_metrics"]
    assert models["ONNX"]["map50_95"] == pytest.approx(own["map50_95"], rel=0.005)
    sources = [documents.read_yaml(each / "onnx_package" / ONNX.source).value for each in (tmp_path / "out", example)]
    assert sources[0]["contract_sha256"] == sources[1]["contract_sha256"]
    assert sources[0]["onnx"]["head"] == sources[1]["onnx"]["head"]
    verified = mcwbuild("verify", tmp_path / "out", cwd=tmp_path)
    assert (verified.code, verified.stdout.count("ok ")) == (0, 2), verified.stderr
    again = run(given, tmp_path, "--out", tmp_path / "out", "--name", "shapes")
    assert {package["state"] for package in again.json["packages"]} == {"fresh"}


def test_an_onnx_file_of_our_own_goes_straight_to_the_conversion(onnx_copy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("run", "--onnx", onnx_copy / "best.onnx", "--target", "rk3588", "--dtype", "fp16", "--out", out, "--json")
    done = mcwbuild(*words, cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert [package["step"] for package in done.json["packages"]] == ["rknn"]
    (onnx_copy / ONNX.source).unlink()
    without = mcwbuild(*words, cwd=tmp_path)
    assert without.code == 2
    assert "onnx_source.yaml" in without.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Neither --pt nor --onnx"),
        (("--pt", "best.pt", "--onnx", "model.onnx"), "--pt and --onnx are given"),
        (("--onnx", "model.onnx", "--opset", "17"), "--opset cannot be given with --onnx"),
        (("--onnx", "model.onnx", "--imgsz", "320"), "--imgsz cannot be given with --onnx"),
        (("--onnx", "missing.onnx"), "missing.onnx"),
        (("--onnx", "model.onnx"), "not an ONNX file"),
    ],
)
def test_what_cannot_begin_is_refused_before_anything_runs(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    (tmp_path / "model.onnx").write_bytes(b"these are not weights")
    (tmp_path / "best.pt").write_bytes(b"nor these")
    done = mcwbuild("run", *words, "--target", "rk3588", cwd=tmp_path)
    assert done.code == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "build").exists()
