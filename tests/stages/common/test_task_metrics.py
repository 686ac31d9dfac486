"""Accuracy of masks, poses and turned boxes: each against another implementation of the same figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mcwbuild.contract.errors import InputError
from stages.common import metrics
from stages.common.detection import Detections
from stages.common.ground_truth import Form, Labels, read_labels
from stages.common.labels import labels_of
from stages.common.mask_metrics import Encoded, encoded, judge_masks, outlines
from stages.common.pose_metrics import AREA_OF_BOX, Skeletons, judge_poses, sigmas_of, skeletons
from stages.common.poses import Poses
from stages.common.segmentation import Segments
from stages.common.turned import TurnedBoxes, probabilistic_iou
from stages.common.turned_metrics import judge_turned, turned_objects
from tests.support.coco import box_rows, faster, faster_boxes

RANDOM = np.random.default_rng(2)
NAMES = ["a", "b", "c"]
SHAPE = (60, 80)


def scene(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and classes of an image's objects."""
    places, sides = RANDOM.uniform(0, 40, (count, 2)), RANDOM.uniform(6, 20, (count, 2))
    return np.concatenate([places, places + sides], axis=1), RANDOM.integers(0, 3, count)


def near(boxes: np.ndarray, classes: np.ndarray) -> Detections:
    """Several moved copies of each object, some of another class, best first."""
    copies = np.concatenate([boxes + RANDOM.normal(0, size, boxes.shape) for size in (0.5, 1.5, 3.0)])
    copies[:, 2:] = np.maximum(copies[:, 2:], copies[:, :2] + 1)
    labels = np.where(RANDOM.random(len(copies)) < 0.15, RANDOM.integers(0, 3, len(copies)), np.tile(classes, 3))
    scores = np.sort(RANDOM.random(len(copies)).astype(np.float32))[::-1]
    return Detections(copies.astype(np.float32), scores, labels)


def as_labels(boxes: np.ndarray, classes: np.ndarray) -> Labels:
    share = boxes / [SHAPE[1], SHAPE[0], SHAPE[1], SHAPE[0]]
    centred = np.concatenate([(share[:, :2] + share[:, 2:]) / 2, share[:, 2:] - share[:, :2]], axis=1)
    points = tuple(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) for x0, y0, x1, y1 in share)
    return Labels(centred, classes, points)


def test_masks_that_fill_whole_boxes_are_worth_what_the_boxes_are() -> None:
    found, truth, boxes = [], [], []
    for _ in range(10):
        corners, classes = scene(int(RANDOM.integers(1, 8)))
        corners = np.round(corners)
        truth.append(outlines(as_labels(corners, classes), SHAPE))
        boxes.append((corners, classes))
        guess = near(corners, classes)
        whole = np.clip(np.round(guess.boxes), 0, [SHAPE[1], SHAPE[0]] * 2).astype(np.float32)
        masks = tuple(
            (np.ones((int(y1 - y0), int(x1 - x0)), bool), int(y0), int(x0)) for x0, y0, x1, y1 in whole.tolist()
        )
        found.append(encoded(Segments(whole, guess.scores, guess.classes, masks, SHAPE)))
    record = judge_masks(found, truth, NAMES, 0.25).metrics
    expected = metrics.judge_boxes(found, boxes, NAMES, 0.25).metrics
    assert {key: value for key, value in record.items() if key != "boxes"} == expected
    own = metrics.judge_boxes(found, [(one.boxes, one.classes) for one in truth], NAMES, 0.25).metrics
    assert record["boxes"] == {key: own[key] for key in ("map50_95", "map50")}
    assert 0.1 < record["map50_95"] < 0.9


def test_masks_are_judged_by_their_pixels_and_not_by_their_boxes() -> None:
    label = as_labels(np.array([[10.0, 10, 50, 50]]), np.array([1]))
    truth = outlines(label, SHAPE)
    box = np.array([[10, 10, 50, 50]], np.float32)
    half = np.zeros((40, 40), bool)
    half[:24] = True
    found = encoded(Segments(box, np.ones(1, np.float32), np.array([1]), ((half, 10, 10),), SHAPE))
    record = judge_masks([found], [truth], NAMES, 0.25).metrics
    assert record["boxes"]["map50_95"] == 1.0
    assert record["map50_95"] == pytest.approx(0.3)  # an IoU of 0.6: right at 0.50, 0.55 and 0.60
    broken = Segments(box * np.nan, np.ones(1, np.float32), np.array([1]), ((half, 10, 10),), SHAPE)
    assert encoded(broken).masks == ()
    assert (
        judge_masks([Encoded(box[:0], box[:0, 0], np.zeros(0, int), (), SHAPE)], [truth], NAMES, 0.25).metrics["map50"]
        == 0.0
    )
    assert judge_masks([found], [outlines(Labels(np.zeros((0, 4)), np.zeros(0, int)), SHAPE)], NAMES, 0.25).metrics == (
        metrics.NO_OBJECTS.metrics
    )


