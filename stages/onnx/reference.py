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
from stages.common.evaluate import Decode
from stages.onnx import own
from stages.onnx.given import Given
from stages.onnx.ort_runner import OrtRunner
from stages.onnx.own import Outputs

MIN_COSINE = 0.999  # against PyTorch, for each output; a sound export has 0.999999 and more


@dataclass(frozen=True)
class Reference:
    """The other side of the comparison.

    run: what it gives for a normalised input [1, C, H, W]. own: that in the form of the comparison, a tensor for each
    of `names`; same: the made graph's outputs in that form.
    decode: candidates above a confidence, of what `run` gives.
    check: the verdict on the rows of `compare_outputs`, and on how many images they are from.
    """

    names: tuple[str, ...]
    run: Callable[[NDArray[np.float32]], Outputs]
    own: Callable[[Outputs], Outputs]
    same: Callable[[Outputs], Outputs]
    decode: Decode
    check: Callable[[Sequence[Mapping[str, Any]], str], Check]


def of_torch(network: torch.nn.Module, names: Sequence[str], decode: Decode) -> Reference:
    """The cut network itself, output by output."""

    def run(feed: NDArray[np.float32]) -> Outputs:
        with torch.inference_mode():
            return [output.numpy() for output in network(torch.from_numpy(feed))]

    return Reference(tuple(names), run, _as_they_are, _as_they_are, decode, partial(_agreement, "PyTorch"))


def of_whole(runner: OrtRunner, names: Sequence[str], decode: Decode) -> Reference:
    """The given graph in `runner`, output by output."""
    check = partial(_agreement, "the given graph")
    return Reference(tuple(names), runner.run, _as_they_are, _as_they_are, decode, check)


def _as_they_are(outputs: Outputs) -> Outputs:
    return outputs


def _agreement(reference: str, rows: Sequence[Mapping[str, Any]], images: str) -> Check:
    passed = all(agrees(row, MIN_COSINE) for row in rows)
    said = f"Over {images} {in_words(rows)}; a cosine of {MIN_COSINE} or an error of {NEGLIGIBLE_ERROR:g} is asked for."
    return Check(f"agreement with {reference}", "passed" if passed else "failed", said)


def of_given(given: Given, runner: OrtRunner) -> Reference:
    """The given graph in `runner`: its own predictions against those that the deployed decoder makes of the cut."""
    limits = own.LIMITS[given.head.described["family"]]
    return Reference(
        tuple(limits),
        runner.run,
        partial(own.predictions, given.head),
        partial(own.decoded, given.head),
        lambda outputs, confidence: own.candidates(given.head, outputs, confidence),
        partial(_equality, limits),
    )


def _equality(limits: Mapping[str, float], rows: Sequence[Mapping[str, Any]], images: str) -> Check:
    passed = all(row["max_error"] is not None and row["max_error"] <= limits[row["name"]] for row in rows)
    errors = ("not a number" if row["max_error"] is None else f"{row['max_error']:.2g}" for row in rows)
    said = f"Over {images} every prediction was compared; the largest errors, and what is allowed: " + ", ".join(
        f"{name} {error} ({limit:g})" for (name, limit), error in zip(limits.items(), errors, strict=True)
    )
    return Check("cut equals the given graph", "passed" if passed else "failed", f"{said}.")
