"""How far a difference between two evaluations of the same images is left to chance: paired bootstrap intervals.

The images are drawn again, with replacement, as many as there are, the same ones for both sides; the interval holds
the middle share of what comes out (Efron 1979), with two additions without which it is too narrow:

* its ends lie further out than the share alone says, as much as Student's t lies outside of the normal distribution
  (Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, section 4.3.2);
* it holds its own mirror image about the measured difference too: average precision is biased on few images, the
  samples show by how much, and the percentile interval and the mirrored (basic) one err to opposite sides.

`tests/campaign/coverage.py` counts how often such intervals hold the truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from stages.common.per_image import Floats, PerImage, Shares, Weights

RESAMPLES = 1000  # the ends of a 95 % interval then vary by some hundredths of its width
LEVEL = 0.95
LEAST_IMAGES = 10  # fewer say too little about each other
# Exact upper ends (97.5 %) of a Poisson rate where so many events were seen: of 1 image that changed, 5.57 may.
_UPPER = {1: 5.572, 2: 7.225, 3: 8.767, 4: 10.242}
_MOST_UNDEFINED = 0.05  # share of the samples in which a difference may be undefined: no object, nothing found before
_SEED = 20240607
_NORMAL = NormalDist()
Difference = Callable[[Floats, Floats], Floats]  # of a metric before and after, in every sample


@dataclass(frozen=True)
class Interval:
    """`level` of all such intervals hold the true difference; it was drawn from so many images."""

    low: float
    high: float
    level: float
    images: int


@dataclass(frozen=True)
class NoInterval:
    """Why there is none; `least` is how many images there have to be, where there are too few."""

    reason: str
    least: int | None = None


def interval(
    before: PerImage,
    after: PerImage,
    metric: str,
    difference: Difference,
    level: float = LEVEL,
    samples: int = RESAMPLES,
) -> Interval | NoInterval:
    """The interval of `difference` in `metric`, or why there is none. Both sides are of the same images, in one order.

    Raises ValueError where they are of more or fewer images.
    """
    count = before.count
    if count != after.count:
        raise ValueError(f"{count} images before, {after.count} after")
    whole = [value(side, metric) for side in (before, after)]
    if whole[0] is None or whole[1] is None:
        return NoInterval(f"{metric} is not kept image by image.")
    drawn = draws(count, samples)
    differences = difference(*(side.values(drawn)[metric] for side in (before, after)))
    defined = differences[np.isfinite(differences)]
    if len(defined) < (1 - _MOST_UNDEFINED) * samples:
        return NoInterval(f"In {samples - len(defined)} of {samples} samples of the images the drop is not defined.")
    if not defined.any():
        return NoInterval(f"Each of the {count} images is judged as before.")
    if count < LEAST_IMAGES:
        return NoInterval(f"{count} images are too few for an interval.", LEAST_IMAGES)
    changed = _changed(before, after, metric)
    if changed in _UPPER:
        # So few changes show up in too few of the samples: the bounds are those of how many images may change.
        ends = [difference(np.array(whole[0]), np.array(whole[0] + sign * _UPPER[changed] / count)) for sign in (1, -1)]
    else:
        outside, middle = tail(count, level), difference(np.array(whole[0]), np.array(whole[1]))
        found = np.quantile(defined, [outside, 1 - outside])
        ends = [*found, *(2 * middle - found)]
    return Interval(float(min(ends)), float(max(ends)), level, count)


def _changed(before: PerImage, after: PerImage, metric: str) -> int | None:
    """Of how many images the metric changed; None where it is none of each image by itself."""
    if not isinstance(before, Shares) or not isinstance(after, Shares):
        return None
    return int(np.count_nonzero(before.parts[metric][0] != after.parts[metric][0]))


@lru_cache(maxsize=4)
def draws(count: int, samples: int) -> Weights:
    """How often each of `count` images is in each of so many samples, int32 [count, samples]; always the same."""
    drawn = np.random.default_rng(_SEED).multinomial(count, np.full(count, 1 / count), samples)
    made: Weights = np.ascontiguousarray(drawn.T.astype(np.int32))
    made.flags.writeable = False
    return made


def value(side: PerImage, metric: str) -> float | None:
    """The metric over all images, each of them once; None where it is not kept."""
    found = side.values(np.ones((side.count, 1), np.int32)).get(metric)
    return None if found is None else float(found[0])


def tail(count: int, level: float) -> float:
    """The share of the samples that is left out at each end: Student's t of count - 1 degrees, put into the normal."""
    wide = student((1 + level) / 2, count - 1) * math.sqrt(count / (count - 1))
    return _NORMAL.cdf(-wide)


def student(share: float, degrees: int) -> float:
    """The quantile of Student's t, by its expansion about the normal one (Abramowitz and Stegun 26.7.5).

    From 9 degrees on it is right to 0.001 for shares up to 0.999.
    """
    z = _NORMAL.inv_cdf(share)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / degrees**power for power, term in enumerate(terms))


def gain(before: Floats, after: Floats) -> Floats:
    """How far the metric rises, in its own unit."""
    return after - before


def drop(before: Floats, after: Floats) -> Floats:
    """How far the metric falls, in its own unit."""
    return before - after


def drop_percent(before: Floats, after: Floats) -> Floats:
    """How far the metric falls, in percent of what it was; NaN where it was nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(before > 0, (before - after) / before * 100, np.nan)
    return found
