"""npu_inference.py as a person runs it, on a stand-in for the board's runtime."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from stages.common import images
from stages.common.detection import finish
from stages.families.yolo.decode import decode
from tests.support.board import CONTRACT_SHA256, HEAD, NAMES, Board, contract, outputs


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board.make(tmp_path)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_detections_are_the_evaluators_own_to_the_last_bit(board: Board, seed: int) -> None:
    board.record(outputs(seed=seed))
    path = board.image(seed=seed)
    done = board.run(path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    image = images.read(path)
    _, placement = images.prepare(image, contract())
    expected = finish(decode(outputs(seed=seed), HEAD, 0.25), placement, image.shape[:2], 0.7, 300)
    assert len(expected.scores) > 5
    assert [entry["score"] for entry in found["detections"]] == expected.scores.tolist()
    assert [entry["class"] for entry in found["detections"]] == expected.classes.tolist()
    assert [entry["box"] for entry in found["detections"]] == expected.boxes.tolist()


def test_a_one_to_one_head_is_decoded_without_bins_and_without_suppression(tmp_path: Path) -> None:
    head = {**HEAD, "reg_max": 1, "nms": False}
    arrays = [array if index % 2 else np.abs(array[:, :4]) for index, array in enumerate(outputs())]
    board = Board.make(tmp_path, head=head, shapes=[list(array.shape) for array in arrays])
    board.record(arrays)
    path = board.image()
    done = board.run(path, "--json", "--iou", "0.1")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    image = images.read(path)
    _, placement = images.prepare(image, contract())
    candidates = decode(arrays, head, 0.25)
    expected = finish(candidates, placement, image.shape[:2], None, 300)
    suppressed = finish(candidates, placement, image.shape[:2], 0.1, 300)
    assert len(expected.scores) == len(candidates[1]) > len(suppressed.scores)
    assert [entry["score"] for entry in found["detections"]] == expected.scores.tolist()
    assert [entry["box"] for entry in found["detections"]] == expected.boxes.tolist()


@pytest.mark.parametrize("colours", ["RGB", "BGR"])
def test_the_runtime_is_given_bytes_in_the_contracts_colour_order(tmp_path: Path, colours: str) -> None:
    board = Board.make(tmp_path, contract=contract(colours=colours))
    path = board.image()
    assert board.run(path).returncode == 0
    prepared, _ = images.prepare(images.read(path), contract(colours=colours))
    assert np.array_equal(np.load(tmp_path / "seen.npy"), prepared[None])


def test_class_names_are_printed_and_never_run(board: Board) -> None:
    plain = board.run(board.image())
    assert plain.returncode == 0, plain.stderr
    assert 'it\'s "{{7*7}}"' in plain.stdout
    assert "two\\nlines ${HOME} $(id)" in plain.stdout
    assert "\x1b" not in plain.stdout
    data = json.loads(board.run(board.image(), "--json").stdout)
    assert {entry["name"] for entry in data["detections"]} == set(NAMES)


def test_standard_output_is_json_alone_although_the_runtime_prints_there(board: Board) -> None:
    done = board.run(board.image(), "--json")
    assert json.loads(done.stdout).keys() == {"image", "detections", "milliseconds"}
    assert "RKNN Runtime Information, librknnrt version: 2.3.2 (stand-in" in done.stderr


def test_a_folder_is_worked_through_in_order_and_times_are_medians(board: Board, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("b.png", "a.jpg", "c.txt.png"):
        board.image(f"in/{name}")
    (tmp_path / "in" / "notes.txt").write_text("no image")
    lines = [json.loads(line) for line in board.run("in", "--json").stdout.splitlines()]
    assert [line["image"] for line in lines] == ["in/a.jpg", "in/b.png", "in/c.txt.png"]
    assert all(line["milliseconds"]["inference"] > 0 for line in lines)
    assert "median of 2: pre" in board.run("in").stdout


def test_images_with_boxes_are_written(board: Board, tmp_path: Path) -> None:
    path = board.image()
    assert board.run(path, "--out", "drawn").returncode == 0
    drawn = cv2.imread(str(tmp_path / "drawn" / "image.png"))
    assert drawn is not None
    assert (drawn == (0, 255, 0)).all(axis=2).sum() > 100


def test_a_higher_confidence_leaves_a_prefix(board: Board) -> None:
    path = board.image()
    everything, best = (
        json.loads(board.run(path, "--json", "--conf", value).stdout)["detections"] for value in (0.1, 0.6)
    )
    assert 0 < len(best) < len(everything)
    assert everything[: len(best)] == best


def test_an_unreadable_image_is_named_and_the_others_are_done(board: Board, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = board.run("broken.png", board.image())
    assert done.returncode == 2
    assert "broken.png is no image" in done.stderr
    assert "image.png" in done.stdout


@pytest.mark.parametrize(
    ("call", "printed", "meaning"),
    [
        ("load_rknn", "E RKNN: parseRKNN: invalid RKNN_MAGIC!", "damaged or a Git LFS pointer"),
        ("load_rknn", "something new", "returned -1"),
        ("init_runtime", "E RKNN: Invalid RKNN model version 6", "librknnrt.so is older than the model"),
        ("init_runtime", "failed to open rknpu module, need to insmod rknpu dirver!", "driver is missing"),
        ("init_runtime", "E RKNN: Unsupport CPU op: GatherND in this librknnrt.so", "does not know one"),
        ("init_runtime", "Can not find dynamic library on RK3588!", "not in /usr/lib"),
        ("init_runtime", "RKNN_ERR_TARGET_PLATFORM_UNMATCH", "another chip"),
        ("inference", "E RKNN: failed to submit!", "do not fit together"),
        ("inference", "nothing known", "returned None"),
    ],
)
def test_a_failing_runtime_is_one_sentence_with_a_remedy(board: Board, call: str, printed: str, meaning: str) -> None:
    board.fail(call, printed)
    done = board.run(board.image())
    error = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 4
    assert error.startswith(f"error: {call} failed")
    assert meaning in error
    assert "Traceback" not in done.stderr
    assert printed in done.stderr


def test_another_model_file_is_refused(board: Board, tmp_path: Path) -> None:
    image = board.image()
    model = tmp_path / "best_int8.rknn"
    whole = model.read_bytes()
    model.write_bytes(whole + b"x")
    assert board.run(image).returncode == 6
    model.write_bytes(whole.replace(CONTRACT_SHA256.encode(), b"d0" * 32))
    done = board.run(image)
    assert done.returncode == 6
    assert "another contract" in done.stderr
    model.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    assert board.run(image).returncode == 2
    model.unlink()
    done = board.run(image)
    assert done.returncode == 2
    assert "No best_int8.rknn lies beside this program" in done.stderr


@pytest.mark.parametrize(
    ("compatible", "code"),
    [
        (b"armsom,sige5\0rockchip,rk3576\0", 0),
        (b"radxa,rock-5b\0rockchip,rk3588\0", 5),
        (b"raspberrypi,4-model-b\0brcm,bcm2711\0", 5),
    ],
)
def test_the_chip_is_looked_at_before_the_model_is_loaded(
    board: Board, tmp_path: Path, compatible: bytes, code: int
) -> None:
    (tmp_path / "proc" / "device-tree").mkdir(parents=True)
    (tmp_path / "proc" / "device-tree" / "compatible").write_bytes(compatible)
    done = board.run(board.image(), environment={"NPU_INFERENCE_ROOT": str(tmp_path)})
    assert done.returncode == code, done.stderr
    assert (code != 0) != (tmp_path / "core_masks.txt").exists()
    assert code == 0 or "Run it on rk3576" in done.stderr or "this board has rk3588" in done.stderr


def test_chips_without_the_python_runtime_are_told_so(tmp_path: Path) -> None:
    board = Board.make(tmp_path, lite=False, target="rv1106")
    done = board.run(board.image())
    assert done.returncode == 5
    assert "does not run on rv1106" in done.stderr


def test_a_missing_runtime_package_is_named_with_its_version(board: Board, tmp_path: Path) -> None:
    (tmp_path / "rknnlite.py").write_text("")  # no package: `rknnlite.api` is not there
    text = (tmp_path / "npu_inference.py").read_text("ascii")
    (tmp_path / "npu_inference.py").write_text(text.replace("from rknnlite.api", "from rknnlite_absent.api"), "ascii")
    done = board.run(board.image())
    assert done.returncode == 5
    assert "pip install rknn-toolkit-lite2==2.3.2" in done.stderr


def test_cores_are_passed_on_and_unknown_ones_refused(board: Board, tmp_path: Path) -> None:
    assert board.run(board.image(), "--core", "0_1").returncode == 0
    assert (tmp_path / "core_masks.txt").read_text() == "3\n"
    assert board.run(board.image(), "--core", "2").returncode == 2


@pytest.mark.parametrize("damage", ["shape", "nan"])
def test_outputs_that_cannot_be_right_stop_the_program(board: Board, damage: str) -> None:
    arrays = outputs()
    arrays[0] = arrays[0][:, :32] if damage == "shape" else np.full_like(arrays[0], np.nan)
    board.record(arrays)
    done = board.run(board.image())
    assert done.returncode == 4
    assert ("shape" if damage == "shape" else "not finite") in done.stderr
