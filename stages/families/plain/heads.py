"""The heads of networks that tell nothing but themselves: what the outputs have to be for each task, found by looking.

A new task for such networks is a row of `HEADS`, a decoder in `families.plain.DECODINGS`, its shapes in
`families.shapes`, its program in `stages.rknn.script`, and what it is measured by in `stages.common.tasks`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcwbuild.contract.errors import InputError
from stages.families.text.head import head_of as ctc_head

_SUM_TOLERANCE = 1e-3  # of probabilities; logits of a network miss 1 by far more on one of several images


@dataclass(frozen=True)
class Probe:
    """What a network gave for some images.

    names: of the tensors in its result, empty for a single one. outputs: for each image the tensors, float32.
    unsoftened: a softmax at its end was left out.
    """

    names: tuple[str, ...]
    outputs: tuple[tuple[NDArray[np.float32], ...], ...]
    unsoftened: bool

    @property
    def shapes(self) -> list[list[int]]:
        """Of each output."""
        return [list(output.shape) for output in self.outputs[0]]


@dataclass(frozen=True)
class HeadMaker:
    """How a task's head is found. Its output is taken as [1, N] where it is `flat`, without a softmax at its end where
    it is `bare`."""

    flat: bool
    bare: bool
    describe: Callable[[Probe, Mapping[str, Any], str], dict[str, Any]]


def _scores(probe: Probe, contract: Mapping[str, Any], file: str) -> dict[str, Any]:
    """One output [1, number of classes]: logits, or probabilities where they always are some."""
    count = contract["classes"]["num_classes"]
    if probe.shapes != [[1, count]]:
        raise InputError(
            f"The network of {file} is no classifier of {count} classes.",
            f"Its outputs are {str(probe.shapes)[:200]}, and one [1, {count}] is wanted.",
            "Correct classes.names in training_source.yaml; `generic` as model.task takes any outputs.",
            kind="outputs",
        )
    probable = all(output.min() >= 0 and abs(output.sum() - 1) < _SUM_TOLERANCE for (output,) in probe.outputs)
    probable = probable and not probe.unsoftened
    return {
        "family": "scores",
        "num_classes": count,
        "outputs": ["probabilities" if probable else "logits"],
        "activation": "none" if probable else "softmax",
    }


def _outputs(probe: Probe, contract: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Any outputs, by their places in the result."""
    del contract, file
    names = ["output_" + re.sub(r"[^A-Za-z0-9_]", "_", name) if name else "output" for name in probe.names]
    return {"family": "outputs", "outputs": names, "shapes": probe.shapes}


def _text(probe: Probe, contract: Mapping[str, Any], file: str) -> dict[str, Any]:
    """One output with an axis for the steps, and one for the characters and CTC's blank."""
    if len(probe.shapes) != 1:
        raise InputError(
            f"The network of {file} is no text recogniser.",
            f"It has {len(probe.shapes)} outputs, and one is wanted.",
            "Wrap it in a module that returns the scores alone.",
            kind="outputs",
        )
    return ctc_head([outputs[0] for outputs in probe.outputs], contract["classes"])


HEADS: dict[str, HeadMaker] = {
    "classification": HeadMaker(flat=True, bare=True, describe=_scores),
    "generic": HeadMaker(flat=False, bare=False, describe=_outputs),
    "ocr": HeadMaker(flat=False, bare=True, describe=_text),
}
