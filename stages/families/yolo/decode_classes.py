"""Decoding of a classifier of Ultralytics, cut before its softmax.

The generated board script is made of this file too: Python 3.8 and numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def decode_classes(
    outputs: Sequence[np.ndarray], head: Mapping[str, Any], confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Classes int64 [n] of at least that probability, best first, and their probabilities float32 [n].

    `outputs` are the logits float32 [1, num_classes, 1, 1]. Of equal
    probabilities the lower class is first.
    """
    logits = outputs[0].reshape(head["num_classes"])
    powers = np.exp(logits - logits.max())
    probabilities = powers / powers.sum()
    order = np.argsort(-probabilities, kind="stable")
    order = order[probabilities[order] >= confidence]
    return order, probabilities[order]
