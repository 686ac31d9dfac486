"""Another checkpoint: another architecture, size and shape of input, other class names, no labels."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mcwbuild.contract import artefacts, documents
from mcwbuild.contract.phases import PT
from mcwbuild.engines.local import LocalEngine
from tests.support.commands import EXAMPLE, ROOT, mcwbuild

NAMES = ("Füße", 'it\'s "quoted"', "{{ 7 * 7 }}", "犬")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("second")
    engine = LocalEngine()
    engine.prepare(PT, lambda event: None)
    program = ROOT / "tests" / "support" / "make_checkpoint.py"
    words = [engine.python(PT), program, folder / "net.pt", "yolov8n.yaml", "192,320", *NAMES]
    subprocess.run([str(word) for word in words], check=True, env={"YOLO_CONFIG_DIR": str(folder), "YOLO_OFFLINE": "1"})
    images = sorted((EXAMPLE / "images" / "train").iterdir())[:12]
    (folder / "images.txt").write_text("".join(f"{path}\n" for path in images))
    words = ["run", "--pt", "net.pt", "--dataset", "images.txt", "--target", "rk3566", "--name", "second"]
    done = mcwbuild(*words, "--out", "out", cwd=folder)
    assert done.code == 0, done.stderr
    return folder / "out"


def test_its_names_and_size_reach_every_document_unchanged(run: Path) -> None:
    for source in ("pt_package/training_source.yaml", "onnx_package/onnx_source.yaml", "rknn_package/rknn_source.yaml"):
        value = documents.read_yaml(run / source).value
        assert tuple(value["classes"]["names"]) == NAMES
        assert value["input"]["size"] == [192, 320]
        assert value["model"]["type"] == "YOLOv8"


@pytest.mark.parametrize("name", ["best_fp16.rknn", "best_int8.rknn"])
def test_its_shape_stands_in_the_models_bytes(run: Path, name: str) -> None:
    facts = artefacts.read_rknn(run / "rknn_package" / name)
    assert [list(shape) for _, shape, *_ in [(i.name, i.shape) for i in facts.inputs]] == [[1, 3, 192, 320]]
    assert facts.target == ("rk3566",)


def test_without_labels_the_outputs_are_compared_and_accuracy_says_why_not(run: Path) -> None:
    record = documents.read_json(run / "onnx_package" / "performance_onnx.json").value
    assert record["accuracy_metrics"]["status"] == "unmeasured"
    assert record["comparison_with_pt"]["images_source"] == "list"
    assert min(output["cosine"] for output in record["comparison_with_pt"]["outputs"]) > 0.9999
    record = documents.read_json(run / "rknn_package" / "performance_rknn.json").value
    assert min(output["cosine"] for output in record["comparison_with_onnx"]["fp16"]["outputs"]) > 0.99


def test_verify_agrees(run: Path) -> None:
    assert mcwbuild("verify", run, cwd=run).code == 0


def test_a_written_source_and_several_targets(tmp_path: Path) -> None:
    done = mcwbuild("init", "--pt", EXAMPLE / "best.pt", "--imgsz", "96,160", "--name", "small", cwd=tmp_path)
    assert (done.code, done.stdout.strip()) == (0, "training_source.yaml"), done.stderr
    again = mcwbuild("init", "--pt", EXAMPLE / "best.pt", cwd=tmp_path)
    assert again.code == 2
    assert "--force" in again.stderr
    words = ("run", "--pt", EXAMPLE / "best.pt", "--source", "training_source.yaml", "--dtype", "fp16", "--out", "out")
    done = mcwbuild(*words, "--target", "rk3588", "--target", "rk3576", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert "generated" in (tmp_path / "out" / "onnx_package" / "performance_onnx.json").read_text()
    for target in ("rk3588", "rk3576"):
        facts = artefacts.read_rknn(tmp_path / "out" / target / "rknn_package" / "best_fp16.rknn")
        assert facts.target == (target,)
        assert facts.inputs[0].shape == (1, 3, 96, 160)
    assert mcwbuild("verify", "out", cwd=tmp_path).code == 0
