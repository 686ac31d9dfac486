"""npu_inference.py of every task, on a stand-in for the board's runtime: its results are the evaluator's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from stages.common import images
from stages.common.detection import suppression
from stages.common.tasks import TASKS
from stages.families import family_of
from stages.families.shapes import output_shapes
from tests.support.board import NAMES, Board, contract

DENSE = {"strides": [8, 16], "reg_max": 16, "num_classes": 3, "score_activation": "sigmoid"}
HEADS: dict[str, dict[str, Any]] = {
    "object_detection": {**DENSE, "family": "yolo_dfl"},
    "anchors": {
        **{"family": "yolo_anchors", "num_classes": 3, "strides": [8, 16]},
        "anchors": [[[10, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]]],
    },
    "classification": {"family": "yolo_classes", "num_classes": 3, "outputs": ["logits"]},
    "ocr": {
        **{"family": "ctc", "num_classes": 3, "layout": "T1C", "steps": 12, "blank": "last", "activation": "softmax"},
        "outputs": ["scores"],
    },
    "segmentation": {**DENSE, "family": "yolo_masks", "prototypes": 8},
    "pose": {**DENSE, "family": "yolo_poses", "keypoints": [5, 3], "keypoint_unit": 2},
    "oriented_detection": {**DENSE, "family": "yolo_turned", "angle": "sigmoid"},
}


TASK_OF = {"anchors": "object_detection"}  # a second family of the same task


def outputs(head: dict[str, Any], seed: int) -> list[np.ndarray]:
    """Random outputs that hold a few dozen objects, the same for the same seed."""
    random = np.random.default_rng(seed)
    made = []
    for shape in output_shapes(head, [64, 96]):
        values = random.normal(0, 2, shape)
        # scores, angles, visibilities, and all that an anchor head gives: 0..1
        likely = shape[1] in (1, 3, 5, 24) and head["family"] not in ("yolo_classes", "ctc")
        made.append((random.random(shape) ** 4 if likely else values).astype(np.float32))
    return made


@pytest.fixture(params=HEADS)
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def board_of(folder: Path, task: str, names: list[str] = NAMES) -> tuple[Board, dict[str, Any]]:
    made = contract()
    made["classes"]["names"] = names
    made["model"]["task"] = TASK_OF.get(task, task)
    if task == "classification":
        made["preprocessing"]["resize"] = {"method": "direct", "interpolation": "antialias"}
    head = HEADS[task]
    board = Board.make(folder, contract=made, head=head, shapes=output_shapes(head, [64, 96]))
    return board, made


def pictures(board: Board) -> list[Path]:
    """Three sizes, one of them as the input itself, grey ones, and one that is huge."""
    folder = board.folder / "in"
    folder.mkdir()
    made = [
        board.image(f"in/{rows}x{columns}.png", (rows, columns)) for rows, columns in ((120, 100), (64, 96), (37, 211))
    ]
    grey = np.random.default_rng(6).integers(0, 256, (90, 130), np.uint8)
    for name in ("grey.png", "grey.jpg"):
        assert cv2.imwrite(str(folder / name), grey)
    huge = (3000, 2000) if "masks" in board.data["head"]["family"] else (9000, 6000)  # what masks cost, pixels cost
    assert cv2.imwrite(str(folder / "huge.jpg"), cv2.resize(grey, huge))
    return sorted([*made, folder / "grey.png", folder / "grey.jpg", folder / "huge.jpg"])


def test_results_are_the_evaluator_s_own_to_the_last_bit(tmp_path: Path, task: str) -> None:
    board, made = board_of(tmp_path, task)
    head = HEADS[task]
    board.record(outputs(head, 3))
    paths = pictures(board)
    done = board.run("in", "--json", "--iou", "0.5", "--conf", "0.05")
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["image"] for line in said] == [str(path.relative_to(tmp_path)) for path in paths]
    candidates = family_of(head).decode(outputs(head, 3), head, 0.05)
    for path, line in zip(paths, said, strict=True):
        image = images.read(path)
        _, placement = images.prepare(image, made)
        if task == "ocr":
            same_text(candidates, line)
            continue
        finish = TASKS[made["model"]["task"]].finish
        same(task, finish(candidates, placement, image.shape[:2], suppression(head, 0.5), 300), line, image)


def same_text(candidates: Any, line: dict[str, Any]) -> None:
    classes, scores = candidates
    (entry,) = line["texts"]
    assert entry["name"] == "".join(NAMES[kind] for kind in classes)
    assert entry["characters"] == scores.tolist()
    assert entry["score"] == pytest.approx(float(scores.mean()))


def same(task: str, found: Any, line: dict[str, Any], image: np.ndarray) -> None:
    """The program's entries are the evaluator's result."""
    entries = line["classes" if task == "classification" else "detections"]
    assert len(entries) == len(found.scores) >= (1 if task == "classification" else 5)
    assert [entry["score"] for entry in entries] == found.scores.tolist()
    assert [entry["class"] for entry in entries] == found.classes.tolist()
    if task != "classification":
        assert [entry["box"] for entry in entries] == found.boxes.tolist()
    if task == "pose":
        assert [entry["keypoints"] for entry in entries] == found.keypoints.tolist()
    if task == "oriented_detection":
        assert np.allclose(np.mean([entry["corners"] for entry in entries], axis=1), found.boxes[:, :2], atol=1e-2)
    if task == "segmentation":
        assert any(entry["outlines"] for entry in entries)
        for entry, (mask, top, left) in zip(entries, found.masks, strict=True):
            drawn = np.zeros(image.shape[:2], np.uint8)
            for outline in entry["outlines"]:
                cv2.fillPoly(drawn, [np.array(outline, np.int32)], 1)
            assert drawn[top : top + mask.shape[0], left : left + mask.shape[1]][mask].all()


@pytest.mark.parametrize("form", ["RGB", "Grayscale"])
def test_the_runtime_is_given_the_evaluator_s_own_bytes(tmp_path: Path, task: str, form: str) -> None:
    board, made = board_of(tmp_path, task)
    made["input"] |= {"format": form, "channels": 3 if form == "RGB" else 1}
    for key, value in (("mean", 0.0), ("std", 255.0)):
        made["preprocessing"]["normalize"][key] = [value] * made["input"]["channels"]
    board = Board.make(tmp_path, contract=made, head=HEADS[task], shapes=board.data["shapes"])
    board.record(outputs(HEADS[task], 3))
    path = board.image()
    assert board.run(path).returncode == 0
    prepared, _ = images.prepare(images.read(path), made)
    assert np.array_equal(np.load(tmp_path / "seen.npy"), prepared[None])


def test_people_are_told_and_images_are_drawn(tmp_path: Path, task: str) -> None:
    board, _ = board_of(tmp_path, task)
    board.record(outputs(HEADS[task], 3))
    path = board.image()
    done = board.run(path, "--out", "drawn", "--conf", "0.05")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "\x1b" not in done.stdout
    assert lines[0].endswith("found")
    assert any(name.split("\n")[0][:5] in done.stdout for name in NAMES)
    assert all(("degrees" in line) == (task == "oriented_detection") for line in lines[1:-1])
    drawn = cv2.imread(str(tmp_path / "drawn" / "image.png"))
    assert drawn is not None
    assert (drawn == (0, 255, 0)).all(axis=2).sum() > 30
