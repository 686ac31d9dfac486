"""The part of `npu_inference.py` that gives results out: lines, JSON lines, COCO, drawn pictures, outputs, a window.

Python 3.8, numpy and OpenCV only.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stages.rknn.program.frames import Frame
from stages.rknn.program.npu import ENVIRONMENT, INPUT, Stop
from stages.rknn.program.pipeline import Result
from stages.rknn.program.show import View, printable

_WINDOW = "npu_inference.py"
_KEYS_THAT_END = (ord("q"), 27)  # 27 is Escape


class WindowClosed(Exception):
    """The person at the window wants no more."""


class Lines:
    """For people: a line for each picture, and one for each thing found in it."""

    def __init__(self, view: View) -> None:
        self._view = view

    def take(self, result: Result) -> None:
        """Print the result."""
        if result.error:
            return
        number = "" if result.frame.number is None else f" {result.frame.number}"
        lines = [f"{printable(result.frame.name)}{number}: {len(result.entries)} found"]
        for entry in result.entries:
            score = f"{entry['score']:.3f}  " if "score" in entry else ""
            lines.append(f"  {printable(entry['name']):<20} {score}{self._view.text(entry)}".rstrip())
        sys.stdout.write("\n".join(lines) + "\n")

    def close(self) -> None:
        """Nothing is held."""


class JsonLines:
    """For programs: one JSON document a line for each picture."""

    def __init__(self, view: View) -> None:
        self._view = view

    def take(self, result: Result) -> None:
        """Print the result."""
        document: dict[str, Any] = {"image": result.frame.name}
        if result.frame.number is not None:
            document["frame"] = result.frame.number
        if result.error:
            document["error"] = result.error
        else:
            document[self._view.name] = result.entries
            parts = zip(("pre", "inference", "post"), result.milliseconds)  # noqa: B905 (3.8)
            document["milliseconds"] = {part: round(value, 4) for part, value in parts}
        sys.stdout.write(json.dumps(document) + "\n")

    def close(self) -> None:
        """Nothing is held."""


class Coco:
    """A file in COCO's format of results; an image's id is its file's number, else its name, as Ultralytics has it."""

    def __init__(self, file: str, view: View) -> None:
        if view.coco is None:
            raise Stop(INPUT, f"COCO has no results for {view.name}. Use --json.")
        self._file, self._coco = Path(file), view.coco
        self._rows: list[Mapping[str, Any]] = []
        self._write()

    def take(self, result: Result) -> None:
        """Keep the result."""
        stem = Path(result.frame.name).stem
        name: Any = int(stem) if stem.isascii() and stem.isdigit() else stem
        identity = name if result.frame.number is None else result.frame.number
        for entry, row in zip(result.entries, self._coco(result.found)):  # noqa: B905 (3.8)
            common = {"image_id": identity, "category_id": entry["class"], "score": entry["score"]}
            self._rows.append({**common, **row})

    def _write(self) -> None:
        try:
            self._file.write_text(json.dumps(self._rows) + "\n", "ascii")
        except OSError as error:
            raise Stop(INPUT, f"{self._file} cannot be written: {error.strerror}. Give --coco another file.") from None

    def close(self) -> None:
        """Write the file."""
        self._write()


class Folder:
    """A folder to write into, in which no file replaces another of the same run."""

    def __init__(self, name: str) -> None:
        self.path = Path(name)
        self._taken: set[str] = set()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Stop(INPUT, f"{name} cannot be made: {error.strerror}. Give another folder.") from None

    def place(self, stem: str, suffix: str) -> Path:
        """A new file's path: the second `a.png` of one run is `a-2.png`."""
        name, number = stem + suffix, 2
        while name in self._taken:
            name, number = f"{stem}-{number}{suffix}", number + 1
        self._taken.add(name)
        return self.path / name


class Drawn:
    """What was found, drawn into the pictures: files beside each other in a folder, one video of a stream."""

    def __init__(self, folder: str | None, show: bool, view: View, names: Sequence[str]) -> None:
        if view.draw is None:
            raise Stop(INPUT, f"There is nothing to draw for {view.name}. Use --outputs DIR or --json.")
        self._folder = Folder(folder) if folder is not None else None
        self._show, self._view, self._names = show, view, names
        self._videos: dict[str, Any] = {}

    def take(self, result: Result) -> None:
        """Draw and write or show. Raises WindowClosed where the window is left by q or Escape."""
        if result.error or self._view.draw is None:
            return
        image = result.image[:, :, :3].copy()  # without transparency, which what is drawn has not
        self._view.draw(image, result.found, self._names)
        if self._folder is not None and result.frame.number is None:
            path = Path(result.frame.name)
            target = self._folder.place(path.stem, path.suffix)
            if not cv2.imwrite(str(target), image):
                raise Stop(INPUT, f"{target} cannot be written. Give --out another folder.")
        elif self._folder is not None:
            self._video(result.frame, image).write(image)
        if self._show:
            _show(image, still=result.frame.number is None)

    def _video(self, frame: Frame, image: np.ndarray) -> Any:
        name = frame.name
        if name not in self._videos:
            assert self._folder is not None
            if not hasattr(cv2, "VideoWriter"):
                raise Stop(ENVIRONMENT, "Videos need OpenCV. Install it: pip install opencv-python-headless")
            stem = Path(name.replace("://", "-")).stem.replace(" ", "-")
            target = self._folder.place(stem, ".mp4")
            size = image.shape[1], image.shape[0]
            writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"mp4v"), frame.rate, size)
            if not writer.isOpened():
                raise Stop(ENVIRONMENT, f"{target} cannot be written: this OpenCV writes no MP4. Leave --out out.")
            self._videos[name] = writer
        return self._videos[name]

    def close(self) -> None:
        """End the videos and the window."""
        for video in self._videos.values():
            video.release()
        if self._show:
            cv2.destroyAllWindows()


def can_show() -> bool:
    """Whether there is a display and an OpenCV with windows."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or not hasattr(cv2, "imshow"):
        return False
    try:
        cv2.namedWindow(_WINDOW, cv2.WINDOW_NORMAL)
    except cv2.error:  # the headless build
        return False
    return True


def _show(image: np.ndarray, still: bool) -> None:
    cv2.imshow(_WINDOW, image)
    if cv2.waitKey(0 if still else 1) & 0xFF in _KEYS_THAT_END:
        raise WindowClosed


class Outputs:
    """The network's outputs themselves: one .npz for each picture, float32 by the outputs' names."""

    def __init__(self, folder: str, names: Sequence[str]) -> None:
        self._folder, self._names = Folder(folder), names

    def take(self, result: Result) -> None:
        """Write them."""
        if result.error:
            return
        number = "" if result.frame.number is None else f"-{result.frame.number:06d}"
        target = self._folder.place(Path(result.frame.name).stem + number, ".npz")
        try:
            np.savez(str(target), **dict(zip(self._names, result.outputs)))  # type: ignore[arg-type]  # noqa: B905 (3.8)
        except OSError as error:
            raise Stop(INPUT, f"{target} cannot be written: {error.strerror}. Give --outputs another folder.") from None

    def close(self) -> None:
        """Nothing is held."""
