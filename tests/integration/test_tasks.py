"""A trained network of every task the whole way: its own figures at every phase, its gates, and the board's program."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.draw_tasks import write
from mcwbuild.contract import documents
from tests.support.board import Board
from tests.support.commands import ROOT, mcwbuild
from tests.support.measured import on_the_board
from tests.support.train_models import NETWORKS
from tests.support.trained import EXAMPLES, checkpoint

MAX_SIZE = 1.5e6  # bytes of a committed checkpoint
OF_OBJECTS = {"map50_95", "map50", "precision", "recall"}
FIGURES = {
    "classify": {"top1", "top5", "per_class"},
    "detect": OF_OBJECTS,
    "segment": OF_OBJECTS | {"boxes"},
    "pose": OF_OBJECTS | {"boxes"},
    "obb": OF_OBJECTS,
}
LEAST = 0.5  # of the main metric: a network that finds nothing would pass every gate


@pytest.fixture(scope="module", params=FIGURES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The task and its packages, by the command of examples/README.md; its images were not seen in the training."""
    task = str(request.param)
    folder = tmp_path_factory.mktemp(task)
    (folder / "examples").symlink_to(ROOT / "examples")
    done = mcwbuild(*words(task, folder), "--out", "out", cwd=folder)
    assert done.code == 0, done.stderr
    again = mcwbuild("verify", "out", cwd=folder)
    assert again.code == 0, again.stderr
    return task, folder / "out"


def words(task: str, folder: Path) -> list[str]:
    """What the example's README says to run; of the network that is no example, the same on drawn images."""
    if task in EXAMPLES:
        lines = (ROOT / "examples" / "README.md").read_text("utf-8").splitlines()
        (line,) = (line for line in lines if line.startswith(f"    mcwbuild run --pt examples/{EXAMPLES[task]}/"))
        return line.split()[1:]
    data = write(folder / "data", NETWORKS[task][2], 24, 48, seed=1, large=True)  # type: ignore[arg-type]
    return ["run", "--pt", str(checkpoint(task)), "--data", str(data), "--target", "rk3588"]


def test_every_phase_measured_the_task_s_own_figures_and_passed_its_gate(run: tuple[str, Path]) -> None:
    task, out = run
    assert checkpoint(task).stat().st_size <= MAX_SIZE
    main = "top1" if task == "classify" else "map50_95"
    records = [
        documents.read_json(out / f"{phase}_package" / f"performance_{phase}.json").value for phase in ("pt", "onnx")
    ]
    found = [record["accuracy_metrics"] for record in records]
    rknn = documents.read_json(out / "rknn_package" / "performance_rknn.json").value
    found += [rknn["accuracy_metrics"][variant] for variant in ("fp16", "int8")]
    assert all(FIGURES[task] <= metrics.keys() for metrics in found)
    assert all(metrics[main] >= LEAST for metrics in found), [metrics[main] for metrics in found]
    gates = [gate for record in (records[1], rknn) for gate in record["validation"]["gates"]]
    assert {gate["metric"] for gate in gates} == {main}
    assert len(gates) == 3


def test_the_board_s_program_looks_at_an_image(run: tuple[str, Path], tmp_path: Path) -> None:
    task, out = run
    board = Board.of_package(out / "rknn_package", tmp_path)
    board.record([np.zeros(shape, np.float32) for shape in board.data["shapes"]])
    done = board.run(board.image(), "--json", "--conf", "0.1")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert len(said["classes" if task == "classify" else "detections"]) == (6 if task == "classify" else 0)


def test_what_a_board_finds_is_judged_beside_what_the_simulator_found(run: tuple[str, Path], tmp_path: Path) -> None:
    task, out = run
    given = words(task, tmp_path)
    record = on_the_board(out, tmp_path, "--data", ROOT / given[given.index("--data") + 1])
    main = "top1" if task == "classify" else "map50_95"
    for variant, most in (("fp16", 0.005), ("int8", 0.05)):
        beside = record["comparison_with_simulator"][variant]["metrics"][main]
        assert beside["previous"] >= LEAST
        assert beside["current"] == pytest.approx(beside["previous"], abs=most)
        assert beside["current"] == record["accuracy_metrics"][variant][main]
    assert [check["status"] for check in record["validation"]["checks"]] == ["passed", "passed"]
