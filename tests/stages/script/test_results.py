"""What npu_inference.py gives out: lines, JSON, COCO's results, drawings, outputs; and hostile class names in all."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from stages.common.tasks import TASKS
from stages.families import family_of
from stages.rknn.program.show_masks import run_lengths
from tests.stages.script.test_board_tasks import HEADS, board_of, outputs
from tests.support.board import Board

HOSTILE = [
    "'''", '"""', "\\", "{{7*7}}", "${HOME} $(touch owned) `touch owned`", "\n\r\x1b]0;owned\x07", "%s%n",
    "\u2028\u202e",
    "'; import os; os.system('touch owned') #", "<script>alert(1)</script>", "\N{PILE OF POO}", "", " ", "a" * 2000,
]  # fmt: skip


@pytest.mark.parametrize("density", [0.0, 0.001, 0.3, 1.0])
def test_masks_are_run_length_encoded_as_pycocotools_does_it(density: float) -> None:
    random = np.random.default_rng(int(density * 100))
    for rows, columns in ((1, 1), (7, 5), (300, 400)):
        mask = random.random((rows, columns)) < density
        expected = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode("ascii")
        assert run_lengths(mask) == expected


@pytest.mark.parametrize("task", ["segmentation", "pose", "oriented_detection"])
def test_coco_s_results_are_those_of_the_json_lines(tmp_path: Path, task: str) -> None:
    board, _ = board_of(tmp_path, task)
    board.record(outputs(HEADS[task], 3))
    (tmp_path / "in").mkdir()
    board.image("in/000000000139.png", (240, 320))
    board.image("in/other.png", (60, 50))
    done = board.run("in", "--json", "--coco", "found.json", "--conf", "0.05", "--iou", "0.5")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "found.json").read_text())
    entries = [entry for line in done.stdout.splitlines() for entry in json.loads(line)["detections"]]
    assert len(rows) == len(entries) > 10
    assert {row["image_id"] for row in rows} == {139, "other"}
    for row, entry in zip(rows, entries, strict=True):
        assert (row["category_id"], row["score"]) == (entry["class"], entry["score"])
        if task == "oriented_detection":
            assert row["rbox"] == entry["box"]
            assert np.array_equal(np.reshape(row["poly"], (4, 2)), entry["corners"])
            continue
        left, top, wide, high = row["bbox"]
        assert np.allclose([left, top, left + wide, top + high], entry["box"])
        if task == "pose":
            assert np.array_equal(np.reshape(row["keypoints"], (-1, 3)), entry["keypoints"])


def test_pycocotools_takes_them(tmp_path: Path) -> None:
    board, _ = board_of(tmp_path, "segmentation")
    board.record(outputs(HEADS["segmentation"], 3))
    board.image("7.png", (240, 320))
    assert board.run("7.png", "--coco", "found.json", "--conf", "0.05").returncode == 0
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 7, "height": 240, "width": 320}],
        "categories": [{"id": number, "name": str(number)} for number in range(3)],
        "annotations": [],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        loaded = truth.loadRes(str(tmp_path / "found.json"))
    assert len(loaded.anns) > 5
    assert all(annotation["area"] >= 0 for annotation in loaded.anns.values())


@pytest.mark.parametrize("task", ["classification", "ocr"])
def test_tasks_without_a_coco_format_are_told(tmp_path: Path, task: str) -> None:
    board, _ = board_of(tmp_path, task)
    board.record(outputs(HEADS[task], 3))
    done = board.run(board.image(), "--coco", "found.json")
    assert done.returncode == 2
    assert "COCO has no results for" in done.stderr


@pytest.mark.parametrize("task", HEADS)
def test_hostile_class_names_are_printed_and_never_run(tmp_path: Path, task: str) -> None:
    """Through the terminal, JSON, COCO and what is drawn; `owned` would be a file."""
    # Every task has its own way to show names; all names go one way of each kind.
    for start in range(0, len(HOSTILE), 3 if task in ("object_detection", "ocr") else len(HOSTILE)):
        names = (HOSTILE + HOSTILE)[start : start + 3]
        folder = tmp_path / str(start)
        folder.mkdir()
        board, _ = board_of(folder, task, names)
        board.record(outputs(HEADS[task], 3))
        plain = board.run(board.image(), "--conf", "0.01", "--out", "drawn", *coco_of(task))
        assert plain.returncode == 0, plain.stderr
        assert all(character.isprintable() for character in plain.stdout.replace("\n", ""))
        assert (folder / "drawn" / "image.png").is_file()
        said = board.run(board.image(), "--conf", "0.01", "--json").stdout
        assert said.isascii()
        assert said.count("\n") == 1
        entries = json.loads(said)[{"classification": "classes", "ocr": "texts"}.get(task, "detections")]
        assert entries
        whole = set(names) | {entry["name"] for entry in entries if task == "ocr"}
        assert {entry["name"] for entry in entries} <= whole
        assert not list(tmp_path.rglob("owned"))


def coco_of(task: str) -> tuple[str, ...]:
    return () if task in ("classification", "ocr") else ("--coco", "found.json")


def test_outputs_are_kept_as_they_came(tmp_path: Path) -> None:
    board = Board.make(tmp_path)
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.jpg"):
        board.image(f"in/{name}")
    done = board.run("in", "--outputs", "kept")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["a.npz", "b.npz"]
    with np.load(tmp_path / "outputs.npz") as given, np.load(tmp_path / "kept" / "a.npz") as kept:
        assert kept.files == board.data["head"]["outputs"]
        assert all(np.array_equal(kept[name], given[key]) for name, key in zip(kept.files, given.files, strict=True))


def test_no_file_replaces_another_of_the_same_run(tmp_path: Path) -> None:
    board = Board.make(tmp_path)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        board.image(f"{folder}/a.png", seed=len(folder))
    assert board.run("one", "two", "--out", "drawn").returncode == 0
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["a-2.png", "a.png"]


@pytest.mark.parametrize("word", ["--out", "--outputs", "--coco"])
def test_what_cannot_be_written_is_told(tmp_path: Path, word: str) -> None:
    board = Board.make(tmp_path)
    (tmp_path / "file").write_text("")
    done = board.run(board.image(), word, "file/below")
    assert done.returncode == 2
    assert "Give " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_without_a_display_there_is_no_window_and_a_note(tmp_path: Path) -> None:
    board = Board.make(tmp_path)
    done = board.run(board.image(), "--show")
    assert done.returncode == 0
    assert "note: no window: there is no display" in done.stderr


WINDOW = """
import cv2
cv2.namedWindow = lambda name, kind: None
cv2.imshow = lambda name, image: print("shown", image.shape)
cv2.destroyAllWindows = lambda: print("closed")
keys = iter([0, ord("q")])
cv2.waitKey = lambda pause: next(keys)
"""


def test_a_window_shows_each_picture_and_q_ends(tmp_path: Path) -> None:
    board = Board.make(tmp_path)
    (tmp_path / "in").mkdir()
    for number in range(6):
        board.image(f"in/{number}.png")
    done = board.run("in", "--show", prelude=WINDOW, environment={"DISPLAY": ":0"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("shown") == 2
    assert done.stdout.count("closed") == 1


def test_every_task_with_classes_is_tried_here() -> None:
    assert {family_of(head).task for head in HEADS.values()} == TASKS.keys() - {"generic"}
