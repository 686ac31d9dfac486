"""How far two runs of the same network agree: cosine, largest error and signal-to-noise ratio of each output.

Goes to the board with `mcwbuild board pack` too: Python 3.8 and numpy only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray
NEGLIGIBLE_ERROR = 1e-5  # of scores in 0..1 and of distance logits around 10


@dataclass
class Agreement:
    """Sums over any number of pairs of arrays, in float64."""

    dot: float = 0.0
    reference_square: float = 0.0
    other_square: float = 0.0
    error_square: float = 0.0
    largest: float = 0.0

    def add(self, reference: Array, other: Array) -> None:
        """Take in two arrays of one shape. Raises ValueError where the shapes differ."""
        if reference.shape != other.shape:
            raise ValueError(f"shapes differ: {list(reference.shape)} and {list(other.shape)}")
        a, b = (np.asarray(x, np.float64).ravel() for x in (reference, other))
        error = a - b
        self.dot += float(a @ b)
        self.reference_square += float(a @ a)
        self.other_square += float(b @ b)
        self.error_square += float(error @ error)
        largest = float(np.abs(error).max(initial=0.0))
        self.largest = largest if math.isnan(largest) else max(self.largest, largest)

    @property
    def cosine(self) -> float:
        """Cosine of the angle between both; 1 where both are zero, 0 where one is, NaN where a value was not finite."""
        scale = math.sqrt(self.reference_square) * math.sqrt(self.other_square)
        if not math.isfinite(scale):
            return math.nan
        return self.dot / scale if scale else float(self.reference_square == self.other_square)

    @property
    def snr_db(self) -> float:
        """10 log10 of the reference's energy over the error's, in decibels; infinite where they are equal."""
        if not self.error_square:
            return math.inf
        ratio = self.reference_square / self.error_square
        return 10 * math.log10(ratio) if ratio else -math.inf


def _of(reference: Array, other: Array) -> Agreement:
    made = Agreement()
    made.add(reference, other)
    return made


def cosine(reference: Array, other: Array) -> float:
    """Cosine of the angle between two arrays of one shape."""
    return _of(reference, other).cosine


def max_error(reference: Array, other: Array) -> float:
    """Largest absolute difference of two arrays of one shape."""
    return _of(reference, other).largest


def snr_db(reference: Array, other: Array) -> float:
    """Signal-to-noise ratio in decibels, the reference being the signal."""
    return _of(reference, other).snr_db


def compare_outputs(
    pairs: Iterable[tuple[Sequence[Array], Sequence[Array]]], names: Sequence[str]
) -> list[dict[str, Any]]:
    """`comparison.outputs` of a performance record: one row for each output, over all images.

    `pairs` gives each image's outputs of the reference and of the other, in the order of `names`. A figure that
    is not finite is None: `snr_db` where both are equal, all three where an output held NaN or infinity.
    """
    sums = [Agreement() for _ in names]
    for reference, other in pairs:
        if not len(sums) == len(reference) == len(other):
            raise ValueError(f"{len(names)} outputs are named, {len(reference)} and {len(other)} were given")
        for total, a, b in zip(sums, reference, other):  # noqa: B905 (3.8)
            total.add(a, b)
    return [
        {
            "name": name,
            "cosine": _finite(total.cosine),
            "max_error": _finite(total.largest),
            "snr_db": _finite(total.snr_db),
        }
        for name, total in zip(names, sums)  # noqa: B905 (3.8)
    ]


def agrees(row: Mapping[str, Any], min_cosine: float) -> bool:
    """Whether a row of `compare_outputs` has at least that cosine, or an error too small to matter.

    The scores of a scale that holds no object are all but zero: they have no direction, and the last bits of a
    sigmoid make any cosine.
    """
    if row["cosine"] is None or row["max_error"] is None:
        return False
    return bool(row["cosine"] >= min_cosine or row["max_error"] <= NEGLIGIBLE_ERROR)


def worst(rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The row of `compare_outputs` that agrees least; None where no output differs by more than a negligible error."""

    def rank(row: Mapping[str, Any]) -> float:
        return -1.0 if row["cosine"] is None else float(row["cosine"])

    differing = [row for row in rows if row["max_error"] is None or row["max_error"] > NEGLIGIBLE_ERROR]
    return min(differing, key=rank, default=None)


def in_words(rows: Iterable[Mapping[str, Any]]) -> str:
    """The agreement of all outputs in a few words, by the one that agrees least."""
    row = worst(rows)
    if row is None:
        return f"no output differs by more than {NEGLIGIBLE_ERROR:g}"
    if row["cosine"] is None or row["max_error"] is None:
        return f"{row['name']} held NaN or infinity"
    return f"lowest cosine {row['cosine']:.5f}, error {row['max_error']:.2g} ({row['name']})"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
