"""Other tasks the whole way, with untrained networks: what the packages say, and that the board's program runs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mcwbuild.contract import documents
from mcwbuild.contract.phases import PT
from mcwbuild.engines.local import LocalEngine
from tests.support.board import Board
from tests.support.commands import ROOT, mcwbuild

# Each task's network, its class names in the order of its data, and the metrics that are measured.
TASKS = {
    "classify": (
        "yolo11n-cls",
        ("blue_arrow", "blue_bar", "blue_wedge", "red_arrow", "red_bar", "red_wedge"),
        {"top1", "top5", "per_class"},
    ),
    "segment": ("yolov8n-seg", ("arrow", "wedge", "bar"), {"map50_95", "map50", "boxes"}),
}


@pytest.fixture(scope="module", params=TASKS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The task and its packages."""
    task = str(request.param)
    architecture, names, _ = TASKS[task]
    folder = tmp_path_factory.mktemp(task)
    engine = LocalEngine()
    engine.prepare(PT, lambda event: None)
    environment = {"YOLO_CONFIG_DIR": str(folder), "YOLO_OFFLINE": "1"}
    program = ROOT / "tests" / "support" / "make_checkpoint.py"
    words = [engine.python(PT), program, folder / "net.pt", f"{architecture}.yaml", "64,64", *names]
    subprocess.run([str(word) for word in words], check=True, env=environment)
    words = [
        engine.python(PT),
        ROOT / "benchmarks" / "draw_tasks.py",
        task,
        folder / "data",
        "--train",
        "24",
        "--val",
        "12",
    ]
    subprocess.run([str(word) for word in words], check=True, env=environment)
    data = folder / "data" if task == "classify" else folder / "data" / "data.yaml"
    done = mcwbuild("run", "--pt", "net.pt", "--data", data, "--target", "rk3588", "--out", "out", cwd=folder)
    # Untrained, INT8 may miss its gate by a single image; everything is made all the same.
    assert done.code in (0, 3), done.stderr
    again = mcwbuild("verify", "out", cwd=folder)
    assert again.code == 0, again.stderr
    return task, folder / "out"


def test_every_phase_measured_the_task_s_own_figures(run: tuple[str, Path]) -> None:
    task, out = run
    wanted = TASKS[task][2]
    records = [
        documents.read_json(out / f"{phase}_package" / f"performance_{phase}.json").value for phase in ("pt", "onnx")
    ]
    found = [record["accuracy_metrics"] for record in records]
    rknn = documents.read_json(out / "rknn_package" / "performance_rknn.json").value
    found += [rknn["accuracy_metrics"][variant] for variant in ("fp16", "int8")]
    assert all(wanted <= metrics.keys() for metrics in found)
    gates = {gate["metric"] for record in (records[1], rknn) for gate in record["validation"]["gates"]}
    assert gates == {"top1" if task == "classify" else "map50_95"}


def test_the_board_s_program_looks_at_an_image(run: tuple[str, Path], tmp_path: Path) -> None:
    task, out = run
    board = Board.of_package(out / "rknn_package", tmp_path)
    board.record([np.zeros(shape, np.float32) for shape in board.data["shapes"]])
    done = board.run(board.image(), "--json", "--conf", "0.1")
    assert done.returncode == 0, done.stderr
    (said,) = json.loads(done.stdout)["images"]
    assert len(said["classes" if task == "classify" else "detections"]) == (6 if task == "classify" else 0)
