"""What is kept image by image: judged again it gives what the library gives, for all images and for any sample."""

from __future__ import annotations

import numpy as np
import pytest

from stages.common import bootstrap, metrics
from stages.common.classification import Ranking
from stages.common.ground_truth import Labels
from stages.common.mask_metrics import encoded, match_masks, measure_masks, outlines
from stages.common.per_image import Shares, box_matches, means
from stages.common.pose_metrics import Skeletons, match_poses, measure_poses
from stages.common.poses import Poses
from stages.common.ranking_metrics import keep_rankings, measure_rankings
from stages.common.segmentation import Segments
from stages.common.turned import TurnedBoxes, probabilistic_iou
from stages.common.turned_metrics import TurnedObjects, match_turned, precision_by
from tests.support.scenes import scene

EXACT = 1e-9
CLASSES = 4  # of which scenes draw three


def library(found: list, truth: list) -> tuple[float, float]:
    """map50_95 and map50 by the library."""
    average = metrics.average_precision(found, truth, CLASSES)
    present = average[0] >= 0
    return float(average[:, present].mean()), float(average[0, present].mean())


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("ties", [False, True])
def test_over_all_images_it_is_the_library_s_own_value(seed: int, ties: bool) -> None:
    found, truth = scene(seed, 15, ties=ties)
    kept = box_matches(found, truth, CLASSES)
    whole, half = library(found, truth)
    assert bootstrap.value(kept, "map50_95") == pytest.approx(whole, abs=EXACT)
    assert bootstrap.value(kept, "map50") == pytest.approx(half, abs=EXACT)
    assert 0.2 < whole < 0.95


@pytest.mark.parametrize("seed", range(8))
def test_of_a_sample_it_is_the_library_s_value_for_these_images(seed: int) -> None:
    found, truth = scene(seed, 12)
    kept = box_matches(found, truth, CLASSES)
    drawn = bootstrap.draws(12, 5)
    values = kept.values(drawn)
    for number in range(5):
        places = np.repeat(np.arange(12), drawn[:, number])
        expected = library([found[place] for place in places], [truth[place] for place in places])
        assert values["map50_95"][number] == pytest.approx(expected[0], abs=EXACT)
        assert values["map50"][number] == pytest.approx(expected[1], abs=EXACT)


def test_a_class_of_which_nothing_is_found_counts_as_nothing() -> None:
    found, truth = scene(3, 10)
    truth = [(boxes, np.where(labels == 0, 3, labels)) for boxes, labels in truth]
    kept = box_matches(found, truth, CLASSES)
    assert bootstrap.value(kept, "map50_95") == pytest.approx(library(found, truth)[0], abs=EXACT)


def test_a_sample_without_objects_has_no_value() -> None:
    found, truth = scene(3, 10)
    empty = next(number for number, (boxes, _) in enumerate(truth) if not len(boxes))
    weights = np.zeros((10, 1), np.int32)
    weights[empty] = 10
    assert np.isnan(box_matches(found, truth, CLASSES).values(weights)["map50_95"][0])


def test_masks_poses_and_turned_boxes_are_kept_as_they_are_measured() -> None:
    found, truth = scene(5, 14)
    shape, names = (700, 700), ["a", "b", "c", "d"]
    masks, filled, poses, people, turned, things = ([] for _ in range(6))
    for one, (boxes, classes) in zip(found, truth, strict=True):
        corners = [np.array([[x0, y0], [x1, y0], [x1, y1]]) / shape[0] for x0, y0, x1, y1 in boxes]
        filled.append(outlines(Labels(boxes / shape[0], classes, tuple(corners)), shape))
        whole = np.clip(np.round(one.boxes), 0, shape[0] - 1).astype(np.float32)
        whole[:, 2:] = np.maximum(whole[:, 2:], whole[:, :2] + 1)
        parts = [(upper_right(int(y1 - y0), int(x1 - x0)), int(y0), int(x0)) for x0, y0, x1, y1 in whole]
        masks.append(encoded(Segments(whole, one.scores, one.classes, tuple(parts), shape)))
        people.append(Skeletons(boxes, classes, points(boxes, visible=2)))
        poses.append(Poses(one.boxes, one.scores, one.classes, points(one.boxes).astype(np.float32)))
        turned.append(TurnedBoxes(as_turned(one.boxes), one.scores, one.classes))
        things.append(TurnedObjects(as_turned(boxes).astype(np.float64), classes))
    of_masks = bootstrap.value(match_masks(masks, filled, CLASSES), "map50_95")
    assert of_masks == pytest.approx(measure_masks(masks, filled, names, 0.25)["map50_95"], abs=1e-6)
    of_poses = bootstrap.value(match_poses(poses, people, CLASSES), "map50_95")
    assert of_poses == pytest.approx(measure_poses(poses, people, names, 0.25)["map50_95"], abs=1e-6)
    overlaps = [probabilistic_iou(one.boxes, two.boxes) for one, two in zip(turned, things, strict=True)]
    exact = precision_by(turned, [one.classes for one in things], overlaps.__getitem__, CLASSES)
    of_turned = bootstrap.value(match_turned(turned, things, CLASSES), "map50_95")
    assert of_turned == pytest.approx(exact[:, exact[0] >= 0].mean(), abs=EXACT)
    assert all(0.1 < value < 1 for value in (of_masks, of_poses, of_turned) if value is not None)


def upper_right(rows: int, columns: int) -> np.ndarray:
    """The triangle of the labels' three corners."""
    return np.arange(columns)[None] / columns >= np.arange(rows)[:, None] / rows


def points(boxes: np.ndarray, visible: float | None = None) -> np.ndarray:
    """Five keypoints inside of each box; without one that is visible, an object counts nowhere."""
    shares = np.array([[0.1, 0.1], [0.9, 0.1], [0.5, 0.5], [0.1, 0.9], [0.9, 0.9]])
    places = boxes[:, None, :2] + shares * (boxes[:, None, 2:] - boxes[:, None, :2])
    if visible is None:
        return np.concatenate([places, np.ones_like(places[..., :1])], axis=2)
    seen = np.full_like(places[..., :1], visible)
    seen[::5] = 0
    return np.concatenate([places, seen], axis=2)


def as_turned(boxes: np.ndarray) -> np.ndarray:
    """cx cy w h and an angle that grows with the place."""
    centre, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    return np.column_stack([centre, sides, centre[:, 0] / 300]).astype(np.float32)


def test_a_classification_is_kept_by_its_images() -> None:
    random = np.random.default_rng(1)
    truth = random.integers(0, 9, 50).tolist()
    found = [Ranking(random.permutation(9), np.linspace(1, 0, 9, dtype=np.float32)) for _ in truth]
    kept, record = keep_rankings(found, truth, 9), measure_rankings(found, truth, list("abcdefghi"), 0.25)
    assert {name: bootstrap.value(kept, name) for name in ("top1", "top5")} == pytest.approx(
        {name: record[name] for name in ("top1", "top5")}, abs=1e-6
    )
    drawn = bootstrap.draws(50, 3)
    expected = [measure_rankings(*sample(found, truth, drawn[:, k]), list("abcdefghi"), 0.25)["top1"] for k in range(3)]
    assert kept.values(drawn)["top1"] == pytest.approx(expected, abs=1e-6)


def sample(found: list, truth: list, weights: np.ndarray) -> tuple[list, list]:
    places = np.repeat(np.arange(len(weights)), weights)
    return [found[place] for place in places], [truth[place] for place in places]


def test_a_share_is_a_sum_over_a_sum() -> None:
    kept = Shares({"accuracy": (np.array([3.0, 0.0, 5.0]), np.array([4.0, 1.0, 5.0]))})
    assert bootstrap.value(kept, "accuracy") == pytest.approx(0.8)
    weights = np.array([[2, 0], [1, 0], [0, 3]], np.int32)
    assert kept.values(weights)["accuracy"] == pytest.approx([6 / 9, 1.0])
    assert means(score=[1.0, 0.0, 0.5]).count == 3
