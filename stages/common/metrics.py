"""Accuracy of a detector: COCO average precision, and precision, recall and F1 at a confidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.common.detection import Detections
from stages.common.matching import Overlap, match
from stages.common.per_image import Floats, Verdict

NO_OBJECTS = Verdict({"status": "unmeasured", "reason": "The images have no labelled objects."})
_GRID = np.arange(1000) / 1000  # confidences that are tried for the best F1, Ultralytics' spacing
_DIGITS = 6


def judge_boxes(
    found: Sequence[Detections],
    truth: Sequence[tuple[Floats, NDArray[np.int64]]],
    names: Sequence[str],
    confidence: float,
) -> Verdict:
    """The verdict on each image's detections by its (boxes [n, 4], classes [n]).

    Boxes are x1 y1 x2 y2 in the image's own pixels.
    """
    return judge(found, [classes for _, classes in truth], _box_overlap(found, truth), names, confidence)


def judge(
    found: Sequence[Any],
    objects: Sequence[NDArray[np.int64]],
    overlap: Overlap,
    names: Sequence[str],
    confidence: float,
) -> Verdict:
    """The verdict on results with `boxes`, `scores` and `classes`, best first, by any measure of overlap.

    `objects` are the objects' classes, image by image. A class without objects has null figures and counts in no
    mean; without any object the record is `unmeasured`. `precision`, `recall` and `f1` are means over the classes
    at the one confidence where the mean F1 is best; a class of which nothing is detected there counts as 0.
    Raises ValueError where a score or a box is not finite: AP would be meaningless, and comes out as 1.
    """
    if not any(map(len, objects)):
        return NO_OBJECTS
    if not all(np.isfinite(one.scores).all() and np.isfinite(one.boxes).all() for one in found):
        raise ValueError("a detection's score or box is not finite")
    table = match(found, objects, overlap, len(names))
    matches, instances = table.matches(), table.instances
    precisions, present = matches.average_precision(), np.flatnonzero(instances)
    ranked = table.ranked()
    grid = _ratios(ranked, instances, _GRID)
    best = int(grid[:, present, :][2].mean(axis=0).argmax())
    deployed = _ratios(ranked, instances, np.array([confidence]))
    metrics = {
        **_means(precisions),
        **_figures(grid[:, present, best].mean(axis=1)),
        "best_confidence": float(_GRID[best]),
        "at_confidence": {"confidence": confidence, **_figures(deployed[:, present, 0].mean(axis=1))},
        "per_class": [
            _one_class(name, int(instances[k]), precisions[:, k], grid[:, k, best]) for k, name in enumerate(names)
        ],
    }
    return Verdict(metrics, matches)


def box_summary(
    found: Sequence[Any], truth: Sequence[tuple[Floats, NDArray[np.int64]]], num_classes: int
) -> dict[str, float]:
    """`boxes` of the metrics of tasks that find more than boxes: the average precision of these alone."""
    table = match(found, [classes for _, classes in truth], _box_overlap(found, truth), num_classes)
    return _means(table.matches().average_precision())


def _box_overlap(found: Sequence[Any], truth: Sequence[tuple[Floats, NDArray[np.int64]]]) -> Overlap:
    return lambda image: box_iou(found[image].boxes.astype(np.float64), truth[image][0])


def box_iou(boxes: Floats, truth: Floats) -> Floats:
    """[n, m] intersection over union of boxes x1 y1 x2 y2 [n, 4] and [m, 4]; 0 where both are empty."""
    low, high = np.maximum(boxes[:, None, :2], truth[None, :, :2]), np.minimum(boxes[:, None, 2:], truth[None, :, 2:])
    sides = np.maximum(high - low, 0)
    shared = sides[:, :, 0] * sides[:, :, 1]
    areas = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (boxes, truth)]
    union = areas[0][:, None] + areas[1] - shared
    found: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found


def _means(precisions: Floats) -> dict[str, float]:
    """The means of average precisions [10, classes] over the classes that have objects."""
    present = precisions[0] >= 0
    return {"map50_95": _rounded(precisions[:, present].mean()), "map50": _rounded(precisions[0, present].mean())}


def _ratios(ranked: Sequence[tuple[Floats, Floats]], instances: NDArray[np.int64], at: Floats) -> Floats:
    """Precision, recall and F1 [3, classes, len(at)] of what scores above each confidence; 0 where undefined."""
    above = np.array([[len(part) - np.searchsorted(part, at, side="right") for part in pair] for pair in ranked], float)
    detections, hits = above[:, 0], above[:, 1]
    objects = np.broadcast_to(instances[:, None].astype(float), hits.shape)
    zero = np.zeros_like(hits)
    return np.stack(
        [
            np.divide(hits, detections, out=zero.copy(), where=detections > 0),
            np.divide(hits, objects, out=zero.copy(), where=objects > 0),
            np.divide(2 * hits, detections + objects, out=zero.copy(), where=detections + objects > 0),
        ]
    )


def _one_class(name: str, instances: int, precisions: Floats, figures: Floats) -> dict[str, Any]:
    if not instances:
        nothing = dict.fromkeys(("map50_95", "map50", "precision", "recall", "f1"))
        return {"name": name, **nothing, "instances": 0, "reason": "no labelled objects"}
    average = {"map50_95": _rounded(precisions.mean()), "map50": _rounded(precisions[0])}
    return {"name": name, **average, **_figures(figures), "instances": instances}


def _figures(values: Floats) -> dict[str, float]:
    return {key: _rounded(value) for key, value in zip(("precision", "recall", "f1"), values, strict=True)}


def _rounded(value: Any) -> float:
    return round(float(value), _DIGITS)
