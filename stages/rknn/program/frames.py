"""The part of `npu_inference.py` that takes pictures in: files, folders, videos, cameras, standard input.

Python 3.8, numpy and OpenCV only.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import cv2
import numpy as np

from stages.common.images import picture, read
from stages.rknn.program.npu import ENVIRONMENT, INPUT, Stop

PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm")
STANDARD_INPUT = "-"
_CHUNK = 1 << 16  # bytes
_MOST_BYTES = 64 << 20  # of one JPEG on standard input
_RATE = 25.0  # frames a second of what does not say its own


class Frame(NamedTuple):
    """One picture: the name of its file or stream, and how to get its pixels.

    `load` gives uint8 [H, W, 3] in blue-green-red, or with transparency [H, W, 4], and raises Stop. Of a stream also
    its number there, and how many come in a second.
    """

    name: str
    load: Callable[[], np.ndarray]
    number: int | None = None
    rate: float = 0.0


class Source(NamedTuple):
    """Frames one after the other, and how many; None where that is not known."""

    frames: Iterator[Frame]
    total: int | None


def held(image: np.ndarray) -> Callable[[], np.ndarray]:
    """A frame's `load` for pixels that are in memory already."""
    return lambda: image


def sources_of(given: Sequence[str], form: str, size: Sequence[int] | None) -> list[Source]:
    """One source for each word of the command line; neighbouring files are one source.

    `form` is the contract's colour format; `size` [W, H] that of raw frames on standard input.
    """
    found: list[Source] = []
    files: list[Path] = []
    for word in given:
        path = Path(word)
        camera = re.fullmatch(r"(?:/dev/video)?(\d+)", word)
        if word == STANDARD_INPUT:
            found.append(_standard_input(sys.stdin.buffer, form, size))
        elif camera and not path.is_file():
            found.append(_stream(int(camera.group(1)), f"camera {camera.group(1)}", endless=True))
        elif "://" in word or path.suffix.lower() in VIDEOS:
            found.append(_stream(word, word, endless="://" in word))
        elif path.is_dir():
            files += sorted(entry for entry in path.iterdir() if entry.suffix.lower() in PICTURES)
        else:
            files.append(path)
    if files:
        found.append(Source((_of_file(path, form) for path in files), len(files)))
    if not found:
        raise Stop(INPUT, f"There are no images in {', '.join(given)}. Give images or a folder with images.")
    return found


def _of_file(path: Path, form: str) -> Frame:
    def load() -> np.ndarray:
        try:
            return read(path, form)
        except (OSError, ValueError) as error:
            raise Stop(INPUT, f"{path} is no image that can be read ({error}). Leave it out.") from None

    return Frame(str(path), load)


def _stream(place: str | int, name: str, endless: bool) -> Source:
    """A video, or what never ends by itself: then the end is an error."""
    if not hasattr(cv2, "VideoCapture"):
        raise Stop(ENVIRONMENT, f"{name} needs OpenCV. Install it: pip install opencv-python-headless")
    capture = cv2.VideoCapture(place)
    if not capture.isOpened():
        remedy = "Is it there, and may this user open it?" if endless else "Is it a video, and whole?"
        raise Stop(INPUT, f"{name} cannot be opened. {remedy}")
    return Source(_captured(capture, name, endless), None)


def _captured(capture: Any, name: str, endless: bool) -> Iterator[Frame]:
    number, rate = 0, capture.get(cv2.CAP_PROP_FPS) or _RATE
    try:
        while True:
            whole, image = capture.read()
            if not whole:
                break
            yield Frame(name, held(image), number, rate)
            number += 1
    finally:
        capture.release()
    if endless or not number:
        raise Stop(INPUT, f"{name} gave no more pictures after {number}. Is it still connected and sending?")


def _standard_input(stream: IO[bytes], form: str, size: Sequence[int] | None) -> Source:
    frames = _jpegs(stream, form) if size is None else _raw(stream, size)
    return Source(frames, None)


def _raw(stream: IO[bytes], size: Sequence[int]) -> Iterator[Frame]:
    """Frames of width x height x 3 bytes, blue-green-red."""
    columns, rows = size
    number, wanted = 0, columns * rows * 3
    while True:
        data = stream.read(wanted)
        if not data:
            return
        if len(data) < wanted:
            short = f"Standard input ends {wanted - len(data)} bytes before the end of frame {number}"
            raise Stop(INPUT, f"{short}. Is --size {columns}x{rows} right, and the format bgr24?")
        image = np.frombuffer(data, np.uint8).reshape(rows, columns, 3)
        yield Frame("standard input", held(image), number, _RATE)
        number += 1


def _jpegs(stream: IO[bytes], form: str) -> Iterator[Frame]:
    """JPEG files one after the other."""
    data, number = bytearray(), 0
    while True:
        end = _end_of_jpeg(data, number)
        while end is None:
            part = stream.read1(_CHUNK)  # type: ignore[attr-defined]
            if not part and not data:
                return
            if not part or len(data) > _MOST_BYTES:
                raise Stop(INPUT, f"Standard input: JPEG {number} has no end. Was the sender stopped in the middle?")
            data += part
            end = _end_of_jpeg(data, number)
        yield _of_bytes(bytes(data[:end]), number, form)
        del data[:end]
        number += 1


def _of_bytes(data: bytes, number: int, form: str) -> Frame:
    def load() -> np.ndarray:
        try:
            return picture(data, form)
        except ValueError as error:
            raise Stop(INPUT, f"Standard input: picture {number} cannot be read ({error}).") from None

    return Frame("standard input", load, number, _RATE)


def _end_of_jpeg(data: bytearray, number: int) -> int | None:
    """Where the JPEG that `data` begins with ends; None where it ends later (ISO/IEC 10918-1, annex B)."""
    if not b"\xff\xd8".startswith(bytes(data[:2])):
        raise Stop(
            INPUT, f"Standard input holds no JPEG where picture {number} should begin. Raw frames need --size WxH."
        )
    place = 2
    while place + 4 <= len(data):
        marker = data[place + 1]
        if data[place] == 0xFF and marker == 0xD9:
            return place + 2
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xDA:  # then come the coded pixels, in which 0xFF is followed by 0 or by a restart's number
            found = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL).search(data, place)
            if found is None:
                return None
            place = found.start()
    return place + 2 if data[place : place + 2] == b"\xff\xd9" else None
