"""What is kept of an evaluation, image by image: enough to judge any sample of its images again.

The results were matched with the objects once; a sample only counts the images' matches anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of IoU, OKS or whatever says how far a result and an object are the same
_RECALLS = np.linspace(0, 1, 101)  # where COCO reads the precision
_NUDGE = 1e-6  # of a recall step: far above the error of a quotient, far below the distance of two recalls
_BLOCK = 4_000_000  # results times samples that are counted at once: 16 MB
Floats = NDArray[np.floating[Any]]
Weights = NDArray[np.int32]  # [images, samples]: how often each image is in each sample


class PerImage(Protocol):
    """An evaluation, image by image."""

    @property
    def count(self) -> int:
        """How many images there are."""

    def values(self, weights: Weights) -> dict[str, Floats]:
        """Each metric [samples] of samples of the images; NaN where a sample has nothing that it could count."""


@dataclass(frozen=True)
class Shares:
    """Metrics that are a sum over the images divided by another: for a plain mean, each image counts 1.

    parts: of each metric the numerators and denominators, float64 [images] both.
    """

    parts: Mapping[str, tuple[Floats, Floats]]

    @property
    def count(self) -> int:
        """How many images there are."""
        return len(next(iter(self.parts.values()))[0])

    def values(self, weights: Weights) -> dict[str, Floats]:
        """Each metric [samples]."""
        with np.errstate(invalid="ignore"):
            return {name: (top @ weights) / (below @ weights) for name, (top, below) in self.parts.items()}


@dataclass(frozen=True)
class Verdict:
    """`accuracy_metrics` of a performance record, and what intervals are drawn from: None where nothing is kept."""

    metrics: dict[str, Any]
    per_image: PerImage | None = None


def means(**values: Sequence[float]) -> Shares:
    """Metrics that are plain means over the images, from each image's value."""
    return Shares({name: (np.asarray(each, np.float64), np.ones(len(each))) for name, each in values.items()})


@dataclass(frozen=True)
class Matches:
    """Average precision: the order of the results, and what they hit.

    Class after class, in a class by falling score (images in their order where scores are the same), up to the last
    one that hits anything: what scores lower counts nowhere.
    images int32 [n]: the image of each result. hits uint16 [n]: bit t is set where it hit at THRESHOLDS[t].
    results int64 [classes]: how many results each class has. objects int32 [m]: the image of each object, class after
    class. instances int64 [classes]: how many objects each class has.
    """

    count: int
    images: NDArray[np.int32]
    hits: NDArray[np.uint16]
    results: NDArray[np.int64]
    objects: NDArray[np.int32]
    instances: NDArray[np.int64]

    def values(self, weights: Weights) -> dict[str, Floats]:
        """`map50_95` and `map50` [samples]: means over the classes of which a sample has objects."""
        total, first = (np.zeros(weights.shape[1]) for _ in range(2))
        present = np.zeros(weights.shape[1])
        for images, hits, objects in self.classes():
            for part in _blocks(weights.shape[1], len(images)):
                chosen = weights[:, part]
                instances = chosen[objects].sum(axis=0)
                average = _average_precision(images, hits, instances, chosen)
                total[part] += average.mean(axis=0)
                first[part] += average[0]
                present[part] += instances > 0
        with np.errstate(invalid="ignore"):
            return {"map50_95": total / present, "map50": first / present}

    def average_precision(self) -> Floats:
        """AP [10, classes] of all the images, at each of `THRESHOLDS`; -1 for a class without objects."""
        made = np.full((len(THRESHOLDS), len(self.instances)), -1.0)
        once = np.ones((self.count, 1), np.int32)
        for label, (images, hits, objects) in zip(np.flatnonzero(self.instances), self.classes(), strict=True):
            made[:, label] = _average_precision(images, hits, np.array([len(objects)]), once)[:, 0]
        return made

    def classes(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.uint16], NDArray[np.int32]]]:
        """Of each class that has objects: its results' images and hits, its objects' images."""
        ends, last = np.cumsum(self.results), np.cumsum(self.instances)
        for label in np.flatnonzero(self.instances):
            found = slice(ends[label] - self.results[label], ends[label])
            yield (
                self.images[found],
                self.hits[found],
                self.objects[last[label] - self.instances[label] : last[label]],
            )


def _blocks(samples: int, results: int) -> Iterator[slice]:
    step = max(1, _BLOCK // max(results, 1))
    return (slice(begin, begin + step) for begin in range(0, samples, step))


def _average_precision(
    images: NDArray[np.int32], hits: NDArray[np.uint16], instances: NDArray[np.int64], weights: Weights
) -> Floats:
    """AP [10, samples] of one class: COCO's, precision made monotonous and read at 101 recalls.

    Between two results that hit something only their number counts. An image that is in a sample several times
    gives each of its results as often, one after the other.
    """
    made = np.zeros((len(THRESHOLDS), weights.shape[1]))
    rows = np.flatnonzero(hits)
    if not len(rows):
        return made
    images = images[: rows[-1] + 1]  # of some of the images, others' hits may have stood behind these
    given = np.add.reduceat(weights[images], np.concatenate([[0], rows[:-1] + 1]), axis=0).cumsum(axis=0)
    given = np.maximum(given, 1)  # nothing was given yet, and nothing hit
    own, there = weights[images[rows]], np.maximum(instances, 1)
    for index in range(len(THRESHOLDS)):
        hit = (hits[rows] >> index & 1).astype(bool)
        if hit.any():
            made[index] = _interpolated(own[hit].cumsum(axis=0), given[hit], there)
    return made


def _interpolated(caught: NDArray[Any], given: NDArray[Any], objects: NDArray[Any]) -> Floats:
    """AP [samples] from how many hit and how many were given [hits, samples], at each that hits."""
    precision = np.maximum.accumulate((caught / given)[::-1])[::-1]
    recall = caught / objects
    # How many of the recalls that are read are reached: those up to the quotient's own floor, and that one.
    step = (recall * (len(_RECALLS) - 1) + _NUDGE).astype(np.intp)
    reached = step + (_RECALLS[step] <= recall)
    average: Floats = (precision * np.diff(reached, axis=0, prepend=0)).sum(axis=0) / len(_RECALLS)
    return average


def only_class(kept: Matches, label: int) -> Matches:
    """What was kept of one class."""
    ends, last = int(kept.results[: label + 1].sum()), int(kept.instances[: label + 1].sum())
    found = slice(ends - int(kept.results[label]), ends)
    return Matches(
        kept.count,
        kept.images[found],
        kept.hits[found],
        kept.results[label : label + 1],
        kept.objects[last - int(kept.instances[label]) : last],
        kept.instances[label : label + 1],
    )


def only(kept: PerImage, places: Sequence[int]) -> PerImage:
    """What was kept of the images at `places`, in their order. Raises TypeError for a kind that is not known."""
    chosen = np.asarray(places)
    if isinstance(kept, Shares):
        return Shares({name: (top[chosen], below[chosen]) for name, (top, below) in kept.parts.items()})
    if not isinstance(kept, Matches):
        raise TypeError(f"{type(kept).__name__} cannot be divided")
    number = np.full(kept.count, -1, np.int32)
    number[chosen] = np.arange(len(chosen))
    labels = np.arange(len(kept.results))
    found, there = number[kept.images] >= 0, number[kept.objects] >= 0
    return Matches(
        len(chosen),
        number[kept.images][found],
        kept.hits[found],
        np.bincount(np.repeat(labels, kept.results)[found], minlength=len(labels)),
        number[kept.objects][there],
        np.bincount(np.repeat(labels, kept.instances)[there], minlength=len(labels)),
    )
