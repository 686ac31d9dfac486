"""Accuracy of a detector: COCO average precision, and precision, recall and F1 at a confidence.

Average precision is the library's; precision and recall need the matches at one IoU only and are counted here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stages.common.detection import Detections

Floats = NDArray[np.floating[Any]]
MATCH_IOU = 0.5  # for precision, recall and F1
_GRID = np.arange(1000) / 1000  # confidences that are tried for the best F1, Ultralytics' spacing
_DIGITS = 6


def measure(
    found: Sequence[Detections],
    truth: Sequence[tuple[Floats, NDArray[np.int64]]],
    names: Sequence[str],
    confidence: float,
) -> dict[str, Any]:
    """The `accuracy_metrics` of a performance record, from each image's detections and its (boxes [n, 4], classes [n]).

    Boxes are x1 y1 x2 y2 in the image's own pixels. A class without objects has null figures and counts in no
    mean; without any object the record is `unmeasured`. `precision`, `recall` and `f1` are means over the classes
    at the one confidence where the mean F1 is best; a class of which nothing is detected there counts as 0.
    Raises ValueError where a score or a box is not finite: AP would be meaningless, and comes out as 1.
    """
    instances = np.bincount(np.concatenate([c for _, c in truth] + [np.zeros(0, np.int64)]), minlength=len(names))
    if not instances.any():
        return {"status": "unmeasured", "reason": "The images have no labelled objects."}
    if not all(np.isfinite(d.scores).all() and np.isfinite(d.boxes).all() for d in found):
        raise ValueError("a detection's score or box is not finite")
    present = np.flatnonzero(instances)
    precisions = average_precision(found, truth, len(names))
    ranked = _ranked(found, truth, len(names))
    grid = _ratios(ranked, instances, _GRID)
    best = int(grid[:, present, :][2].mean(axis=0).argmax())
    deployed = _ratios(ranked, instances, np.array([confidence]))
    return {
        "map50_95": _rounded(precisions[:, present].mean()),
        "map50": _rounded(precisions[0, present].mean()),
        **_figures(grid[:, present, best].mean(axis=1)),
        "best_confidence": float(_GRID[best]),
        "at_confidence": {"confidence": confidence, **_figures(deployed[:, present, 0].mean(axis=1))},
        "per_class": [
            _one_class(name, int(instances[k]), precisions[:, k], grid[:, k, best]) for k, name in enumerate(names)
        ],
    }


def average_precision(
    found: Sequence[Detections], truth: Sequence[tuple[Floats, NDArray[np.int64]]], num_classes: int
) -> Floats:
    """COCO AP [10, num_classes] at IoU 0.50, 0.55 ... 0.95; -1 for a class without objects.

    101-point interpolation, all box sizes, every detection that is given (no limit of 100 per image).
    """
    from faster_coco_eval import COCO, COCOeval_faster

    thresholds = 10
    objects = np.bincount(np.concatenate([c for _, c in truth] + [np.zeros(0, np.int64)]), minlength=num_classes)
    nothing = np.where(np.tile(objects, (thresholds, 1)) > 0, 0.0, -1.0)
    results = [row for number, one in enumerate(found, 1) for row in _rows(number, one.boxes, one.classes, one.scores)]
    if not results or not objects.any():
        return nothing  # the library wants at least one of each
    wanted = [row for number, (boxes, classes) in enumerate(truth, 1) for row in _rows(number, boxes, classes)]
    sides = (_indexed(COCO(), rows, len(truth), num_classes) for rows in (wanted, results))
    judge = COCOeval_faster(*sides, "bbox")
    judge.params.maxDets = [max(len(one.scores) for one in found)]
    judge.params.areaRng, judge.params.areaRngLbl = [[0.0, math.inf]], ["all"]
    judge.evaluate()
    judge.accumulate()
    precision: Floats = judge.eval["precision"][:, :, :, 0, 0]  # [IoU, recall, class]
    average: Floats = precision.mean(axis=1)
    return average


def _indexed(library: Any, rows: list[dict[str, Any]], images: int, num_classes: int) -> Any:
    """The library's empty `COCO`, filled with one side's annotations; its own `loadRes` would copy each of them."""
    library.dataset = {
        "images": [{"id": number} for number in range(1, images + 1)],
        "categories": [{"id": k} for k in range(num_classes)],
        "annotations": [{**row, "id": number, "iscrowd": 0} for number, row in enumerate(rows, 1)],
    }
    library.createIndex()
    return library


def _rows(image: int, boxes: Floats, classes: NDArray[np.int64], scores: Floats | None = None) -> list[dict[str, Any]]:
    """One image's boxes as COCO annotations."""
    sides = np.asarray(boxes, np.float64).copy()
    sides[:, 2:] -= sides[:, :2]
    rows: list[dict[str, Any]] = [
        {"image_id": image, "category_id": label, "bbox": box, "area": box[2] * box[3]}
        for box, label in zip(sides.tolist(), classes.tolist(), strict=True)
    ]
    if scores is not None:
        for row, score in zip(rows, scores.tolist(), strict=True):
            row["score"] = score
    return rows


def matched(
    boxes: Floats, truth: Floats, iou: float, alike: NDArray[np.bool_] | Literal[True] = True
) -> NDArray[np.bool_]:
    """Which of the boxes [n, 4], best first, hit an object [m, 4] of their class that no better one had hit.

    COCO's rule: each box takes the object that it overlaps most among those that are free, from `iou` upwards.
    `alike` [n, m] tells which are of one class.
    """
    hits = np.zeros(len(boxes), np.bool_)
    low, high = np.maximum(boxes[:, None, :2], truth[None, :, :2]), np.minimum(boxes[:, None, 2:], truth[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    areas = [(b[:, 2:] - b[:, :2]).prod(axis=1) for b in (boxes, truth)]
    union = areas[0][:, None] + areas[1] - shared
    overlap = np.where(alike, np.divide(shared, union, out=np.zeros_like(shared), where=union > 0), -1.0)
    for index in np.flatnonzero((overlap >= iou).any(axis=1)):
        target = overlap[index].argmax()
        if overlap[index, target] >= iou:
            hits[index] = True
            overlap[:, target] = -1.0
    return hits


def _ranked(
    found: Sequence[Detections], truth: Sequence[tuple[Floats, NDArray[np.int64]]], num_classes: int
) -> list[tuple[Floats, Floats]]:
    """For each class the scores, ascending: of all its detections, and of those that hit."""
    rows = [np.zeros((0, 3))]
    for one, (boxes, classes) in zip(found, truth, strict=True):
        hits = matched(one.boxes.astype(np.float64), boxes, MATCH_IOU, one.classes[:, None] == classes)
        rows.append(np.column_stack([one.classes, one.scores, hits]).astype(np.float64))
    table = np.concatenate(rows)
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    parts = np.split(table, np.searchsorted(table[:, 0], np.arange(1, num_classes)))
    return [(part[:, 1], part[part[:, 2] > 0, 1]) for part in parts]


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
