"""Which results hit which objects: COCO's matching, at all thresholds at once, by any measure of overlap.

Everything that is counted of a detector (average precision, precision and recall, intervals) is counted from this one
table. The tests hold it against faster-coco-eval and pycocotools.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.common.per_image import THRESHOLDS, Floats, Matches

Overlap = Callable[[int], Floats]  # of an image's number: how far its n results and m objects are the same, [n, m]
_POWERS = 2 ** np.arange(len(THRESHOLDS))


@dataclass(frozen=True)
class Table:
    """Every result: class after class, in a class by falling score (images in their order where scores are the same).

    labels int64 [n], scores float64 [n], images int64 [n]. hits int64 [n]: bit t is set where it hit at THRESHOLDS[t].
    objects: of each image the classes of its objects.
    """

    labels: NDArray[np.int64]
    scores: Floats
    images: NDArray[np.int64]
    hits: NDArray[np.int64]
    objects: tuple[NDArray[np.int64], ...]
    num_classes: int

    @property
    def instances(self) -> NDArray[np.int64]:
        """How many objects each class has [classes]."""
        return np.bincount(np.concatenate([np.zeros(0, np.int64), *self.objects]), minlength=self.num_classes)

    def ranked(self) -> list[tuple[Floats, Floats]]:
        """For each class the scores, ascending: of all its results, and of those that hit at the first threshold."""
        ends = np.searchsorted(self.labels, np.arange(self.num_classes + 1))
        parts = [slice(begin, end) for begin, end in pairwise(ends)]
        return [(self.scores[part][::-1], self.scores[part][self.hits[part] & 1 > 0][::-1]) for part in parts]

    def matches(self) -> Matches:
        """What average precision needs of it, image by image."""
        kept, results = self._up_to_the_last_hit()
        labels = np.concatenate([np.zeros(0, np.int64), *self.objects])
        where = np.repeat(np.arange(len(self.objects)), [len(one) for one in self.objects])
        return Matches(
            len(self.objects),
            self.images[kept].astype(np.int32),
            self.hits[kept].astype(np.uint16),
            results,
            where[np.argsort(labels, kind="stable")].astype(np.int32),
            self.instances,
        )

    def _up_to_the_last_hit(self) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which rows count [n], and how many each class keeps [classes]: what scores below its last hit counts not."""
        last = np.full(self.num_classes, -1, np.int64)
        hit = np.flatnonzero(self.hits)
        last[self.labels[hit]] = hit  # of several the last one stays
        kept = np.arange(len(self.labels)) <= last[self.labels]
        return kept, np.bincount(self.labels[kept], minlength=self.num_classes)


def match(found: Sequence[Any], objects: Sequence[NDArray[np.int64]], overlap: Overlap, num_classes: int) -> Table:
    """The matches of each image's results (`classes`, `scores`, best first) with its objects of these classes [m]."""
    hits = [np.zeros(len(one.scores), np.int64) for one in found]
    for image, (one, classes) in enumerate(zip(found, objects, strict=True)):
        if len(classes) and len(one.scores):
            hits[image] = hits_of(np.where(one.classes[:, None] == classes, overlap(image), -1.0))
    labels = np.concatenate([np.zeros(0, np.int64), *(one.classes for one in found)]).astype(np.int64)
    scores = np.concatenate([np.zeros(0), *(one.scores for one in found)]).astype(np.float64)
    order = np.lexsort((-scores, labels))
    images = np.repeat(np.arange(len(found)), [len(one.scores) for one in found])
    all_hits = np.concatenate([np.zeros(0, np.int64), *hits])
    return Table(labels[order], scores[order], images[order], all_hits[order], tuple(objects), num_classes)


def hits_of(overlap: Floats) -> NDArray[np.int64]:
    """Of n results, best first, the bits of the thresholds at which each hits one of m objects.

    `overlap` [n, m] says how far they are the same, below 0 where they are of two classes. COCO's rule: each result
    takes the object that it overlaps most among those that are free at the threshold.
    """
    bits = np.zeros(len(overlap), np.int64)
    free = np.repeat(overlap[None], len(THRESHOLDS), axis=0)
    every = np.arange(len(THRESHOLDS))
    for row in np.flatnonzero((overlap >= THRESHOLDS[0]).any(axis=1)):
        target = free[:, row].argmax(axis=1)
        hit = free[every, row, target] >= THRESHOLDS
        free[every[hit], :, target[hit]] = -1.0
        bits[row] = _POWERS[hit].sum()
    return bits
