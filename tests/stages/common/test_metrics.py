"""Accuracy, against pycocotools and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stages.common import metrics
from stages.common.detection import Detections
from stages.common.matching import hits_of
from tests.support.coco import Truth, faster_boxes, oracle

NAMES = ["a", "b", "c", "d"]


def measure(found: list[Detections], truth: list[Truth], names: list[str], confidence: float) -> dict[str, Any]:
    return metrics.judge_boxes(found, truth, names, confidence).metrics


def average_precision(found: list[Detections], truth: list[Truth]) -> np.ndarray:
    kept = metrics.judge_boxes(found, truth, NAMES, 0.25).per_image
    return kept.average_precision()


def random_boxes(random: np.random.Generator, count: int) -> np.ndarray:
    corner = random.uniform(0, 200, (count, 2))
    return np.concatenate([corner, corner + random.uniform(4, 90, (count, 2))], axis=1)


def scene(seed: int, images: int = 12, classes: int = 3, ties: bool = False) -> tuple[list[Detections], list[Truth]]:
    """Objects, and detections that are near them, missing, doubled or invented."""
    random = np.random.default_rng(seed)
    found, truth = [], []
    for _ in range(images):
        count = int(random.integers(0, 7))
        boxes, labels = random_boxes(random, count), random.integers(0, classes, count)
        again = random.random(count) < 0.8
        shifted = boxes[again] + random.normal(0, 4, (int(again.sum()), 4))
        wrong = random_boxes(random, int(random.integers(0, 5)))
        corners = np.concatenate([shifted, shifted + random.normal(0, 2, shifted.shape), wrong])
        corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2] + 1)
        named = np.concatenate([labels[again], labels[again], random.integers(0, classes, len(wrong))])
        scores = random.random(len(corners))
        scores = np.round(scores, 1) if ties else scores
        order = np.argsort(-scores, kind="stable")
        found.append(Detections(corners[order].astype(np.float32), scores[order].astype(np.float32), named[order]))
        truth.append((boxes, labels))
    return found, truth


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_is_pycocotools_own(seed: int, ties: bool) -> None:
    found, truth = scene(seed, ties=ties)
    mine = average_precision(found, truth)
    assert np.abs(mine - oracle(found, truth, 4)[0]).max() < 1e-9
    assert np.abs(mine - faster_boxes(found, truth, 4)).max() < 1e-9


@pytest.mark.parametrize("seed", range(6))
def test_the_means_and_the_recall_fit_pycocotools(seed: int) -> None:
    found, truth = scene(seed)
    average, recall = oracle(found, truth, 4)
    record = measure(found, truth, NAMES, 0.0)
    present = average[0] >= 0
    assert record["map50_95"] == pytest.approx(average[:, present].mean(), abs=1e-6)
    assert record["map50"] == pytest.approx(average[0, present].mean(), abs=1e-6)
    assert record["at_confidence"]["recall"] == pytest.approx(recall[present].mean(), abs=1e-6)


def test_perfect_detections_have_one_everywhere() -> None:
    _, truth = scene(1)
    found = [Detections(b.astype(np.float32), np.full(len(b), 0.9, np.float32), k) for b, k in truth]
    record = measure(found, truth, NAMES[:3], 0.25)
    assert [record[key] for key in ("map50_95", "map50", "precision", "recall", "f1")] == [1.0] * 5
    assert record["at_confidence"] == {"confidence": 0.25, "precision": 1.0, "recall": 1.0, "f1": 1.0}


def test_no_detections_are_zero_and_no_objects_are_unmeasured() -> None:
    _, truth = scene(2)
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    record = measure([nothing] * len(truth), truth, NAMES, 0.25)
    assert [record[key] for key in ("map50_95", "map50", "precision", "recall", "f1")] == [0.0] * 5
    empty = (np.zeros((0, 4)), np.zeros(0, np.int64))
    found, _ = scene(3, images=2)
    assert measure(found, [empty] * 2, NAMES, 0.25)["status"] == "unmeasured"


def test_a_class_without_objects_has_nulls_and_counts_in_no_mean() -> None:
    found, truth = scene(4)
    three = measure(found, truth, NAMES[:3], 0.25)
    four = measure(found, truth, NAMES, 0.25)
    assert four["map50_95"] == three["map50_95"]
    assert four["f1"] == three["f1"]
    assert four["per_class"][3] == {
        **dict.fromkeys(("map50_95", "map50", "precision", "recall", "f1")),
        "name": "d",
        "instances": 0,
        "reason": "no labelled objects",
    }


def test_scores_that_are_not_numbers_are_refused() -> None:
    truth = [(np.array([[0.0, 0, 10, 10]]), np.array([0]))]
    found = [Detections(np.array([[0, 0, 10, 10]], np.float32), np.array([np.nan], np.float32), np.array([0]))]
    with pytest.raises(ValueError, match="not finite"):
        measure(found, truth, NAMES, 0.25)


def test_precision_recall_and_f1_by_hand() -> None:
    square = np.array([[0.0, 0, 10, 10]])
    far = square + 100
    # Class a: 2 objects; found at 0.9 (right), 0.6 (wrong), 0.3 (right). Class b: 1 object, found at 0.8.
    truth = [(np.concatenate([square, far, far + 50]), np.array([0, 0, 1]))]
    boxes = np.concatenate([square, far + 50, square + 300, far]).astype(np.float32)
    found = [Detections(boxes, np.array([0.9, 0.8, 0.6, 0.3], np.float32), np.array([0, 1, 0, 0]))]
    record = measure(found, truth, NAMES[:2], 0.5)
    assert record["at_confidence"] == {"confidence": 0.5, "precision": 0.75, "recall": 0.75, "f1": 0.75}
    # Below 0.3 class a has precision 2/3, recall 1, F1 0.8: the best mean F1 is 0.9.
    assert record["f1"] == pytest.approx(0.9)
    assert record["precision"] == pytest.approx((2 / 3 + 1) / 2, abs=1e-6)
    assert record["best_confidence"] < 0.3
    assert [row["instances"] for row in record["per_class"]] == [2, 1]


def test_the_best_confidence_gives_the_best_figures_when_deployed() -> None:
    found, truth = scene(5)
    best = measure(found, truth, NAMES, 0.25)
    deployed = measure(found, truth, NAMES, best["best_confidence"])["at_confidence"]
    assert {key: best[key] for key in ("precision", "recall", "f1")} == {
        key: deployed[key] for key in ("precision", "recall", "f1")
    }
    for other in (0.1, 0.3, 0.5, 0.7):
        assert measure(found, truth, NAMES, other)["at_confidence"]["f1"] <= best["f1"]


def test_an_object_is_hit_once_by_the_better_box() -> None:
    truth = np.array([[0.0, 0, 10, 10]])
    boxes = np.array([[0.0, 0, 10, 9], [0, 0, 10, 10], [0, 0, 5, 5]])
    bits = hits_of(metrics.box_iou(boxes, truth))
    assert (bits & 1).tolist() == [1, 0, 0]
    # The better one has an IoU of 0.9, the perfect one 1: it is hit at 0.95 alone, where the first one hits nothing.
    assert bits.tolist() == [2**9 - 1, 2**9, 0]
    assert hits_of(metrics.box_iou(boxes, np.zeros((0, 4)))).tolist() == [0] * 3
