"""Decoding of a classifier's scores.

The generated board script is made of this file too: Python 3.8 and numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def decode_scores(
    outputs: Sequence[np.ndarray], head: Mapping[str, Any], confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Classes int64 [n] of at least that probability, best first, and their probabilities float32 [n].

    `outputs` are float32 [1, num_classes]: logits where `head["activation"]` is softmax, probabilities where it is
    none. Of equal probabilities the lower class is first.
    """
    scores = outputs[0].reshape(head["num_classes"])
    if head["activation"] == "softmax":
        powers = np.exp(scores - scores.max())
        scores = powers / powers.sum()
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= confidence]
    return order, scores[order]
