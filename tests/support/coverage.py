"""How often a bootstrap interval holds the truth: two detectors, or two classifiers, on images drawn again and again.

The truth is the same difference on so many images that chance is far below the intervals' width.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np

from stages.common import bootstrap
from stages.common.bootstrap import Interval
from stages.common.per_image import PerImage, Shares, means
from tests.support.scenes import box_matches, detect, objects

Kind = Literal["map50_95", "top1", "accuracy"]
KINDS: tuple[Kind, ...] = ("map50_95", "top1", "accuracy")
CLASSES = 2
POPULATION = {"map50_95": 20_000, "top1": 2_000_000, "accuracy": 1_000_000}  # images that stand for all there are
MAP_DROP = 10.83  # percent: `population_drop("map50_95")`, which takes a quarter of a minute; the campaign looks again
TRUTHS_SEED = 77


def pair(kind: Kind, random: np.random.Generator, images: int) -> tuple[PerImage, PerImage]:
    """Both sides' evaluations of `images` images: what one side finds hard, the other one mostly does."""
    if kind == "map50_95":
        truth = [objects(random, 4, CLASSES) for _ in range(images)]
        state = random.bit_generator.state
        first = [detect(random, one, CLASSES, 3.0) for one in truth]
        random.bit_generator.state = state  # the same errors, but larger
        second = [detect(random, one, CLASSES, 3.6) for one in truth]
        return box_matches(first, truth, CLASSES), box_matches(second, truth, CLASSES)
    hardness = random.random(images)
    if kind == "top1":
        right = random.random(images) > 0.5 * hardness
        return means(top1=right), means(top1=np.where(random.random(images) < 0.08, ~right, right))
    length = random.integers(1, 12, images)
    wrong = random.binomial(length, 0.3 * hardness)
    more = np.minimum(wrong + random.binomial(length, 0.05), length)
    return tuple(  # type: ignore[return-value]  # two of them
        Shares({"accuracy": ((length - errors).astype(float), length.astype(float))}) for errors in (wrong, more)
    )


@cache
def true_drop(kind: Kind) -> float:
    """The drop in percent on all images there are."""
    return MAP_DROP if kind == "map50_95" else population_drop(kind)


def population_drop(kind: Kind) -> float:
    """The drop in percent on the population."""
    before, after = pair(kind, np.random.default_rng(TRUTHS_SEED), POPULATION[kind])
    first, second = bootstrap.value(before, kind), bootstrap.value(after, kind)
    assert first is not None
    assert second is not None
    return (first - second) / first * 100


def covered(kind: Kind, images: int, trials: int, seed: int, samples: int = bootstrap.RESAMPLES) -> tuple[int, int]:
    """Of so many intervals, how many hold the truth, and how many there were (of few images some have none)."""
    inside = made = 0
    for number in range(trials):
        before, after = pair(kind, np.random.default_rng([seed, number]), images)
        found = bootstrap.interval(before, after, kind, bootstrap.drop_percent, samples=samples)
        if isinstance(found, Interval):
            made += 1
            inside += found.low <= true_drop(kind) <= found.high
    return inside, made
