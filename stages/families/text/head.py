"""How the one output of a text recogniser is read: found from its shape and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mcwbuild.contract.errors import InputError

FAMILY = "ctc"
_SUM_ERROR = 1e-3  # of a step's probabilities, computed in half precision at worst


def head_of(outputs: Sequence[np.ndarray], classes: Mapping[str, Any]) -> dict[str, Any]:
    """The head as data, from what the network gave for some images; `classes` is the contract's block.

    Raises InputError where the shape has no axis for the characters and the blank, or several could be it.
    """
    layout = layout_of(outputs[0].shape, classes["num_classes"])
    probable = all(_is_probability(output, layout) for output in outputs)
    return {
        "family": FAMILY,
        "num_classes": classes["num_classes"],
        "layout": layout,
        "steps": outputs[0].shape[layout.index("T")],
        "blank": classes["blank"],
        "activation": "none" if probable else "softmax",
        "outputs": ["probabilities" if probable else "scores"],
    }


def layout_of(shape: Sequence[int], num_classes: int) -> str:
    """A letter for each axis: C for the characters and the blank, T for the steps, 1 for the rest, all of length one.

    Raises InputError.
    """
    wanted = num_classes + 1
    axes = [axis for axis, length in enumerate(shape) if length > 1]
    found = [axis for axis in axes if shape[axis] == wanted]
    if len(found) == 1 and len(axes) <= 2:
        steps = next((axis for axis in axes if axis != found[0]), None)
        if steps is None:  # one step alone: any of the other axes
            steps = next((axis for axis in range(len(shape)) if axis != found[0]), None)
        if steps is not None:
            return "".join("C" if axis == found[0] else "T" if axis == steps else "1" for axis in range(len(shape)))
    several = len(found) > 1
    raise InputError(
        "The network's output is not that of a text recogniser with these characters.",
        f"Its shape is {list(shape)}, and with {num_classes} characters and the blank "
        + ("several axes could hold the classes." if several else f"one axis has {wanted} classes, one the steps."),
        "Give the network another input width." if several else "Correct classes.names: every character, without it.",
        kind="head",
    )


def _is_probability(output: np.ndarray, layout: str) -> bool:
    """Whether the values are probabilities: none below zero, and those of each step are one together."""
    sums = output.sum(axis=layout.index("C"))
    return bool((output >= 0).all() and (np.abs(sums - 1) <= _SUM_ERROR).all())


def shape_of(head: Mapping[str, Any]) -> list[int]:
    """The output's shape, as the head says."""
    lengths = {"C": head["num_classes"] + 1, "T": head["steps"], "1": 1}
    return [lengths[letter] for letter in head["layout"]]
