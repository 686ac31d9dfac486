"""A network that tells nothing but itself, the whole way: begun by init, completed, converted, on the board."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np

from mcwbuild.contract import documents
from mcwbuild.contract.phases import PT
from mcwbuild.engines.local import LocalEngine
from tests.support.archives import MODELS, changed
from tests.support.board import Board
from tests.support.commands import ROOT, mcwbuild, replace
from tests.support.measured import on_the_board

RECORDS = {"pt": "performance_pt.json", "onnx": "performance_onnx.json", "rknn": "performance_rknn.json"}


def test_a_classifier_and_the_same_file_as_any_network(tmp_path: Path) -> None:
    engine = LocalEngine()
    engine.prepare(PT, lambda event: None)
    draw = [engine.python(PT), ROOT / "benchmarks" / "draw_tasks.py", "classify", tmp_path / "data"]
    subprocess.run([str(word) for word in (*draw, "--train", "24", "--val", "48")], check=True)
    shutil.copy(MODELS / "classifier_traced.pt", tmp_path / "net.pt")
    lost = mcwbuild("run", "--pt", "net.pt", "--target", "rk3588", cwd=tmp_path)
    assert lost.code == 2
    assert "mcwbuild init --pt net.pt --task classification --imgsz 224 --names classes.txt" in lost.stderr
    (tmp_path / "classes.txt").write_text("blue_arrow\nblue_bar\nblue_wedge\nred_arrow\nred_bar\nred_wedge\n")
    words = ("init", "--pt", "net.pt", "--task", "classification", "--imgsz", "64", "--names", "classes.txt")
    begun = mcwbuild(*words, cwd=tmp_path)
    assert begun.code == 0, begun.stderr
    source = tmp_path / "training_source.yaml"
    assert source.read_text().startswith("# A draft")
    replace(source, "method: center_crop", "method: center_crop\n    shorter_side: 72")
    whole = ("run", "--pt", "net.pt", "--source", "training_source.yaml", "--data", "data", "--target", "rk3588")
    done = mcwbuild(*whole, "--out", "out", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert mcwbuild("verify", "out", cwd=tmp_path).code == 0
    read = {
        name: documents.read_json(tmp_path / "out" / f"{name}_package" / file).value for name, file in RECORDS.items()
    }
    assert len(read["pt"]["issues"]) == 4  # what is still a guess
    assert read["pt"]["accuracy_metrics"]["top1"] > 0.5
    assert [
        gate["status"] for gate in (*read["onnx"]["validation"]["gates"], *read["rknn"]["validation"]["gates"])
    ] == ["passed"] * 3
    board = Board.of_package(tmp_path / "out" / "rknn_package", tmp_path / "out")
    board.record([np.zeros(shape, np.float32) for shape in board.data["shapes"]])
    said = json.loads(board.run(board.image(), "--json", "--conf", "0.1").stdout)
    assert len(said["classes"]) == 6
    _generic(tmp_path)


def _generic(folder: Path) -> None:
    """The same network as one that nothing is known about: begun by its own input size, gated by its outputs."""
    shutil.copy(MODELS / "classifier.pt2", folder / "net.pt2")
    begun = mcwbuild("init", "--pt", "net.pt2", "--task", "generic", "--out", "any", cwd=folder)
    assert begun.code == 0, begun.stderr
    images = sorted((folder / "data" / "train").glob("*/*"))
    (folder / "list.txt").write_text("".join(f"{path}\n" for path in images))
    words = (
        "run",
        "--pt",
        "net.pt2",
        "--source",
        "any/training_source.yaml",
        "--dataset",
        "list.txt",
        "--target",
        "rk3588",
    )
    done = mcwbuild(*words, "--out", "generic", cwd=folder)
    assert done.code == 0, done.stderr
    record = documents.read_json(folder / "generic" / "rknn_package" / "performance_rknn.json").value
    gates = record["validation"]["gates"]
    assert [(gate["metric"], gate["variant"], gate["status"]) for gate in gates] == [
        ("cosine", "fp16", "passed"), ("cosine", "int8", "passed"),
    ]  # fmt: skip
    assert all(block["status"] == "unmeasured" for block in record["accuracy_metrics"].values())
    (folder / "board").mkdir()
    shutil.copytree(folder / "generic", folder / "board" / "out")
    on_board = on_the_board(folder / "board" / "out", folder / "board", "--dataset", folder / "list.txt")
    assert all(block["status"] == "unmeasured" for block in on_board["accuracy_metrics"].values())
    gated = [(gate["metric"], gate["variant"], gate["status"]) for gate in on_board["validation"]["gates"]]
    assert ("cosine", "fp16", "passed") in gated
    assert [check["status"] for check in on_board["validation"]["checks"]] == ["passed", "passed"]


def test_a_program_that_does_harm_is_refused_without_a_container(tmp_path: Path) -> None:
    changed(MODELS / "classifier.pt2", tmp_path / "net.pt2", {}, {"data/aotinductor/model/model.so": b"\x7fELF"})
    done = mcwbuild("init", "--pt", "net.pt2", "--task", "generic", cwd=tmp_path)
    assert done.code == 6, done.stderr
    done = mcwbuild("run", "--pt", "net.pt2", "--model-code", ".", "--model", "a:b", "--target", "rk3588", cwd=tmp_path)
    assert done.code == 6, done.stderr
    assert "--engine docker" in done.stderr
