"""run_board.py as a person runs it on a board, on a stand-in for the board's runtime."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcwbuild.board import archive, pack
from mcwbuild.contract import validate
from stages.common import images
from stages.common.detection import Detections, finish
from stages.families.yolo.decode import decode
from stages.rknn.expected import Expected
from stages.rknn.probe import results
from tests.support.board import HEAD, STANDIN, Board, contract, outputs
from tests.support.commands import ROOT

PICTURES = ("a.png", "b.png")


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """A board with the unpacked archive in `mcwbuild-board`, and its stand-in's settings beside it."""
    made = Board.make(tmp_path)
    kept = Expected()
    prepared, _ = images.prepare(images.read(made.image("kept.png", seed=9)), contract())
    kept.add(prepared, outputs())
    expected = Path(kept.write(tmp_path / "expected_int8.npz", None))
    pictures = [made.image(name, seed=number) for number, name in enumerate(PICTURES)]
    limits = {"confidence": 0.001, "iou": 0.7, "max_detections": 300}
    described = {
        "models": {"int8": "best_int8.rknn"},
        "images": [{"file": f"images/{path.name}", "place": number} for number, path in enumerate(pictures)],
        "evaluation": limits,
        "report_info": {"phase": "rknn", "version": "0", "contract_sha256": made.data["contract_sha256"]},
        "test_configuration": {"dataset": {"images": 2, "labels": True}, "evaluation": limits},
    }
    files: dict[str, bytes | Path] = {name: tmp_path / name for name in ("npu_inference.py", "best_int8.rknn")}
    files |= {expected.name: expected, pack.PACK: json.dumps(described).encode()}
    files |= {f"images/{path.name}": path for path in pictures}
    archive.write(tmp_path / "board.tar.gz", files | pack.program())
    subprocess.run(["tar", "-xzf", "board.tar.gz"], cwd=tmp_path, check=True)
    return made


def run(board: Board, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Run it; `paths` come first where Python looks for modules."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, [*paths, STANDIN, ROOT])),
        "STANDIN_RKNNLITE": str(board.folder),
    }
    command = [sys.executable, "mcwbuild-board/run_board.py"]
    return subprocess.run(command, cwd=board.folder, env=environment, text=True, capture_output=True)


def record_of(board: Board) -> dict[str, Any]:
    """The record, which fits its schema."""
    (found,) = validate.require_all([(board.folder / "performance_rknn.device.json", "performance_rknn.device")])
    record: dict[str, Any] = found.value
    return record


def test_the_same_outputs_do_not_drift_and_the_results_are_the_evaluators(board: Board) -> None:
    done = run(board)
    assert done.returncode == 0, done.stderr
    record = record_of(board)
    assert record["stand_in"] is True
    assert record["device"]["int8"]["kind"] == "stand-in"
    for row in record["comparison_with_simulator"]["int8"]["outputs"]:
        assert (row["cosine"], row["max_error"]) == (pytest.approx(1), 0)
    assert record["model_info"]["fp16"] == {"status": "unmeasured", "reason": "It is not in the archive."}
    assert record["inference_performance"]["int8"]["runs"] == 100
    assert record["throughput"]["int8"]["cores"] == 2
    found = results.decode(record["results"]["int8"]["text"], Detections, 2, 3)
    for one, name in zip(found, PICTURES, strict=True):
        image = images.read(board.folder / name)
        _, placement = images.prepare(image, contract())
        expected = finish(decode(outputs(), HEAD, 0.001), placement, image.shape[:2], 0.7, 300)
        assert len(expected.scores) > 5
        assert np.array_equal(one.boxes, expected.boxes)
        assert np.array_equal(one.scores, expected.scores)
        assert np.array_equal(one.classes, expected.classes)


def test_outputs_that_differ_are_found(board: Board) -> None:
    changed = outputs()
    changed[2] = -changed[2]
    board.record(changed)
    assert run(board).returncode == 0
    rows = record_of(board)["comparison_with_simulator"]["int8"]["outputs"]
    assert [row["cosine"] for row in rows] == pytest.approx([1, 1, -1, 1])
    assert rows[2]["max_error"] == pytest.approx(2 * float(np.abs(changed[2]).max()))


def test_what_the_board_lacks_is_one_sentence(board: Board, tmp_path: Path) -> None:
    for name, words in (("numpy", "numpy cannot be imported"), ("rknnlite", "rknn-toolkit-lite2 cannot be imported")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise ImportError('No module named {name}', name='{name}')")
        done = run(board, tmp_path)
        assert done.returncode == 5, done.stderr
        assert done.stderr.splitlines()[-1].startswith(f"error: {words}")
        assert "Traceback" not in done.stderr
        (tmp_path / name / "__init__.py").unlink()
        (tmp_path / name).rmdir()


def test_a_model_that_fails_is_told_and_leaves_no_record_where_none_was_measured(board: Board) -> None:
    board.fail("init_runtime", "E RKNN: Unsupport CPU op: GatherND in this librknnrt.so")
    done = run(board)
    assert done.returncode == 4
    assert "does not know one of the model's operators" in done.stderr
    assert not (board.folder / "performance_rknn.device.json").exists()


def test_a_file_that_changed_on_the_way_is_refused(board: Board) -> None:
    model = board.folder / "mcwbuild-board" / "best_int8.rknn"
    model.write_bytes(model.read_bytes() + b"x")
    done = run(board)
    assert done.returncode == 6
    assert done.stderr.startswith("error: best_int8.rknn changed since it was packed")


def test_another_chip_is_refused(board: Board, tmp_path: Path) -> None:
    (tmp_path / "proc" / "device-tree").mkdir(parents=True)
    (tmp_path / "proc" / "device-tree" / "compatible").write_bytes(b"radxa,rock-5b\0rockchip,rk3588\0")
    os.environ["NPU_INFERENCE_ROOT"] = str(tmp_path)
    try:
        done = run(board)
    finally:
        del os.environ["NPU_INFERENCE_ROOT"]
    assert done.returncode == 5
    assert "The model was built for rk3576, this board has rk3588" in done.stderr
