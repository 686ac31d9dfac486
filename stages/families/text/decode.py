"""Decoding of a network that was trained with connectionist temporal classification (CTC).

The generated board script is made of this file too: Python 3.8 and numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def decode_text(
    outputs: Sequence[np.ndarray], head: Mapping[str, Any], confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """The characters' classes int64 [n] and their probabilities float32 [n]; none where the mean is below `confidence`.

    Greedy (Graves et al. 2006, best path): the likeliest class of each step; of neighbours that are the same the first
    stays, blanks go. A character's probability is that of its first step.
    `outputs[0]` holds a score for each step and class in the order of `head["layout"]`: logits or logarithms
    of probabilities where `activation` is "softmax", probabilities where it is "none"; `blank` is "first" or "last"
    among the classes.
    """
    count = head["num_classes"] + 1
    layout = head["layout"]
    by_class = layout.index("C") < layout.index("T")
    scores = outputs[0].reshape(count, -1).T if by_class else outputs[0].reshape(-1, count)
    best = scores.argmax(axis=1)
    blank = 0 if head["blank"] == "first" else count - 1
    kept = best != blank
    kept[1:] &= best[1:] != best[:-1]
    steps = kept.nonzero()[0]
    classes = best[steps]
    found = _probabilities(scores[steps], head)[np.arange(len(steps)), classes]
    if not len(found) or found.mean() < confidence:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    return classes - (blank == 0), found.astype(np.float32)


def _probabilities(scores: np.ndarray, head: Mapping[str, Any]) -> np.ndarray:
    """Probabilities [n, C] of scores [n, C]; the softmax of logarithms of probabilities is the probabilities."""
    if head["activation"] == "none":
        return scores
    powers: np.ndarray = np.exp(scores - scores.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers
