"""Accuracy of a detector: COCO average precision, and precision, recall and F1 at a confidence.

Average precision is the library's; precision and recall need the matches at one IoU only and are counted here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stages.common.detection import Detections

Floats = NDArray[np.floating[Any]]
Overlap = Callable[[int], Floats]  # of an image's number: how far its n results and m objects are the same, [n, m]
NO_OBJECTS = {"status": "unmeasured", "reason": "The images have no labelled objects."}
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
    classes = [labels for _, labels in truth]
    if not any(map(len, classes)):
        return NO_OBJECTS
    require_finite(found)

    def overlap(image: int) -> Floats:
        return box_iou(found[image].boxes.astype(np.float64), truth[image][0])

    precisions = average_precision(found, truth, len(names))
    return summed_up(classes, precisions, ranked(found, classes, overlap, len(names)), names, confidence)


def box_summary(precisions: Floats) -> dict[str, Any]:
    """`boxes` of the metrics of tasks that find more than boxes, from the average precisions [10, classes]."""
    present = precisions[0] >= 0
    return {"map50_95": _rounded(precisions[:, present].mean()), "map50": _rounded(precisions[0, present].mean())}


def require_finite(found: Sequence[Any]) -> None:
    """Raise ValueError where a score or a box is not finite."""
    if not all(np.isfinite(one.scores).all() and np.isfinite(one.boxes).all() for one in found):
        raise ValueError("a detection's score or box is not finite")


def summed_up(
    classes: Sequence[NDArray[np.int64]],
    precisions: Floats,
    ranked: Sequence[tuple[Floats, Floats]],
    names: Sequence[str],
    confidence: float,
) -> dict[str, Any]:
    """`accuracy_metrics` from the average precisions [10, classes], what `ranked` gives, and the objects' classes."""
    instances = np.bincount(np.concatenate(classes), minlength=len(names))
    present = np.flatnonzero(instances)
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
    """COCO AP [10, num_classes] at IoU 0.50, 0.55 ... 0.95; -1 for a class without objects."""
    results = [row for number, one in enumerate(found, 1) for row in _rows(number, one.boxes, one.classes, one.scores)]
    objects = [row for number, (boxes, classes) in enumerate(truth, 1) for row in _rows(number, boxes, classes)]
    images = [{"id": number} for number in range(1, len(truth) + 1)]
    return coco_precision(images, objects, results, num_classes, "bbox")


def coco_precision(
    images: Sequence[Mapping[str, Any]],
    objects: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    num_classes: int,
    kind: Literal["bbox", "segm", "keypoints"],
    sigmas: Floats | None = None,
) -> Floats:
    """COCO AP [10, num_classes] of annotations in COCO's form; -1 for a class without objects.

    101-point interpolation, all sizes, every result that is given (no limit of 100 per image). `sigmas` are those of
    keypoints.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    counts = np.bincount([one["category_id"] for one in objects], minlength=num_classes)
    if not results or not counts.any():
        return np.where(np.tile(counts, (10, 1)) > 0, 0.0, -1.0)  # the library wants at least one of each
    judge = COCOeval_faster(*(_indexed(COCO(), rows, images, num_classes) for rows in (objects, results)), kind)
    judge.params.maxDets = [int(np.bincount([one["image_id"] for one in results]).max())]
    judge.params.catIds = list(range(num_classes))  # of keypoints it would take those with objects only
    judge.params.areaRng, judge.params.areaRngLbl = [[0.0, math.inf]], ["all"]
    if sigmas is not None:
        judge.params.kpt_oks_sigmas = sigmas
    judge.evaluate()
    judge.accumulate()
    precision: Floats = judge.eval["precision"][:, :, :, 0, 0]  # [IoU, recall, class]
    average: Floats = precision.mean(axis=1)
    return average


def _indexed(
    library: Any, rows: Sequence[Mapping[str, Any]], images: Sequence[Mapping[str, Any]], num_classes: int
) -> Any:
    """The library's empty `COCO`, filled with one side's annotations; its own `loadRes` would copy each of them."""
    library.dataset = {
        "images": list(images),
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


def matched(overlap: Floats, iou: float) -> NDArray[np.bool_]:
    """Which of n results, best first, hit one of m objects that no better one had hit.

    `overlap` [n, m] says how far they are the same, below 0 where they are of two classes. COCO's rule: each result
    takes the object that it overlaps most among those that are free, from `iou` upwards.
    """
    hits = np.zeros(len(overlap), np.bool_)
    free = overlap.copy()
    for index in np.flatnonzero((overlap >= iou).any(axis=1)):
        target = free[index].argmax()
        if free[index, target] >= iou:
            hits[index] = True
            free[:, target] = -1.0
    return hits


def box_iou(boxes: Floats, truth: Floats) -> Floats:
    """[n, m] intersection over union of boxes x1 y1 x2 y2 [n, 4] and [m, 4]; 0 where both are empty."""
    low, high = np.maximum(boxes[:, None, :2], truth[None, :, :2]), np.minimum(boxes[:, None, 2:], truth[None, :, 2:])
    sides = np.maximum(high - low, 0)
    shared = sides[:, :, 0] * sides[:, :, 1]
    areas = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (boxes, truth)]
    union = areas[0][:, None] + areas[1] - shared
    found: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found


def ranked(
    found: Sequence[Any],
    classes: Sequence[NDArray[np.int64]],
    overlap: Overlap,
    num_classes: int,
    iou: float = MATCH_IOU,
) -> list[tuple[Floats, Floats]]:
    """For each class the scores, ascending: of all its results, and of those that hit; `classes` are the objects'."""
    rows = [np.zeros((0, 3))]
    for image, (one, objects) in enumerate(zip(found, classes, strict=True)):
        hits = matched(np.where(one.classes[:, None] == objects, overlap(image), -1.0), iou)
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
