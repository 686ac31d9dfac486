"""What a build's outputs look like beside those of the model that it was made from: dead, clipped, compressed.

Figures are collected image by image from both sides' outputs and candidate scores; the verdicts are functions of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.common.agreement import NEGLIGIBLE_ERROR
from stages.common.findings import Finding

Array = NDArray[np.floating[Any]]

_SAMPLED = 4096  # values of an output that are looked at one by one, of each image
CLIPPED = 0.01  # share of the values; ranges by least and largest value clip none, by KL divergence about 0.001
_MARGIN = 0.1  # of the build's range: other images reach a little farther than those of any calibration set
LEAST_CLIPPED = 10  # values: of a classifier's few, one that reaches farther is already a hundredth
COMPRESSED = 0.75  # of the reference's score: 0.33 becomes 0.25 and vanishes at the usual confidence
LEAST_SCORES = 10  # below so many the middle one says little
LEAST_PLACES = 16  # values of a channel in an image: a scalar may be all but constant and sound
_BINS = 10  # of the score histograms, over 0..1


@dataclass
class Extremes:
    """Least and largest value of each channel [C] of one side's output, over all images."""

    low: Array
    high: Array

    def add(self, values: Array) -> None:
        """Take in one image's values [C, n]; those that are not finite are left out."""
        sound = np.isfinite(values)
        whole = bool(sound.all())
        self.low = np.minimum(self.low, (values if whole else np.where(sound, values, np.inf)).min(axis=1))
        self.high = np.maximum(self.high, (values if whole else np.where(sound, values, -np.inf)).max(axis=1))

    @property
    def ends(self) -> tuple[float, float]:
        """Of all channels together."""
        return float(self.low.min()), float(self.high.max())

    @property
    def spans(self) -> Array:
        """How far each channel varies, [C]."""
        return self.high - self.low


