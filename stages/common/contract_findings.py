"""What the contract itself says: an input that is not as large as in the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mcwbuild.contract import inherit
from stages.common.findings import Finding

CLOSE = 0.8  # of the trained side; a rectangle keeps its longer side, and one stride more or less costs nothing


def trained_size(source: Mapping[str, Any]) -> Finding | None:
    """The input size beside `training.imgsz` of a source document, where it is told."""
    told, size = inherit.value_at(source, ("training", "imgsz")), inherit.value_at(source, ("input", "size"))
    sides = [told] if isinstance(told, int) else told if isinstance(told, Sequence) else []
    trained = max((side for side in sides if type(side) is int), default=0)
    if not trained or not size:
        return None
    ratio = max(size) / trained
    if CLOSE <= ratio <= 1 / CLOSE:
        return None
    return Finding(
        "input-size",
        f"The input is {size[0]} x {size[1]}, and the network was trained at {trained}.",
        f"Objects are {ratio:.2g} times as large as those that it learned.",
        f"Measure both sizes, or make the source again with --imgsz {trained}.",
        {"input": list(size), "trained": trained, "ratio": round(ratio, 4)},
    )
