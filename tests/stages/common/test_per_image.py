"""What is kept image by image: judged again it gives what the library gives, for all images and for any sample."""

from __future__ import annotations

import numpy as np
import pytest

from stages.common import bootstrap
from stages.common.classification import Ranking
from stages.common.ground_truth import Labels
from stages.common.mask_metrics import encoded, judge_masks, outlines
from stages.common.per_image import Matches, Shares, Verdict, means, only
from stages.common.pose_metrics import AREA_OF_BOX, Skeletons, judge_poses, sigmas_of
from stages.common.poses import Poses
from stages.common.ranking_metrics import judge_rankings
from stages.common.segmentation import Segments
from stages.common.turned import TurnedBoxes
from stages.common.turned_metrics import TurnedObjects, judge_turned
from tests.support.coco import box_rows, faster, faster_boxes
from tests.support.scenes import box_matches, scene

EXACT = 1e-9
NAMES = ["a", "b", "c", "d"]  # of which scenes draw three
CLASSES = len(NAMES)


def library(found: list, truth: list) -> tuple[float, float]:
    """map50_95 and map50 by the library."""
    average = faster_boxes(found, truth, CLASSES)
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


@pytest.mark.parametrize("seed", range(8))
def test_of_some_of_the_images_it_is_the_library_s_value_for_these(seed: int) -> None:
    found, truth = scene(seed, 20)
    places = [seed % 3, 4, 7, 11, 12, 19]
    part = only(box_matches(found, truth, CLASSES), places)
    expected = library([found[place] for place in places], [truth[place] for place in places])
    assert bootstrap.value(part, "map50_95") == pytest.approx(expected[0], abs=EXACT)
    assert bootstrap.value(part, "map50") == pytest.approx(expected[1], abs=EXACT)


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


def test_masks_and_poses_have_the_library_s_average_precision() -> None:
    found, truth = scene(5, 14)
    shape = (700, 700)
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
    filled_rows = [row | {"segmentation": mask} for row, mask in zip(rows(filled), flat(filled), strict=True)]
    found_rows = [row | {"segmentation": mask} for row, mask in zip(rows(masks), flat(masks), strict=True)]
    by_library = faster(len(found), filled_rows, found_rows, CLASSES, "segm", height=shape[0], width=shape[1])
    assert same(judge_masks(masks, filled, NAMES, 0.25), by_library)
    seen = [
        row | {"keypoints": keypoints.ravel().tolist(), "num_keypoints": 5, "area": row["area"] * AREA_OF_BOX}
        for row, keypoints in zip(rows(people), flat(people, "keypoints"), strict=True)
        if keypoints[:, 2].any()
    ]
    guessed = [
        row | {"keypoints": keypoints.astype(np.float64).ravel().tolist()}
        for row, keypoints in zip(rows(poses), flat(poses, "keypoints"), strict=True)
    ]
    by_library = faster(len(found), seen, guessed, CLASSES, "keypoints", sigmas_of(5))
    assert same(judge_poses(poses, people, NAMES, 0.25), by_library)
    classes = [one.classes for one in things]
    exact = [
        TurnedBoxes(one.boxes.astype(np.float32), np.ones(len(one.boxes), np.float32), one.classes) for one in things
    ]
    assert judge_turned(exact, things, NAMES, 0.25).metrics["map50_95"] == 1.0
    assert 0.1 < judge_turned(turned, things, NAMES, 0.25).metrics["map50_95"] < 1


def rows(images: list) -> list[dict]:
    """The annotations of all images."""
    return [
        row
        for number, one in enumerate(images, 1)
        for row in box_rows(number, one.boxes, one.classes, getattr(one, "scores", None))
    ]


def flat(images: list, name: str = "masks") -> list:
    return [each for one in images for each in getattr(one, name)]


def same(verdict: Verdict, by_library: np.ndarray) -> bool:
    """Whether the average precision is the library's, of each class and in what is kept image by image."""
    assert isinstance(verdict.per_image, Matches)
    own = verdict.per_image.average_precision()
    assert np.abs(own - by_library).max() < EXACT
    whole = bootstrap.value(verdict.per_image, "map50_95")
    assert whole == pytest.approx(by_library[:, by_library[0] >= 0].mean(), abs=EXACT)
    assert whole == pytest.approx(verdict.metrics["map50_95"], abs=1e-6)
    return 0.1 < verdict.metrics["map50_95"] < 1


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
    verdict = judge_rankings(found, truth, list("abcdefghi"), 0.25)
    kept, record = verdict.per_image, verdict.metrics
    assert {name: bootstrap.value(kept, name) for name in ("top1", "top5")} == pytest.approx(
        {name: record[name] for name in ("top1", "top5")}, abs=1e-6
    )
    drawn = bootstrap.draws(50, 3)
    expected = [
        judge_rankings(*sample(found, truth, drawn[:, k]), list("abcdefghi"), 0.25).metrics["top1"] for k in range(3)
    ]
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
