"""What npu_inference.py takes in beside files: videos, cameras, standard input; and what goes wrong with them."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import cv2
import numpy as np
import pytest

from tests.stages.script.test_without_opencv import BLOCKED
from tests.support.board import Board

# A camera that gives some pictures and is pulled out: there is none in a test's machine.
CAMERA = """
import cv2, numpy
class Camera:
    def __init__(self, place):
        assert place == 3
        self.left = 7
    def isOpened(self):
        return True
    def get(self, key):
        return 0.0
    def read(self):
        self.left -= 1
        return self.left >= 0, numpy.full((48, 64, 3), abs(self.left), numpy.uint8)
    def release(self):
        print("released")
cv2.VideoCapture = Camera
"""


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board.make(tmp_path)


def lines(done: CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def pictures(count: int, rows: int = 48, columns: int = 64) -> list[np.ndarray]:
    return [np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), np.uint8) for seed in range(count)]


def test_a_video_is_taken_frame_by_frame_and_drawn_as_one(board: Board, tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "a b.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 48))
    for picture in pictures(9):
        writer.write(picture)
    writer.release()
    done = board.run("a b.avi", "--json", "--out", "drawn")
    assert done.returncode == 0, done.stderr
    assert [(line["image"], line["frame"]) for line in lines(done)] == [("a b.avi", number) for number in range(9)]
    drawn = cv2.VideoCapture(str(tmp_path / "drawn" / "a-b.mp4"))
    assert drawn.get(cv2.CAP_PROP_FRAME_COUNT) == 9
    assert drawn.get(cv2.CAP_PROP_FPS) == 5


def test_what_is_no_video_is_told(board: Board, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    for name in ("text.mp4", "absent.mkv"):
        done = board.run(name)
        assert done.returncode == 2
        assert f"{name} cannot be opened. Is it a video, and whole?" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_camera_that_is_pulled_out_ends_the_program_after_its_last_picture(board: Board, tmp_path: Path) -> None:
    for name in ("3", "/dev/video3"):
        done = board.run(name, "--json", "--coco", "found.json", prelude=CAMERA)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith("error: camera 3 gave no more pictures after 7. Is it still")
        assert [line["frame"] for line in lines(done)] == list(range(7))
        assert "released" in done.stdout
        assert {row["image_id"] for row in json.loads((tmp_path / "found.json").read_text())} == set(range(7))


def test_a_camera_that_is_not_there_is_told(board: Board) -> None:
    done = board.run("97")
    assert done.returncode == 2
    assert "camera 97 cannot be opened. Is it there, and may this user open it?" in done.stderr


def test_raw_frames_come_from_standard_input(board: Board, tmp_path: Path) -> None:
    shown = pictures(3)
    data = b"".join(picture.tobytes() for picture in shown)
    done = board.run("-", "--size", "64x48", "--json", given=data)
    assert done.returncode == 0, done.stderr
    assert [line["frame"] for line in lines(done)] == [0, 1, 2]
    cv2.imwrite(str(tmp_path / "last.png"), shown[-1])
    alone = lines(board.run("last.png", "--json"))
    assert lines(done)[-1]["detections"] == alone[0]["detections"]


def test_raw_frames_that_end_in_the_middle_are_told_after_those_before(board: Board) -> None:
    data = b"".join(picture.tobytes() for picture in pictures(2))
    done = board.run("-", "--size", "64x48", "--json", given=data[:-5])
    assert done.returncode == 2
    assert "Standard input ends 5 bytes before the end of frame 1. Is --size 64x48 right" in done.stderr
    assert [line["frame"] for line in lines(done)] == [0]
    assert board.run("-", "--size", "64", given=b"").returncode == 2


def jpeg(picture: np.ndarray, progressive: int = 0) -> bytes:
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
    return bytes(cv2.imencode(".jpg", picture, options)[1].tobytes())


def test_jpegs_come_from_standard_input_one_after_the_other(board: Board, tmp_path: Path) -> None:
    shown = [jpeg(picture, number % 2) for number, picture in enumerate(pictures(5, 480, 640))]
    done = board.run("-", "--json", given=b"".join(shown))
    assert done.returncode == 0, done.stderr
    assert [line["frame"] for line in lines(done)] == list(range(5))
    (tmp_path / "last.jpg").write_bytes(shown[-1])
    seen = np.load(tmp_path / "seen.npy")
    assert lines(board.run("last.jpg", "--json"))[0]["detections"] == lines(done)[-1]["detections"]
    assert seen.shape == np.load(tmp_path / "seen.npy").shape


@pytest.mark.parametrize(
    ("data", "before", "message"),
    [
        (jpeg(pictures(1)[0])[:-40], 0, "JPEG 0 has no end"),
        (jpeg(pictures(1)[0]) + b"RIFF", 1, "holds no JPEG where picture 1 should begin. Raw frames need --size"),
        (b"\xff\xd8\xff\xe0\x00\x04ab\xff\xd9" + jpeg(pictures(1)[0]), 1, "picture 0 cannot be read"),
        (b"", 0, ""),
    ],
)
def test_a_broken_stream_of_jpegs_is_told(board: Board, data: bytes, before: int, message: str) -> None:
    done = board.run("-", "--json", given=data)
    assert done.returncode == (2 if message else 0)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in lines(done) if "detections" in line]) == before


def test_an_empty_folder_and_a_folder_that_is_not_there_are_told(board: Board, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, message in (("empty", "There are no images in empty"), ("absent", "absent is no image that can be read")):
        done = board.run(name)
        assert done.returncode == 2
        assert message in done.stderr


def claiming(columns: int, rows: int) -> bytes:
    """A PNG that says it is that large, and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


CORRUPT = {
    "empty": b"",
    "PNG's first bytes": b"\x89PNG\r\n\x1a\n",
    "JPEG's ends": b"\xff\xd8\xff\xd9",
    "WebP's first bytes": b"RIFF0000WEBP",
    "BMP of nonsense": b"BM" + b"\xff" * 60,
    "too many pixels": claiming(50_000, 50_000),
    "pixels that are not there": claiming(200_000, 10),
}


@pytest.mark.parametrize("prelude", ["", BLOCKED], ids=["OpenCV", "Pillow"])
@pytest.mark.parametrize("kind", CORRUPT)
def test_corrupt_files_are_named_and_the_others_done(board: Board, tmp_path: Path, kind: str, prelude: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(CORRUPT[kind])
    board.image("in/b.png")
    done = board.run("in", "--json", prelude=prelude)
    assert done.returncode == 2
    assert "in/a.png is no image that can be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert ["error" in line for line in lines(done)] == [True, False]