@pytest.mark.parametrize("count", [4, 17])
def test_average_precision_of_poses_is_the_library_s(count: int) -> None:
    found, truth, objects, results = [], [], [], []
    for number in range(1, 13):
        boxes, classes = scene(int(RANDOM.integers(1, 7)))
        points = RANDOM.uniform(0, 60, (len(boxes), count, 3))
        points[..., 2] = RANDOM.integers(0, 3, points.shape[:2])
        truth.append(Skeletons(boxes, classes, points))
        guess = near(boxes, classes)
        moved = np.concatenate([points] * 3) + RANDOM.normal(0, 2.0 if count == 4 else 0.6, (3 * len(points), count, 3))
        found.append(Poses(guess.boxes, guess.scores, guess.classes, moved.astype(np.float32)))
        for row, one in zip(box_rows(number, boxes, classes), points, strict=True):
            row |= {"keypoints": one.ravel().tolist(), "num_keypoints": int((one[:, 2] > 0).sum())}
            if row["num_keypoints"]:  # others count in no figure but the boxes'
                objects.append(row | {"area": row["area"] * AREA_OF_BOX})
        for row, one in zip(
            box_rows(number, guess.boxes, guess.classes, guess.scores), found[-1].keypoints, strict=True
        ):
            results.append(row | {"keypoints": one.astype(np.float64).ravel().tolist()})
    by_library = faster(12, objects, results, 3, "keypoints", sigmas_of(count))
    record = judge_poses(found, truth, NAMES, 0.25).metrics
    assert record["map50_95"] == pytest.approx(by_library.mean(), abs=1e-6)
    assert record["map50"] == pytest.approx(by_library[0].mean(), abs=1e-6)
    assert 0.05 < record["map50_95"] < 0.95
    boxes = faster_boxes(
        [Detections(one.boxes, one.scores, one.classes) for one in found], [(o.boxes, o.classes) for o in truth], 3
    )
    assert record["boxes"]["map50_95"] == pytest.approx(boxes.mean(), abs=1e-6)


def test_sigmas_are_coco_s_for_people_and_even_for_others() -> None:
    assert sigmas_of(17)[0] == pytest.approx(0.026)
    assert sigmas_of(4).tolist() == [0.25] * 4


def test_a_pose_without_labelled_keypoints_counts_in_its_box_alone() -> None:
    labels = Labels(np.array([[0.5, 0.5, 0.4, 0.4]]), np.array([0]), (np.zeros((4, 3)),))
    assert judge_poses([], [skeletons(labels, SHAPE)], NAMES, 0.25).metrics == metrics.NO_OBJECTS.metrics


def test_turned_boxes_are_found_at_their_angle_alone() -> None:
    corners = cv2.boxPoints(((40, 30), (30, 8), 30.0)) / [SHAPE[1], SHAPE[0]]
    truth = turned_objects(Labels(np.zeros((1, 4)), np.array([2]), (corners,)), SHAPE)

    def record(degrees: float) -> dict[str, Any]:
        box = np.array([[40, 30, 30, 8, np.deg2rad(degrees)]], np.float32)
        return judge_turned([TurnedBoxes(box, np.ones(1, np.float32), np.array([2]))], [truth], NAMES, 0.25).metrics

    assert record(30)["map50_95"] == record(210)["map50_95"] == 1.0
    assert record(36)["map50_95"] < 1.0
    assert record(120)["map50"] == record(-30)["map50"] == 0.0


@pytest.mark.parametrize(
    ("form", "line", "said"),
    [
        (Form("polygon"), "0 .5 .5 .2 .2", "an outline has an odd number from 7"),
        (Form("polygon"), "0 .1 .1 .2 .2 .3 1.2", "not between 0 and 1"),
        (Form("keypoints", (2, 3)), "0 .5 .5 .2 .2 .1 .1 2 .2 .2", "2 keypoints of 3 have 11"),
        (Form("keypoints", (2, 3)), "0 .5 .5 .2 .2 .1 1.1 2 .2 .2 2", "not between 0 and 1"),
        (Form("keypoints", (1, 2)), "0 .5 .5 -.005 .2 .1 .1", "negative"),
    ],
)
def test_lines_of_another_form_are_named(tmp_path: Path, form: Form, line: str, said: str) -> None:
    image = tmp_path / "0.png"
    cv2.imwrite(str(image), np.zeros((8, 8, 3), np.uint8))
    image.with_suffix(".txt").write_text(line)
    with pytest.raises(InputError) as caught:
        read_labels([image], 1, form)
    assert said in str(caught.value.problems[0])


def test_polygons_and_keypoints_are_read_with_their_boxes(tmp_path: Path) -> None:
    image = tmp_path / "0.png"
    cv2.imwrite(str(image), np.zeros((8, 8, 3), np.uint8))
    names = {"names": NAMES, "num_classes": 3, "keypoints": [2, 2]}
    image.with_suffix(".txt").write_text("1 .1 .2 .5 .2 .5 .6\n1 .1 .2 .5 .2 .5 .6\n")
    (found,) = labels_of([image], {"model": {"task": "segmentation"}, "classes": names})
    assert np.allclose(found.boxes, [[0.3, 0.4, 0.4, 0.4]])  # once: Ultralytics drops repeated lines too
    assert found.points[0].tolist() == [[0.1, 0.2], [0.5, 0.2], [0.5, 0.6]]
    image.with_suffix(".txt").write_text("2 .5 .5 .2 .4 .1 .2 .3 .4\n")
    (found,) = labels_of([image], {"model": {"task": "pose"}, "classes": names})
    assert found.points[0].tolist() == [[0.1, 0.2, 1], [0.3, 0.4, 1]]
    assert found.boxes.tolist() == [[0.5, 0.5, 0.2, 0.4]]


def test_the_overlap_of_boxes_that_are_all_but_lines_is_a_number() -> None:
    random = np.random.default_rng(0)
    sides = 10 ** np.column_stack([random.uniform(-3, 5, 2000), random.uniform(-6, 1, 2000)])
    boxes = np.column_stack([random.uniform(0, 500, (2000, 2)), sides, random.uniform(-2, 2, 2000)]).astype(np.float32)
    for part in boxes.reshape(-1, 8, 5):
        shared = probabilistic_iou(part, part[::-1])
        assert np.isfinite(shared).all()
        assert shared.max() <= 1.001
