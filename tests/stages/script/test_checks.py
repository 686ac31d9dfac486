"""What npu_inference.py looks at before it runs: each mismatch is one sentence with its remedy, and can be left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.board import CONTRACT_SHA256, STANDIN, Board


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board.make(tmp_path)


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        ({"runtime": "2.3.2"}, 0, ""),
        ({"runtime": "2.3.5"}, 0, ""),
        ({"runtime": "2.0.0b0"}, 5, "librknnrt 2.0.0b0 (stand-in for tests, no NPU computes here) is older than the"),
        ({"runtime": "2.5.0"}, 0, "note: librknnrt is 2.5.0 (stand-in for tests, no NPU computes here), the model's"),
        ({"driver": "0.8.2"}, 0, "note: the rknpu driver is 0.8.2; from 0.8.8 on all cores work"),
        ({"runtime": "1.4.0"}, 4, "librknnrt.so is older than the model"),
        ({"driver": None}, 4, "the NPU's driver is missing or this user may not open it"),
        ({"library": False}, 4, "librknnrt.so is not in /usr/lib"),
        ({"chip": "rk3588"}, 4, "the model was built for another chip than this one"),
    ],
)
def test_versions_and_driver_are_held_against_the_toolkit(
    board: Board, settings: dict[str, Any], code: int, message: str
) -> None:
    board.configure(**settings)
    done = board.run(board.image())
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert code == 0 or done.stderr.splitlines()[-1].startswith("error: ")
    assert ("note: librknnrt" in done.stderr or "note: the rknpu" in done.stderr) == message.startswith("note")


def test_versions_are_read_though_the_runtime_prints_nothing(board: Board) -> None:
    board.configure(runtime="2.0.0", noise=False)
    done = board.run(board.image())
    assert done.returncode == 5
    assert "librknnrt 2.0.0" in done.stderr


def test_checks_are_left_out_by_their_names(board: Board, tmp_path: Path) -> None:
    board.configure(runtime="2.0.0")
    image = board.image()
    assert "To try all the same: --no-checks runtime" in board.run(image).stderr
    assert board.run(image, "--no-checks", "runtime").returncode == 0
    model = tmp_path / "best_int8.rknn"
    model.write_bytes(model.read_bytes().replace(CONTRACT_SHA256.encode(), b"d0" * 32))
    assert board.run(image, "--no-checks", "runtime").returncode == 6
    assert board.run(image, "--no-checks", "runtime,contract").returncode == 6  # the file is not the measured one
    assert board.run(image, "--no-checks", "runtime,contract,file").returncode == 0
    assert board.run(image, "--no-checks", "all").returncode == 2


def test_an_older_package_is_told_with_how_to_update_it(board: Board, tmp_path: Path) -> None:
    older = tmp_path / "rknn_toolkit_lite2-2.0.0.dist-info"
    older.mkdir()
    (older / "METADATA").write_text("Metadata-Version: 2.1\nName: rknn-toolkit-lite2\nVersion: 2.0.0\n")
    done = board.run(board.image(), prelude=f"import sys; sys.path.insert(0, {str(tmp_path)!r})")
    assert done.returncode == 5
    assert "rknn-toolkit-lite2 2.0.0 is older than the toolkit 2.3.2 that built the model" in done.stderr
    assert "pip install rknn-toolkit-lite2==2.3.2" in done.stderr


def test_the_driver_s_version_is_read_where_the_kernel_tells_it(board: Board, tmp_path: Path) -> None:
    place = tmp_path / "sys" / "kernel" / "debug" / "rknpu"
    place.mkdir(parents=True)
    (place / "version").write_text("RKNPU driver: v0.7.2\n")
    quiet = f"import sys; sys.path.insert(0, {str(STANDIN)!r}); import rknnlite.api as a;"
    quiet += "a.RKNNLite.get_sdk_version = lambda self: None"
    board.configure(noise=False)
    done = board.run(board.image(), prelude=quiet, environment={"NPU_INFERENCE_ROOT": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "the rknpu driver is 0.7.2; from 0.8.8 on" in done.stderr
    assert "note: the version of librknnrt could not be read, so it was not checked" in done.stderr


@pytest.mark.parametrize(
    "words",
    [(), ("--conf", "2"), ("--core", "9"), ("--runs", "0"), ("--size", "0x0"), ("--no-checks", ""), ("--coco",)],
)
def test_a_wrong_command_line_is_told_before_anything_runs(board: Board, words: tuple[str, ...]) -> None:
    done = board.run(*words, *(["a.png"] if words else []))
    assert done.returncode == 2
    assert done.stderr.startswith("usage: npu_inference.py")
    assert "Traceback" not in done.stderr
