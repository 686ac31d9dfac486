"""The outputs of a network that nothing is known about, as they are.

The generated board script is made of this file too: Python 3.8 and numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def decode_outputs(
    outputs: Sequence[np.ndarray], head: Mapping[str, Any], confidence: float
) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """The outputs float32, and which of them are not zero everywhere: a build that gives zeros alone is dead."""
    del head, confidence
    found = tuple(np.asarray(output, np.float32) for output in outputs)
    return found, np.flatnonzero([output.any() for output in found])
