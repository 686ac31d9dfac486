"""Average precision where it is easily got wrong: the stated answers, and pycocotools' own wherever it has one."""

from __future__ import annotations

import numpy as np
import pytest

from stages.common import metrics
from stages.common.detection import Detections
from tests.support.coco import Truth, oracle
from tests.support.scenes import box_matches

CLASSES = 3
NAMES = ["a", "b", "c"]
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
NO_OBJECTS: Truth = (np.zeros((0, 4)), np.zeros(0, np.int64))
FIGURES = ("map50_95", "map50", "precision", "recall", "f1")


def crowd(seed: int, objects: int, doubled: int) -> tuple[Detections, Truth]:
    """Objects of two classes that all overlap each other, each found `doubled` times; many scores are the same."""
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 30, (objects, 2))
    boxes = np.concatenate([corner, corner + random.uniform(40, 60, (objects, 2))], axis=1)
    labels = random.integers(0, 2, objects)
    found = np.concatenate([boxes + random.normal(0, 3, boxes.shape) for _ in range(doubled)])
    scores = np.round(random.random(len(found)), 1)
    order = np.argsort(-scores, kind="stable")
    named = np.concatenate([labels] * doubled)
    return Detections(found[order].astype(np.float32), scores[order].astype(np.float32), named[order]), (boxes, labels)


def agree(found: list[Detections], truth: list[Truth]) -> float:
    """The mean AP, after it was found to be pycocotools' for each threshold and class."""
    mine = box_matches(found, truth, CLASSES).average_precision()
    theirs, _ = oracle(found, truth, CLASSES)
    assert np.abs(mine - theirs).max() < 1e-9
    return float(mine[:, mine[0] >= 0].mean())


@pytest.mark.parametrize("seed", range(6))
def test_a_crowd_is_matched_as_pycocotools_matches_it(seed: int) -> None:
    pairs = [crowd(10 * seed + image, 60, 4) for image in range(3)]  # 240 results an image, of 60 objects
    assert 0 < agree([found for found, _ in pairs], [truth for _, truth in pairs]) < 1


def test_images_without_objects_and_images_without_results_count() -> None:
    (found, objects), (other, _) = crowd(1, 20, 2), crowd(2, 20, 2)
    with_both = agree([found], [objects])
    assert agree([found, NOTHING], [objects, objects]) < with_both
    assert agree([found, other], [objects, NO_OBJECTS]) < with_both


def test_one_object_and_one_result() -> None:
    box = np.array([[10.0, 10, 50, 50]])
    for shift, expected in ((0.0, 1.0), (100.0, 0.0)):
        found = Detections((box + shift).astype(np.float32), np.array([0.5], np.float32), np.array([1]))
        assert agree([found], [(box, np.array([1]))]) == pytest.approx(expected, abs=1e-9)


def test_results_of_a_class_without_objects_hit_nothing_and_count_nowhere() -> None:
    found, (boxes, labels) = crowd(3, 20, 2)
    more = Detections(found.boxes, found.scores, np.where(np.arange(len(found.scores)) % 5 == 0, 2, found.classes))
    record = metrics.judge_boxes([more], [(boxes, labels)], NAMES, 0.25).metrics
    assert record["per_class"][2]["map50_95"] is None
    assert record["map50_95"] == pytest.approx(agree([more], [(boxes, labels)]), abs=1e-6)


def test_boxes_without_an_area_hit_nothing() -> None:
    point = np.array([[20.0, 20, 20, 20]])
    found = Detections(point.astype(np.float32), np.array([0.9], np.float32), np.array([0]))
    assert agree([found], [(np.array([[10.0, 10, 50, 50]]), np.array([0]))]) == 0


def test_nothing_found_is_zero_where_pycocotools_fails() -> None:
    """It raises an IndexError for no results at all."""
    _, truth = crowd(4, 20, 1)
    record = metrics.judge_boxes([NOTHING], [truth], NAMES, 0.25).metrics
    assert [record[name] for name in FIGURES] == [0.0] * len(FIGURES)


def test_no_objects_at_all_are_unmeasured_with_the_reason() -> None:
    found, _ = crowd(5, 20, 1)
    record = metrics.judge_boxes([found], [NO_OBJECTS], NAMES, 0.25).metrics
    assert record["status"] == "unmeasured"
    assert record["reason"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_refused_where_pycocotools_gives_one(value: float) -> None:
    """It takes a NaN for the best score of all, and gives an AP of 1."""
    found, truth = crowd(6, 20, 1)
    broken = Detections(
        found.boxes, np.where(np.arange(20) == 3, value, found.scores).astype(np.float32), found.classes
    )
    with pytest.raises(ValueError, match="not finite"):
        metrics.judge_boxes([broken], [truth], NAMES, 0.25)
