"""Agreement in results: each task's own metric against the results of the phase before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mcwbuild.contract.performance import main_metric
from stages.common.evaluate import Settings
from stages.common.task_agreement import NOTHING, TaskAgreement

SETTINGS = Settings(confidence=0.25, iou=0.7, max_detections=300, threads=1)
SIZE = (64, 96)
NAMES = ["a", "b", "c"]
FAR = {"pose": 25.0}  # pixels; of two keypoints OKS forgives much
TASKS = ("object_detection", "segmentation", "pose", "oriented_detection", "classification", "ocr")


def agreement(task: str) -> TaskAgreement:
    return TaskAgreement(
        {"model": {"task": task}, "input": {"size": list(SIZE)}, "classes": {"names": NAMES}}, SETTINGS
    )


def candidates(task: str, seed: int, moved: float = 0.0, scaled: float = 1.0) -> Any:
    """Three objects apart from each other, of three classes; `moved` in pixels, their scores `scaled`."""
    random = np.random.default_rng(seed)
    scores = (random.uniform(0.5, 0.9, 3) * scaled).astype(np.float32)
    classes = random.permutation(3)
    if task in ("classification", "ocr"):
        return (np.roll(classes, round(moved)), scores)
    left = np.array([4, 36, 66]) + random.uniform(0, 3, 3) + moved
    top = random.uniform(5, 20, 3)
    boxes = np.stack([left, top, left + 20, top + 30], axis=1).astype(np.float32)
    if task == "oriented_detection":
        turned = np.stack([left + 10, top + 15, np.full(3, 20), np.full(3, 30), np.full(3, 0.3)], axis=1)
        return turned.astype(np.float32), scores, classes
    if task == "pose":
        points = np.stack([left, top, left + 20, top + 30], axis=1).reshape(3, 2, 2)
        return boxes, scores, classes, np.concatenate([points, np.zeros((3, 2, 1))], axis=2).astype(np.float32)
    if task == "segmentation":
        return boxes, scores, classes, np.ones((3, 1), np.float32), np.ones((1, SIZE[0] // 4, SIZE[1] // 4), np.float32)
    return boxes, scores, classes


@pytest.mark.parametrize("task", TASKS)
def test_the_same_results_agree_wholly_and_others_less(task: str) -> None:
    metric = main_metric(task)
    same, other = agreement(task), agreement(task)
    for seed in range(4):
        same.add(candidates(task, seed), candidates(task, seed))
        other.add(candidates(task, seed), candidates(task, seed, moved=FAR.get(task, 4.0)))
    block = same.block()["agreement"]
    assert block[metric] == 1.0
    assert block["images"] == 4
    assert block["confidence"] == (0.0 if task in ("classification", "ocr") else 0.25)
    assert other.block()["agreement"][metric] < 0.7


def test_what_only_the_other_finds_counts_against_it() -> None:
    judged = agreement("object_detection")
    for seed in range(4):
        boxes, scores, classes = candidates("object_detection", seed)
        worse = (scores == scores.min()).nonzero()[0]
        judged.add((boxes[worse], scores[worse], classes[worse]), (boxes, scores, classes))
    block = judged.block()["agreement"]
    assert 0 < block["map50_95"] < 1
    assert block["precision"] < 1


@pytest.mark.parametrize("task", ["object_detection", "segmentation", "pose", "oriented_detection"])
def test_where_the_reference_finds_nothing_there_is_no_agreement(task: str) -> None:
    judged = agreement(task)
    empty = tuple(part[:0] if len(part) == 3 else part for part in candidates(task, 1))
    judged.add(empty, candidates(task, 1))
    assert judged.block() == {"agreement": None, "agreement_reason": NOTHING}


def test_a_task_without_a_metric_has_none() -> None:
    judged = agreement("generic")
    judged.add(((np.ones(3),), np.zeros(1, int)), ((np.ones(3),), np.zeros(1, int)))
    block = judged.block()
    assert block["agreement"] is None
    assert "no metric" in block["agreement_reason"]
