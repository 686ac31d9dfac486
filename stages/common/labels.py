"""The labels of images, read as the model's task has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcwbuild.contract.errors import Problem
from stages.common.ground_truth import Form, Labels, check_image, data_error, read_labels


def labels_of(images: Sequence[Path], contract: Mapping[str, Any]) -> tuple[Labels, ...]:
    """The labels of every image, for the model that `contract` is about.

    Raises InputError with one problem for each finding, naming file and line.
    """
    task, classes = contract["model"]["task"], contract["classes"]
    if task == "classification":
        return _by_folder(images, classes["names"])
    form = Form()
    if task in ("segmentation", "oriented_detection"):
        form = Form("polygon")
    elif task == "pose":
        form = Form("keypoints", (classes["keypoints"][0], classes["keypoints"][1]))
    return read_labels(images, classes["num_classes"], form)


def _by_folder(images: Sequence[Path], names: Sequence[str]) -> tuple[Labels, ...]:
    """A classification: an image's class is the nearest folder around it that has the name of one."""
    numbers = {name: number for number, name in enumerate(names)}
    problems: list[Problem] = []
    labels = []
    for image in images:
        problems += check_image(image)
        found = next((numbers[folder.name] for folder in image.parents if folder.name in numbers), None)
        if found is None:
            hint = "a class's images lie in a folder of its name"
            problems.append(Problem(f"its folder {image.parent.name} is none of the classes", str(image), hint=hint))
        labels.append(Labels(np.zeros((1, 4)), np.array([-1 if found is None else found])))
    if problems:
        raise data_error(problems)
    return tuple(labels)
