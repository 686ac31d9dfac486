"""What the made graph is held against: the network in PyTorch, or the given ONNX file with its own head."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mcwbuild.contract.performance import Check
from stages.common.agreement import NEGLIGIBLE_ERROR, agrees, in_words
from stages.families import family_of
from stages.families.family import Boxes
from stages.onnx.given import Given
from stages.onnx.ort_runner import OrtRunner

MIN_COSINE = 0.999  # against PyTorch, for each output; a sound export has 0.999999 and more
MAX_BOX_ERROR = 0.05  # pixels of the input; the same arithmetic in another order differs by 0.0001
MAX_SCORE_ERROR = 1e-4  # of 0..1; far below what moves a detection over a threshold
Outputs = list[NDArray[np.float32]]


@dataclass(frozen=True)
class Reference:
    """The other side of the comparison.

    run: what it gives for a normalised input [1, C, H, W], a tensor for each of `names`.
    same: the made graph's outputs in that form.
    check: the verdict on the rows of `compare_outputs`, and on how many images they are from.
    """

    names: tuple[str, ...]
    run: Callable[[NDArray[np.float32]], Outputs]
    same: Callable[[Outputs], Outputs]
    check: Callable[[Sequence[Mapping[str, Any]], str], Check]


def of_torch(network: torch.nn.Module, names: Sequence[str]) -> Reference:
    """The cut network itself, output by output."""

    def run(feed: NDArray[np.float32]) -> Outputs:
        with torch.inference_mode():
            return [output.numpy() for output in network(torch.from_numpy(feed))]

    return Reference(tuple(names), run, lambda outputs: outputs, partial(_agreement, "PyTorch"))


def of_whole(runner: OrtRunner, names: Sequence[str]) -> Reference:
    """The given graph in `runner`, output by output."""
    return Reference(tuple(names), runner.run, lambda outputs: outputs, partial(_agreement, "the given graph"))


def _agreement(reference: str, rows: Sequence[Mapping[str, Any]], images: str) -> Check:
    passed = all(agrees(row, MIN_COSINE) for row in rows)
    said = f"Over {images} {in_words(rows)}; a cosine of {MIN_COSINE} or an error of {NEGLIGIBLE_ERROR:g} is asked for."
    return Check(f"agreement with {reference}", "passed" if passed else "failed", said)


def of_given(given: Given, runner: OrtRunner) -> Reference:
    """The given graph in `runner`: its boxes and scores against those that the deployed decoder makes of the cut."""
    head = given.head.described()
    decode = family_of(head).decode

    def run(feed: NDArray[np.float32]) -> Outputs:
        boxes, scores = split(runner.run(feed)[0])
        return [boxes, scores]

    def same(outputs: Outputs) -> Outputs:
        boxes, scores, classes = decode(outputs, head, -1.0)  # below every score: every cell for every class
        order = np.argsort(classes, kind="stable")  # class after class, cells in the scales' order
        scores = scores[order].reshape(head["num_classes"], -1)
        return [boxes[order[: scores.shape[1]]], scores]

    return Reference(("boxes", "scores"), run, same, _equality)


def _equality(rows: Sequence[Mapping[str, Any]], images: str) -> Check:
    errors = [row["max_error"] for row in rows]
    limits = (MAX_BOX_ERROR, MAX_SCORE_ERROR)
    passed = all(error is not None and error <= limit for error, limit in zip(errors, limits, strict=True))
    boxes, scores = ("not a number" if error is None else f"{error:.2g}" for error in errors)
    said = (
        f"Over {images} every box and score was compared: the largest errors are {boxes} pixels and {scores}, where "
        f"{MAX_BOX_ERROR:g} and {MAX_SCORE_ERROR:g} are allowed."
    )
    return Check("cut equals the given graph", "passed" if passed else "failed", said)


def split(output: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Boxes x1 y1 x2 y2 [n, 4] in input pixels and scores [nc, n] of an Ultralytics output [1, 4 + nc, n], xywh."""
    centre, half, scores = output[0, :2], output[0, 2:4] / 2, output[0, 4:]
    return np.concatenate([centre - half, centre + half]).T, scores


def decode_given(outputs: Sequence[NDArray[np.float32]], confidence: float) -> Boxes:
    """Candidates above `confidence` of the given graph's own output, as the evaluator wants them."""
    boxes, scores = split(outputs[0])
    classes, cells = np.nonzero(scores > confidence)
    return boxes[cells], scores[classes, cells], classes
