"""What a dataset with label files has to be for a task: the form of its lines, its keypoints, its turned boxes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mcwbuild.contract import dataset
from mcwbuild.contract.dataset import Dataset
from mcwbuild.contract.errors import InputError, Problem
from stages.common.ground_truth import Form

MAX_KEYPOINTS = 1000  # as the documents of the phases say
_SNIFFED = 100  # label files, evenly spread, that tell which task a dataset is made for
_BOX, _CORNERS = 5, 9  # values of a line: class and box; class and four corners
_CROSSED, _RECTANGLE = 0.5, 0.9  # share of the smallest rectangle around four corners that they cover


def require_task(found: Dataset, task: str) -> None:
    """Raise InputError where the label files are those of another task, seen by how many values their lines have."""
    counts = _counts(found)
    fitting = _fitting(counts, _shape(found.keypoints))
    if task == "pose" and counts != {_BOX}:
        return  # keypoints that are not described, or otherwise than they are, are told in the report
    if counts and fitting and task not in fitting:
        raise InputError(
            f"{found.file} is not a dataset for {task.replace('_', ' ')}.",
            f"Its label files are those of {fitting[0].replace('_', ' ')}.",
            "Train a model for that task, or give the dataset that belongs to this one.",
            kind="dataset",
        )


def _counts(found: Dataset) -> set[int]:
    """How many values the lines of the label files have."""
    every = [image for split in ("train", "val") for image in found.splits.get(split, ())]
    counts: set[int] = set()
    for image in dataset.pick(every, _SNIFFED):
        try:
            lines = dataset.label_of(image).read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError):
            continue  # told in the report, or background
        counts |= {len(line.split()) for line in lines if line.strip()}
    return counts


def _fitting(counts: set[int], keypoints: tuple[int, int] | None) -> tuple[str, ...]:
    """The tasks that lines of so many values are for, the likeliest first; none where the lines are a mixture."""
    if keypoints and counts == {_BOX + keypoints[0] * keypoints[1]}:
        return ("pose",)
    if counts == {_BOX}:
        return ("object_detection",)
    if counts == {_CORNERS}:
        return ("oriented_detection", "segmentation", "object_detection")
    if all(count > _BOX and count % 2 for count in counts):
        return ("segmentation", "object_detection")
    return ()


def form_of(found: Dataset, task: str) -> Form | None:
    """The form of a label line; None where the dataset does not say it."""
    if task == "pose":
        shape = _shape(found.keypoints)
        return shape and Form("keypoints", shape)
    return Form({"segmentation": "polygon", "oriented_detection": "corners"}.get(task, "box"))  # type: ignore[arg-type]


def _shape(keypoints: Mapping[str, Any]) -> tuple[int, int] | None:
    """`kpt_shape` where it is one: how many keypoints, and 2 or 3 numbers of each."""
    shape = keypoints.get("kpt_shape")
    if isinstance(shape, list) and len(shape) == 2 and all(type(part) is int for part in shape):
        return (shape[0], shape[1]) if 1 <= shape[0] <= MAX_KEYPOINTS and shape[1] in (2, 3) else None
    return None


def keypoint_problems(found: Dataset) -> Iterator[Problem]:
    """What is wrong with what the data.yaml of a pose says of its keypoints."""
    file, shape = str(found.file), _shape(found.keypoints)
    if shape is None:
        wrong = "kpt_shape is missing" if "kpt_shape" not in found.keypoints else "kpt_shape is not [count, 2 or 3]"
        yield Problem(wrong, file, path="$.kpt_shape", hint="for example kpt_shape: [17, 3], with visibilities")
        return
    count, flip, sigmas = shape[0], found.keypoints.get("flip_idx"), found.keypoints.get("kpt_oks_sigmas")
    if flip:  # an empty list is as good as none
        if not isinstance(flip, list) or sorted(map(repr, flip)) != sorted(map(repr, range(count))):
            hint = "for each keypoint the one that it becomes in a mirror"
            yield Problem(f"flip_idx does not hold each of 0 to {count - 1} once", file, path="$.flip_idx", hint=hint)
        elif (odd := next((number for number in range(count) if flip[flip[number]] != number), None)) is not None:
            said = f"keypoint {odd} becomes {flip[odd]} in a mirror, and {flip[odd]} becomes {flip[flip[odd]]}"
            yield Problem(said, file, path="$.flip_idx")
    if sigmas is not None and not (isinstance(sigmas, list) and len(sigmas) == count and all(map(_positive, sigmas))):
        yield Problem(f"kpt_oks_sigmas are not {count} numbers above 0", file, path="$.kpt_oks_sigmas")


def _positive(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value > 0


def keypoint_doubts(found: Dataset) -> dict[str, list[Problem]]:
    """What a pose's data.yaml leaves out, or says that only the trainer hears."""
    file, doubts = str(found.file), dict[str, list[Problem]]()
    if not found.keypoints.get("flip_idx"):
        doubts["there is no flip_idx: no image is mirrored in the training"] = [
            Problem("there is no flip_idx: no image is mirrored in the training", file)
        ]
    if found.keypoints.get("kpt_oks_sigmas"):
        kind = "kpt_oks_sigmas are of the training alone: every phase is measured with Ultralytics' usual ones"
        doubts[kind] = [Problem(kind, file, path="$.kpt_oks_sigmas")]
    return doubts


def turned_problems(file: Path, shape: tuple[int, int]) -> tuple[list[Problem], list[Problem]]:
    """Of a label file whose lines have four corners: those that enclose nothing, and those that are no rectangles.

    Each is measured in pixels of its image of `shape` [H, W], against the smallest rectangle around it, as which
    Ultralytics learns it.
    """
    wrong, doubtful = [], []
    for number, line in enumerate(file.read_text("utf-8-sig").splitlines() if file.is_file() else (), 1):
        if not line.strip():
            continue
        corners = np.array(line.split()[1:], np.float64).reshape(4, 2) * shape[::-1]
        _, sides, _ = cv2.minAreaRect(corners.astype(np.float32))
        x, y = corners.T
        covered = abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2
        whole = float(sides[0]) * float(sides[1])
        if covered < _CROSSED * whole or whole < 1e-6:
            wrong.append(Problem("the four corners do not go around a box", str(file), number))
        elif covered < _RECTANGLE * whole:
            doubtful.append(Problem("the four corners are no rectangle", str(file), number))
    return wrong, doubtful
