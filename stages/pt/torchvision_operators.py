"""torchvision beside a torch that its compiled operators were not built for.

The ordinary index's torchvision is built for CUDA. Beside a CPU torch its library does not load, and the import fails
because it describes operators that nobody registered. Training needs the package, and of its operators `nms` alone.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def suppress(boxes: NDArray[np.float32], scores: NDArray[np.float32], threshold: float) -> list[int]:
    """The indices that greedy non-maximum suppression keeps, best score first; boxes [n, 4] are x1 y1 x2 y2."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        overlap = np.clip(high - low, 0, None).prod(axis=1)
        order = order[overlap <= threshold * (areas[best] + areas[order] - overlap)]
    return kept


def keep_by_score(dets: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """`torchvision::nms` on the CPU: int64 indices, best score first."""
    return torch.tensor(suppress(dets.numpy(), scores.numpy(), iou_threshold), dtype=torch.long)


@cache  # the definitions last as long as the object that is returned
def register_missing() -> Any | None:
    """Make torchvision importable. None: it is as it came; else what now stands in for its operators."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError:  # operator torchvision::nms does not exist
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
    else:
        return None
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(name + _SCHEMA)
    library.impl("nms", keep_by_score, "CPU")
    vars(importlib.import_module("torchvision.extension"))["_has_ops"] = lambda: True
    return library
