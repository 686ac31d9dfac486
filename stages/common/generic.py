"""The result of a network that nothing is known about: its outputs.

The generated board script is made of this file too: Python 3.8 and numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stages.common.images import Placement

UNMEASURED = "A generic network has no metric: its outputs are compared with those of the phase before, one by one."


def finish_outputs(
    candidates: tuple[tuple[np.ndarray, ...], np.ndarray],
    placement: Placement,
    shape: tuple[int, int],
    iou: float | None,
    max_detections: int,
) -> tuple[np.ndarray, ...]:
    """The outputs as they are. Placement, shape and limits are those of tasks that find objects."""
    del placement, shape, iou, max_detections
    return candidates[0]


def measured_output(output: np.ndarray) -> Mapping[str, Any]:
    """What can be said of any output float32: its shape, least, largest and mean value."""
    values = {"min": output.min(), "max": output.max(), "mean": output.mean()}
    return {"shape": list(output.shape), **{name: float(value) for name, value in values.items()}}
