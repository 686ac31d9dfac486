"""Average precision by two libraries: what the evaluator's own counting is held against."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from faster_coco_eval import COCO as FasterCoco
from faster_coco_eval import COCOeval_faster
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from stages.common.detection import Detections

Truth = tuple[np.ndarray, np.ndarray]
Rows = Sequence[Mapping[str, Any]]


def faster(
    images: int,
    objects: Rows,
    results: Rows,
    num_classes: int,
    kind: Literal["bbox", "segm", "keypoints"],
    sigmas: np.ndarray | None = None,
    **size: int,
) -> np.ndarray:
    """faster-coco-eval's AP [10, num_classes] of annotations in COCO's form, images 1, 2, ...; -1 without objects.

    101 recalls, all sizes, every result.
    """
    judge = COCOeval_faster(*(_indexed(rows, images, num_classes, size) for rows in (objects, results)), kind)
    judge.params.maxDets = [int(np.bincount([one["image_id"] for one in results]).max())]
    judge.params.catIds = list(range(num_classes))
    judge.params.areaRng, judge.params.areaRngLbl = [[0.0, math.inf]], ["all"]
    if sigmas is not None:
        judge.params.kpt_oks_sigmas = sigmas
    judge.evaluate()
    judge.accumulate()
    average: np.ndarray = judge.eval["precision"][:, :, :, 0, 0].mean(axis=1)
    return average


def _indexed(rows: Rows, images: int, num_classes: int, size: Mapping[str, int]) -> FasterCoco:
    library = FasterCoco()
    library.dataset = {
        "images": [{"id": number, **size} for number in range(1, images + 1)],
        "categories": [{"id": k} for k in range(num_classes)],
        "annotations": [{**row, "id": number, "iscrowd": 0} for number, row in enumerate(rows, 1)],
    }
    library.createIndex()
    return library


def box_rows(image: int, boxes: np.ndarray, classes: np.ndarray, scores: np.ndarray | None = None) -> list[dict]:
    """One image's boxes x1 y1 x2 y2 as COCO annotations."""
    sides = np.asarray(boxes, np.float64).copy()
    sides[:, 2:] -= sides[:, :2]
    rows: list[dict] = [
        {"image_id": image, "category_id": int(label), "bbox": box, "area": box[2] * box[3]}
        for box, label in zip(sides.tolist(), classes, strict=True)
    ]
    if scores is not None:
        for row, score in zip(rows, scores.tolist(), strict=True):
            row["score"] = score
    return rows


def faster_boxes(found: list[Detections], truth: list[Truth], num_classes: int) -> np.ndarray:
    """faster-coco-eval's AP of boxes [10, num_classes]."""
    results = [row for n, one in enumerate(found, 1) for row in box_rows(n, one.boxes, one.classes, one.scores)]
    objects = [row for n, (boxes, classes) in enumerate(truth, 1) for row in box_rows(n, boxes, classes)]
    return faster(len(truth), objects, results, num_classes, "bbox")


def oracle(found: list[Detections], truth: list[Truth], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """pycocotools' AP [10, classes] and its recall at IoU 0.5 [classes]; -1 without objects."""

    def rows(i: int, boxes: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
        made = []
        for box, label in zip(boxes.astype(np.float64), labels, strict=True):
            w, h = box[2:] - box[:2]
            made.append(
                {"image_id": i, "category_id": int(label), "bbox": [*box[:2], w, h], "area": w * h, "iscrowd": 0}
            )
        return made

    coco = COCO()
    annotations = [row for i, (boxes, labels) in enumerate(truth) for row in rows(i, boxes, labels)]
    for number, row in enumerate(annotations, 1):
        row["id"] = number
    coco.dataset = {
        "images": [{"id": i} for i in range(len(truth))],
        "categories": [{"id": k} for k in range(classes)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        results = []
        for i, one in enumerate(found):
            for row, score in zip(rows(i, one.boxes, one.classes), one.scores, strict=True):
                results.append({**row, "score": float(score)})
        judge = COCOeval(coco, coco.loadRes(results), "bbox")
        judge.params.maxDets = [1000]
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.evaluate()
        judge.accumulate()
    return judge.eval["precision"][:, :, :, 0, 0].mean(axis=1), judge.eval["recall"][0, :, 0, 0]
