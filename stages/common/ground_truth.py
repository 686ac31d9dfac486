"""Labels in YOLO format: a text file for each image, `class cx cy w h` or a polygon a line, in shares of its sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mcwbuild.contract import dataset
from mcwbuild.contract.errors import InputError, Problem
from stages.common.images import damage

_TOLERANCE = 0.01  # share of a side by which a coordinate may lie outside, as Ultralytics allows


@dataclass(frozen=True)
class Labels:
    """One image's objects: boxes float64 [n, 4] `cx cy w h` in shares of the image's sides, classes int64 [n]."""

    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]

    def in_pixels(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Boxes [n, 4] x1 y1 x2 y2 in pixels of the image of `shape` [H, W]."""
        rows, columns = shape
        centre, half = self.boxes[:, :2], self.boxes[:, 2:] / 2
        return np.concatenate([centre - half, centre + half], axis=1) * [columns, rows, columns, rows]


def read_labels(images: Sequence[Path], num_classes: int) -> tuple[Labels, ...]:
    """The labels of every image; one without a label file is background.

    Every line is checked, and every image file for being there and whole (without decoding it).
    Raises InputError with one problem for each finding, naming file and line.
    """
    problems: list[Problem] = []
    labels = []
    for image in images:
        problems += check_image(image)
        found, wrong = _read(dataset.label_of(image), num_classes)
        labels.append(found)
        problems += wrong
    if problems:
        raise data_error(problems)
    return tuple(labels)


def examine_labels(image: Path, num_classes: int) -> tuple[Labels, list[Problem]]:
    """The image's labels as far as they can be read, and what is wrong with its label file, line by line."""
    return _read(dataset.label_of(image), num_classes)


def check_image(image: Path) -> list[Problem]:
    """What is wrong with an image file as far as its bytes tell, without decoding it."""
    try:
        reason = damage(image.read_bytes())
    except OSError as error:
        reason = error.strerror or type(error).__name__
    return [Problem(reason, str(image))] if reason else []


def data_error(problems: Sequence[Problem]) -> InputError:
    """The one error for everything that is wrong with a dataset's images and labels."""
    count = "1 file or line is" if len(problems) == 1 else f"{len(problems)} files or lines are"
    return InputError(
        f"The dataset cannot be used: {count} wrong.",
        f"{problems[0]}." if len(problems) == 1 else f"The first: {problems[0]}.",
        "Mend or remove them; nothing was measured.",
        kind="dataset",
        problems=problems,
    )


def _read(file: Path, num_classes: int) -> tuple[Labels, list[Problem]]:
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        lines = []
    except (OSError, UnicodeDecodeError) as error:
        return _labels([]), [Problem(f"the label file cannot be read: {error}", str(file))]
    rows: dict[tuple[float, ...], None] = {}  # Ultralytics drops repeated lines too
    problems = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = _row(line.split(), num_classes)
        if isinstance(row, str):
            problems.append(Problem(row, str(file), number))
        else:
            rows[row] = None
    return _labels(list(rows)), problems


def _labels(rows: Sequence[tuple[float, ...]]) -> Labels:
    table = np.array(rows, np.float64).reshape(-1, 5)
    return Labels(table[:, 1:], table[:, 0].astype(np.int64))


def _row(words: Sequence[str], num_classes: int) -> tuple[float, ...] | str:
    """Class and box of one line, or what is wrong with it."""
    try:
        label, *numbers = (float(word) for word in words)
    except ValueError:
        return f"a word is no number: {' '.join(words)[:80]!r}"
    if len(numbers) != 4 and (len(numbers) < 6 or len(numbers) % 2):
        return f"{len(words)} values; a box has 5, a polygon an odd number from 7"
    if not label.is_integer() or not 0 <= label < num_classes:
        return f"class {words[0]} is not one of 0 to {num_classes - 1}"
    if not all(-_TOLERANCE <= number <= 1 + _TOLERANCE for number in numbers):
        return "a coordinate is not between 0 and 1"
    if len(numbers) > 4:
        numbers = _around(numbers)
    if min(numbers[2:]) < 0:
        return "the box's width or height is negative"
    return (label, *numbers)


def _around(points: Sequence[float]) -> list[float]:
    """The box around a polygon `x1 y1 x2 y2 ...`, as `cx cy w h`."""
    xs, ys = points[::2], points[1::2]
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
