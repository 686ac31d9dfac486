"""Text recognition the whole way: a trained CRNN from TorchScript to the board's program."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.draw_words import CHARACTERS
from mcwbuild.contract import documents
from mcwbuild.contract.phases import PT
from mcwbuild.engines.local import LocalEngine
from tests.support.board import Board
from tests.support.commands import ROOT, mcwbuild
from tests.support.measured import on_the_board

SOURCE = ROOT / "examples" / "ocr" / "training_source.yaml"
MODEL = SOURCE.with_name("best.pt")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages; the folder that they lie in holds model, source and words too."""
    folder = tmp_path_factory.mktemp("text")
    engine = LocalEngine()
    engine.prepare(PT, lambda event: None)
    words = [engine.python(PT), ROOT / "benchmarks" / "draw_words.py", folder / "words", "--train", "30", "--val", "40"]
    subprocess.run([str(word) for word in words], check=True)
    shutil.copy(MODEL, folder / "crnn.pt")
    asked = ("--pt", "crnn.pt", "--source", SOURCE, "--data", "words", "--target", "rk3588", "--out", "out")
    done = mcwbuild("run", *asked, cwd=folder)
    assert done.code == 0, done.stderr
    return folder / "out"


def test_every_phase_reads_the_words_and_passes_its_gate(run: Path) -> None:
    records = [
        documents.read_json(run / f"{phase}_package" / f"performance_{phase}.json").value
        for phase in ("pt", "onnx", "rknn")
    ]
    found = [record["accuracy_metrics"] for record in records[:2]] + list(records[2]["accuracy_metrics"].values())
    assert len(found) == 4
    assert all(metrics["character_accuracy"] > 0.97 and metrics["word_accuracy"] > 0.9 for metrics in found)
    gates = [gate for record in records[1:] for gate in record["validation"]["gates"]]
    assert {(gate["metric"], gate["status"]) for gate in gates} == {("character_accuracy", "passed")}
    head = documents.read_yaml(run / "onnx_package" / "onnx_source.yaml").value["onnx"]["head"]
    assert (head["layout"], head["blank"], head["steps"]) == ("T1C", "first", 32)
    again = mcwbuild("verify", "out", cwd=run.parent)
    assert again.code == 0, again.stderr


def test_the_board_s_program_reads_an_image(run: Path, tmp_path: Path) -> None:
    board = Board.of_package(run / "rknn_package", tmp_path)
    scores = np.full(board.data["shapes"][0], -9, np.float32)
    for step, character in enumerate("  AA B  00 0"):
        scores[step, 0, CHARACTERS.index(character) + 1 if character != " " else 0] = 9
    scores[12:, 0, 0] = 9
    board.record([scores])
    done = board.run(board.image(), "--json")
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads(done.stdout)["texts"]
    assert entry["name"] == "AB00"
    assert entry["score"] > 0.99


def test_what_a_board_reads_is_judged_beside_what_the_simulator_read(run: Path, tmp_path: Path) -> None:
    record = on_the_board(run, tmp_path, "--data", run.parent / "words")
    for variant in ("fp16", "int8"):
        beside = record["comparison_with_simulator"][variant]["metrics"]["character_accuracy"]
        assert beside["previous"] > 0.9
        assert beside["current"] == pytest.approx(beside["previous"], abs=0.02)


def test_wrong_texts_and_absent_images_stop_a_run_with_their_places(run: Path) -> None:
    words = run.parent / "words"
    listed = words / "val.txt"
    kept = listed.read_text("utf-8")
    try:
        listed.write_text(f"{kept}val/00001.png\tother\nval/99999.png\tA\nval/00002.png\t\n", "utf-8")
        done = mcwbuild("run", "--pt", "crnn.pt", "--source", SOURCE, "--data", "words", "--out", "new", cwd=run.parent)
        assert done.code == 2
        assert all(f"val.txt:{line}: " in done.stderr for line in (41, 42, 43)), done.stderr
    finally:
        listed.write_text(kept, "utf-8")
