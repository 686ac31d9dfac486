"""Non-maximum suppression, against an independent one written for clearness."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.detection import Detections, finish, nms, suppression
from stages.common.images import Placement

BOX = st.tuples(*[st.integers(0, 24)] * 2, *[st.integers(0, 16)] * 2)
CANDIDATES = st.lists(st.tuples(BOX, st.integers(0, 20), st.integers(0, 2)), max_size=30)
WHOLE = Placement(1.0, 1.0, 0, 0, 64, 64)


def arrays(candidates: list) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    boxes = np.array([[x, y, x + w, y + h] for (x, y, w, h), _, _ in candidates], np.float32).reshape(-1, 4)
    scores = np.array([score / 20 for _, score, _ in candidates], np.float32)
    return boxes, scores, np.array([label for _, _, label in candidates], np.int64)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(float(width), 0.0) * max(float(height), 0.0)
    union = float((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])) - shared
    return shared / union if union else 0.0


def brute_force(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou: float, limit: int) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        rivals = (other for other in kept if classes[other] == classes[index])
        if all(overlap(boxes[other], boxes[index]) <= iou for other in rivals):
            kept.append(index)
    return kept[:limit]


@given(CANDIDATES, st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]), st.sampled_from([1, 3, 300]))
@settings(max_examples=400, deadline=None)
def test_it_keeps_what_the_definition_keeps(candidates: list, iou: float, limit: int) -> None:
    boxes, scores, classes = arrays(candidates)
    # Away from ties of the threshold itself, where the last bit of a division decides.
    pairs = [overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    if any(abs(value - iou) < 1e-6 and 0 < iou < 1 for value in pairs):
        return
    assert nms(boxes, scores, classes, iou, limit).tolist() == brute_force(boxes, scores, classes, iou, limit)


@given(CANDIDATES, st.integers(0, 19))
@settings(deadline=None)
def test_a_higher_threshold_gives_the_same_as_filtering_afterwards(candidates: list, threshold: int) -> None:
    boxes, scores, classes = arrays(candidates)
    every = finish((boxes, scores, classes), WHOLE, (64, 64), 0.5, 300)
    above = scores > threshold / 20
    deployed = finish((boxes[above], scores[above], classes[above]), WHOLE, (64, 64), 0.5, 300)
    filtered = every.above(threshold / 20)
    assert np.array_equal(filtered.boxes, deployed.boxes)
    assert np.array_equal(filtered.scores, deployed.scores)
    assert np.array_equal(filtered.classes, deployed.classes)


def test_the_best_scores_stay_where_there_are_too_many() -> None:
    count = 50
    boxes = np.array([[20 * i, 0, 20 * i + 10, 10] for i in range(count)], np.float32)
    scores = np.random.default_rng(1).permutation(count).astype(np.float32) / count
    found = finish((boxes, scores, np.zeros(count, np.int64)), Placement(1, 1, 0, 0, 1000, 64), (64, 1000), 0.7, 10)
    assert found.scores.tolist() == sorted(scores.tolist(), reverse=True)[:10]


def test_the_same_box_may_be_of_two_classes() -> None:
    boxes = np.tile(np.array([[0, 0, 10, 10]], np.float32), (3, 1))
    kept = nms(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.array([0, 999, 0]), 0.5, 300)
    assert kept.tolist() == [0, 1]


def test_nothing_comes_of_nothing() -> None:
    nothing = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    assert finish(nothing, WHOLE, (64, 64), 0.5, 300).boxes.shape == (0, 4)


def test_above_is_strict() -> None:
    found = Detections(np.zeros((2, 4), np.float32), np.array([0.5, 0.25], np.float32), np.zeros(2, np.int64))
    assert found.above(0.25).scores.tolist() == [0.5]


def test_without_suppression_the_best_scores_stay_although_they_overlap() -> None:
    boxes = np.tile(np.array([[8, 8, 24, 24]], np.float32), (5, 1))
    scores = np.array([0.2, 0.9, 0.5, 0.7, 0.9], np.float32)
    classes = np.array([0, 0, 0, 1, 2], np.int64)
    assert finish((boxes, scores, classes), WHOLE, (64, 64), 0.7, 300).classes.tolist() == [0, 2, 1]
    found = finish((boxes, scores, classes), WHOLE, (64, 64), None, 4)
    assert found.scores.tolist() == pytest.approx([0.9, 0.9, 0.7, 0.5])
    assert found.classes.tolist() == [0, 2, 1, 0]
    assert found.boxes.tolist() == [[8, 8, 24, 24]] * 4


@pytest.mark.parametrize(("head", "expected"), [({}, 0.6), ({"nms": True}, 0.6), ({"nms": False}, None)])
def test_only_a_one_to_one_head_is_not_suppressed(head: dict, expected: float | None) -> None:
    assert suppression(head, 0.6) == expected