@dataclass
class OutputFigures:
    """One output over all images: both sides' extremes by channel, and the values at the same sampled places."""

    name: str
    sides: list[Extremes] = field(default_factory=list)
    pairs: list[tuple[Array, Array]] = field(default_factory=list)
    places: int = 0

    def add(self, reference: Array, build: Array) -> None:
        """Take in one image's output [1, C, ...] of both sides."""
        channels = reference.shape[1] if reference.ndim > 1 else 1
        if not self.sides:
            self.sides = [Extremes(np.full(channels, np.inf), np.full(channels, -np.inf)) for _ in range(2)]
        for known, values in zip(self.sides, (reference, build), strict=True):
            known.add(values.reshape(channels, -1))
        self.places = reference.size // channels
        step = max(reference.size // _SAMPLED, 1)
        self.pairs.append((reference.ravel()[::step], build.ravel()[::step]))

    @property
    def clipped(self) -> float:
        """The share of values that lie beyond the build's range in the reference and at its end in the build."""
        if not self.pairs:
            return 0.0
        low, high = self.sides[1].ends
        if not low < high:
            return 0.0
        reference, build = (np.concatenate(side) for side in zip(*self.pairs, strict=True))
        margin = _MARGIN * (high - low)
        above = (reference > high + margin) & (build >= high - margin)
        below = (reference < low - margin) & (build <= low + margin)
        clipped = above | below
        return float(clipped.mean()) if clipped.sum() >= LEAST_CLIPPED else 0.0

    @property
    def constant(self) -> NDArray[np.intp]:
        """The channels that are one value in the build and vary in the reference, where a channel has many values."""
        if not self.pairs or (self.places < LEAST_PLACES and len(self.sides[1].low) > 1):
            return np.zeros(0, np.intp)
        reference, build = self.sides
        return np.flatnonzero((build.spans == 0) & (reference.spans > NEGLIGIBLE_ERROR))


@dataclass
class ScoreFigures:
    """Scores of candidates over all images: the reference's at the deployed confidence, the build's at a far lower."""

    reference: list[Array] = field(default_factory=list)
    build: list[Array] = field(default_factory=list)

    def add(self, reference: Array, build: Array) -> None:
        """Take in one image's scores [n] and [m]; of the build the best n count, or all where there are fewer."""
        self.reference.append(np.sort(reference)[::-1])
        self.build.append(np.sort(build)[::-1])

    @property
    def paired(self) -> tuple[Array, Array]:
        """The reference's scores and, rank by rank in each image, the build's; 0 where it has none."""
        right = [np.zeros(0)]
        for one, other in zip(self.reference, self.build, strict=True):
            best = other[: len(one)]
            right.append(np.concatenate([best, np.zeros(len(one) - len(best))]))
        return np.concatenate([np.zeros(0), *self.reference]), np.concatenate(right)


def judge_outputs(variant: str, outputs: Sequence[OutputFigures], scores: ScoreFigures | None) -> list[Finding]:
    """What is wrong with the outputs of the build `variant`; `scores` is None where outputs are no scores."""
    found = [_saturated(variant, one) for one in outputs if one.clipped >= CLIPPED]
    if scores is None:
        return [*(_constant(variant, one) for one in outputs if len(one.constant)), *found]
    dead = dead_scores(variant, scores)
    compressed = None if dead else compression(variant, scores)
    return [*(one for one in (dead, compressed) if one), *found]


def dead_scores(variant: str, scores: ScoreFigures) -> Finding | None:
    """All scores of the build are below every confidence, or all the same, where the reference finds something."""
    expected = np.concatenate([np.zeros(0), *scores.reference])
    given = np.concatenate([np.zeros(0), *scores.build])
    alive = (len(given) > 1 and given.min() < given.max()) or (len(given) == 1 and len(expected) <= 1)
    if not len(expected) or alive:
        return None
    how = "all zero" if not len(given) else f"all {given[0]:.3g}"
    return Finding(
        "dead-scores",
        f"The {variant} scores are {how} where ONNX Runtime finds {len(expected)} candidates.",
        "The scores share a quantized tensor with far larger values, or were calibrated with images without objects.",
        "Cut the head in front of the point where its parts are joined; calibrate with images of the training.",
        {
            "variant": variant,
            "reference_candidates": len(expected),
            "build_candidates": len(given),
            "largest": float(expected.max()),
        },
    )


def _constant(variant: str, one: OutputFigures) -> Finding:
    dead, (reference, build) = one.constant, one.sides
    first, total = int(dead[0]), len(build.low)
    ends = (float(reference.low[dead].min()), float(reference.high[dead].max()))
    return Finding(
        "dead-scores",
        f"{len(dead)} of {total} channels of the {variant} output {one.name} are constant (channel {first}: "
        f"{build.low[first]:.3g}); ONNX Runtime gives {_range(ends)}.",
        "Their values share a quantized tensor with far larger ones, or vanished inside of the network.",
        "Take these parts in front of the point where they are joined with others; --dtype fp16 keeps them.",
        {
            "variant": variant,
            "output": one.name,
            "channels": len(dead),
            "of": total,
            "first": first,
            "reference": list(ends),
        },
    )


def compression(variant: str, scores: ScoreFigures) -> Finding | None:
    """The scores of what the reference finds shrink by a quarter or more at the middle."""
    expected, given = scores.paired
    if len(expected) < LEAST_SCORES:
        return None
    ratio = float(np.median(given / np.maximum(expected, np.finfo(np.float32).tiny)))
    if ratio >= COMPRESSED:
        return None
    middle = [float(np.median(side)) for side in (expected, given)]
    return Finding(
        "confidence-compression",
        f"The {variant} scores are compressed: the middle one falls from {middle[0]:.2f} to {middle[1]:.2f}.",
        "The layers before the scores have too few levels for them, mostly for want of fitting calibration images.",
        "Lower the deployed confidence to match, or quantize with other images or another --algorithm.",
        {
            "variant": variant,
            "ratio": round(ratio, 4),
            "scores": len(expected),
            "reference_histogram": np.histogram(expected, _BINS, (0, 1))[0].tolist(),
            "build_histogram": np.histogram(given, _BINS, (0, 1))[0].tolist(),
        },
    )


def _saturated(variant: str, one: OutputFigures) -> Finding:
    share = one.clipped
    reference, build = (side.ends for side in one.sides)
    return Finding(
        "saturated-output",
        f"{100 * share:.1f} % of the {variant} output {one.name} are clipped to {_range(build)}; "
        f"ONNX Runtime gives {_range(reference)}.",
        "No calibration image made this output as large as the measured images do.",
        "Calibrate with images like those that it will see, or with --algorithm normal.",
        {
            "variant": variant,
            "output": one.name,
            "share": round(share, 5),
            "build": list(build),
            "reference": list(reference),
        },
    )


def not_finite(variant: str, images: Sequence[str]) -> Finding | None:
    """NaN or infinity came out for some of the images."""
    if not images:
        return None
    return Finding(
        "not-finite",
        f"The {variant} outputs hold NaN or infinity for {len(images)} images, first {images[0]}.",
        "A value left the range of its type (65504 in FP16), or the weights themselves hold one.",
        "See fp16-overflow for the layer; convert to INT8, or train the network again with weight decay.",
        {"variant": variant, "images": len(images), "first": images[0]},
    )


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.3g} to {ends[1]:.3g}"
