"""Labels in YOLO format: a text file for each image, one object a line, in shares of its sides.

Behind the class stands a box `cx cy w h`, a polygon `x1 y1 x2 y2 ...`, or a box and keypoints `x y` or `x y visible`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mcwbuild.contract import dataset
from mcwbuild.contract.errors import InputError, Problem
from stages.common.images import damage

_TOLERANCE = 0.01  # share of a side by which a coordinate may lie outside, as Ultralytics allows


@dataclass(frozen=True)
class Labels:
    """One image's objects: boxes float64 [n, 4] `cx cy w h` in shares of the image's sides, classes int64 [n].

    points: for each object its polygon [k, 2] or keypoints [k, 3], in shares too; empty where a task has none.
    """

    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    points: tuple[NDArray[np.float64], ...] = ()

    def in_pixels(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Boxes [n, 4] x1 y1 x2 y2 in pixels of the image of `shape` [H, W]."""
        rows, columns = shape
        centre, half = self.boxes[:, :2], self.boxes[:, 2:] / 2
        return np.concatenate([centre - half, centre + half], axis=1) * [columns, rows, columns, rows]


_CORNERS = 8  # numbers of four points


@dataclass(frozen=True)
class Form:
    """What a line holds behind its class: box or polygon alike, a polygon, four corners, or a box with keypoints."""

    kind: Literal["box", "polygon", "corners", "keypoints"] = "box"
    keypoints: tuple[int, int] = (0, 0)  # how many, and how many numbers each

    def misfit(self, numbers: int) -> str:
        """Why that many numbers behind the class are not of this form; empty where they are."""
        polygon = numbers >= 6 and numbers % 2 == 0
        if self.kind == "polygon":
            return "" if polygon else "an outline has an odd number from 7, class and points"
        if self.kind == "corners":
            return "" if numbers == _CORNERS else f"four corners have {_CORNERS + 1}, class and points"
        if self.kind == "keypoints":
            count, each = self.keypoints
            wanted = 5 + count * each
            return "" if numbers + 1 == wanted else f"class, box and {count} keypoints of {each} have {wanted}"
        return "" if numbers == 4 or polygon else "a box has 5, a polygon an odd number from 7"


def read_labels(images: Sequence[Path], num_classes: int, form: Form = Form()) -> tuple[Labels, ...]:
    """The labels of every image; one without a label file is background.

    Every line is checked, and every image file for being there and whole (without decoding it).
    Raises InputError with one problem for each finding, naming file and line.
    """
    problems: list[Problem] = []
    labels = []
    for image in images:
        problems += check_image(image)
        found, wrong = _read(dataset.label_of(image), num_classes, form)
        labels.append(found)
        problems += wrong
    if problems:
        raise data_error(problems)
    return tuple(labels)


def examine_labels(image: Path, num_classes: int, form: Form = Form()) -> tuple[Labels, list[Problem]]:
    """The image's labels as far as they can be read, and what is wrong with its label file, line by line."""
    return _read(dataset.label_of(image), num_classes, form)


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


def _read(file: Path, num_classes: int, form: Form) -> tuple[Labels, list[Problem]]:
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        lines = []
    except (OSError, UnicodeDecodeError) as error:
        return _labels([], form), [Problem(f"the label file cannot be read: {error}", str(file))]
    rows: dict[tuple[float, ...], None] = {}  # Ultralytics drops repeated lines too
    problems = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = _row(line.split(), num_classes, form)
        if isinstance(row, str):
            problems.append(Problem(row, str(file), number))
        else:
            rows[row] = None
    return _labels(list(rows), form), problems


def _labels(rows: Sequence[tuple[float, ...]], form: Form) -> Labels:
    boxes = [row[1:5] if form.kind == "keypoints" or len(row) == 5 else _around(row[1:]) for row in rows]
    points: list[NDArray[np.float64]] = []
    if form.kind == "polygon":
        points = [np.array(row[1:]).reshape(-1, 2) for row in rows]
    elif form.kind == "keypoints":
        count, numbers = form.keypoints
        points = [np.array(row[5:]).reshape(count, numbers) for row in rows]
        if numbers == 2:  # without a word about it a keypoint counts
            points = [np.column_stack([each, np.ones(count)]) for each in points]
    classes = np.array([row[0] for row in rows], np.float64).astype(np.int64)
    return Labels(np.array(boxes, np.float64).reshape(-1, 4), classes, tuple(points))


def _row(words: Sequence[str], num_classes: int, form: Form) -> tuple[float, ...] | str:
    """Class and numbers of one line, or what is wrong with it."""
    try:
        label, *numbers = (float(word) for word in words)
    except ValueError:
        return f"a word is no number: {' '.join(words)[:80]!r}"
    if misfit := form.misfit(len(numbers)):
        return f"{len(words)} values; {misfit}"
    if not label.is_integer() or not 0 <= label < num_classes:
        return f"class {words[0]} is not one of 0 to {num_classes - 1}"
    places = numbers
    if form.kind == "keypoints" and form.keypoints[1] == 3:
        places = [number for index, number in enumerate(numbers) if index < 4 or index % 3 != 0]
        if not all(0 <= visibility <= 2 for visibility in numbers[6::3]):
            return "a keypoint's visibility is not 0, 1 or 2"
    if not all(-_TOLERANCE <= number <= 1 + _TOLERANCE for number in places):
        return "a coordinate is not between 0 and 1"
    if (form.kind == "keypoints" or len(numbers) == 4) and min(numbers[2:4]) < 0:
        return "the box's width or height is negative"
    return (label, *(_around(numbers) if form.kind == "box" and len(numbers) > 4 else numbers))


def _around(points: Sequence[float]) -> tuple[float, float, float, float]:
    """The box around a polygon `x1 y1 x2 y2 ...`, as `cx cy w h`."""
    xs, ys = points[::2], points[1::2]
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
