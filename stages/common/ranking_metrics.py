"""Accuracy of a classifier: top-1 and top-5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.common.classification import Ranking
from stages.common.per_image import Verdict, means

_TOP = 5
_DIGITS = 6


def judge_rankings(found: Sequence[Ranking], truth: Sequence[int], names: Sequence[str], confidence: float) -> Verdict:
    """The verdict on each image's ranking by its class.

    top1: the share of images whose best class is the right one; top5: whose right class is among the best five.
    Both are means over the images, as Ultralytics has them; a class without images has null figures.
    """
    del confidence  # an image has one class, however sure the network is
    if not truth:
        return Verdict({"status": "unmeasured", "reason": "There are no labelled images."})
    labels = np.asarray(truth, np.int64)
    best, five = _right(found, truth)
    metrics = {
        "top1": _share(best),
        "top5": _share(five),
        "per_class": [_one_class(name, best[labels == k], five[labels == k]) for k, name in enumerate(names)],
    }
    return Verdict(metrics, means(top1=best.tolist(), top5=five.tolist()))


def _right(found: Sequence[Ranking], truth: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Of each image, whether its best class is the right one, and whether one of the best five is."""
    best = [bool(len(one.classes)) and one.classes[0] == label for one, label in zip(found, truth, strict=True)]
    five = [label in one.classes[:_TOP] for one, label in zip(found, truth, strict=True)]
    return np.array(best), np.array(five)


def _one_class(name: str, best: np.ndarray, five: np.ndarray) -> dict[str, Any]:
    if not len(best):
        return {"name": name, "top1": None, "top5": None, "instances": 0, "reason": "no labelled images"}
    return {"name": name, "top1": _share(best), "top5": _share(five), "instances": len(best)}


def _share(hits: np.ndarray) -> float:
    return round(float(hits.mean()), _DIGITS)
