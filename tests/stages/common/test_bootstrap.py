"""Intervals: they hold the truth as often as they say, and say nothing where they cannot."""

from __future__ import annotations

import time

import numpy as np
import pytest

from stages.common import bootstrap
from stages.common.bootstrap import Interval, NoInterval
from stages.common.per_image import means
from tests.support.coverage import covered
from tests.support.scenes import box_matches, detect, scene

STUDENT = {  # tables of Student's t
    (0.975, 9): 2.262157,
    (0.975, 19): 2.093024,
    (0.975, 119): 1.980100,
    (0.995, 9): 3.249836,
    (0.999, 29): 3.396240,
}


@pytest.mark.parametrize(("at", "wanted"), STUDENT.items())
def test_the_quantiles_of_student_are_those_of_the_tables(at: tuple[float, int], wanted: float) -> None:
    assert bootstrap.student(*at) == pytest.approx(wanted, abs=1e-3)


def test_of_many_images_the_tail_is_the_level_s_own() -> None:
    assert bootstrap.tail(100_000, 0.95) == pytest.approx(0.025, abs=1e-4)
    assert bootstrap.tail(12, 0.95) < 0.018


def test_draws_are_paired_whole_and_always_the_same() -> None:
    drawn = bootstrap.draws(30, 40)
    assert (drawn.sum(axis=0) == 30).all()
    bootstrap.draws.cache_clear()
    assert np.array_equal(drawn, bootstrap.draws(30, 40))


def test_a_mean_has_the_interval_of_the_textbook() -> None:
    random = np.random.default_rng(2)
    before = random.random(400)
    after = before - random.normal(0.02, 0.05, 400)
    found = bootstrap.interval(means(a=before), means(a=after), "a", bootstrap.drop)
    difference = before - after
    half = 1.966 * difference.std(ddof=1) / 20
    assert isinstance(found, Interval)
    assert found.low == pytest.approx(difference.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(difference.mean() + half, abs=0.1 * half)
    alone = 1.966 * np.hypot(before.std(), after.std()) / 20
    assert found.high - found.low < 0.4 * 2 * alone  # the same images on both sides: what is hard is hard for both


def test_a_percentage_is_of_what_was_there_before() -> None:
    before, after = np.array([0.5, 0.8, 0.0]), np.array([0.25, 0.8, 0.1])
    assert bootstrap.drop_percent(before, after)[:2] == pytest.approx([50, 0])
    assert np.isnan(bootstrap.drop_percent(before, after)[2])


def test_images_that_are_all_judged_the_same_have_no_interval() -> None:
    kept = box_matches(*scene(1, 40), 3)
    found = bootstrap.interval(kept, kept, "map50_95", bootstrap.drop_percent)
    assert isinstance(found, NoInterval)
    assert (found.reason, found.least) == ("Each of the 40 images is judged as before.", None)


def test_too_few_images_have_no_interval_and_say_how_many_are_the_least() -> None:
    random = np.random.default_rng(1)
    first, truth = scene(1, 6, noise=2)
    second = [detect(random, one, 3, 9) for one in truth]
    found = bootstrap.interval(box_matches(first, truth, 3), box_matches(second, truth, 3), "map50", bootstrap.drop)
    assert isinstance(found, NoInterval)
    assert found.least == bootstrap.LEAST_IMAGES


def test_one_image_that_changed_is_no_proof_that_only_one_does() -> None:
    right = np.ones(100)
    wrong = right.copy()
    wrong[7] = 0
    found = bootstrap.interval(means(top1=right), means(top1=wrong), "top1", bootstrap.drop_percent)
    assert isinstance(found, Interval)
    assert (found.low, found.high) == pytest.approx((-5.572, 5.572))


def test_what_is_not_kept_and_what_is_not_defined_have_no_interval() -> None:
    kept, nothing = means(top1=np.ones(20)), means(top1=np.zeros(20))
    for before, after, metric in ((kept, nothing, "map50"), (nothing, kept, "top1")):
        assert isinstance(bootstrap.interval(before, after, metric, bootstrap.drop_percent), NoInterval)
    with pytest.raises(ValueError, match="20 images before, 19 after"):
        bootstrap.interval(kept, means(top1=np.ones(19)), "top1", bootstrap.drop)


@pytest.mark.parametrize(("kind", "images"), [("top1", 60), ("accuracy", 60)])
def test_intervals_hold_the_truth_as_often_as_they_say(kind: str, images: int) -> None:
    inside, made = covered(kind, images, trials=400, seed=11, samples=400)  # type: ignore[arg-type]
    assert made > 390
    assert 0.92 < inside / made < 0.99


def test_intervals_of_average_precision_hold_the_truth_about_as_often() -> None:
    inside, made = covered("map50_95", 30, trials=60, seed=3, samples=200)
    assert made == 60
    assert inside / made > 0.87  # of few images they are a little too narrow; tests/campaign/coverage.py counts more


def test_a_thousand_samples_of_many_classes_take_about_a_second() -> None:
    random = np.random.default_rng(0)
    _, truth = scene(0, 120, classes=80)
    found = [detect(random, one, 80, 4, invented=290) for one in truth]
    kept = box_matches(found, truth, 80)
    start = time.process_time()
    assert len(kept.values(bootstrap.draws(120, 1000))["map50_95"]) == 1000
    assert time.process_time() - start < 3
