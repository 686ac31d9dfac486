"""Whether a calibration set is fit for INT8: like the images that are measured, apart from them, enough, full range.

Judged on prepared images, as the network gets them. The statistics are those that shift an activation's range:
brightness and contrast of each channel, and how rough the images are, which tells noise and drawings from photographs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.common.findings import Finding

FEWEST = 20  # Rockchip's advice is 20 to 100 images; ranges of fewer depend on which ones they are
APART = 2.0  # standard deviations between the means of both sets: there, their middles hardly overlap
SURE = 5.0  # standard errors, so that small sets are not called unlike by chance
LEAST_COMPARED = 4  # images on each side that a spread can be told of
BLACK, WHITE = 0, 255
_ROWS = 64  # rows of an image that are looked at: statistics of all of them would be the same
_FLOORS = {"mean": 4.0, "contrast": 2.0, "roughness": 1.0}  # grey levels: what nobody would see is no difference


@dataclass(frozen=True)
class ImageFacts:
    """One prepared image: its statistics in grey levels, named alike for every image, and the extremes it reaches.

    reached: which of 0 and 255 every channel holds.
    """

    statistics: dict[str, float]
    reached: frozenset[int]


def facts(prepared: NDArray[np.uint8]) -> ImageFacts:
    """The facts of a prepared image uint8 [H, W, C]."""
    rows = prepared[:: max(len(prepared) // _ROWS, 1)].astype(np.float32)
    means, deviations = rows.mean(axis=(0, 1)), rows.std(axis=(0, 1))
    grey = rows.mean(axis=2)
    statistics = {f"mean of channel {channel}": float(value) for channel, value in enumerate(means)}
    statistics |= {f"contrast of channel {channel}": float(value) for channel, value in enumerate(deviations)}
    statistics["roughness"] = float(np.abs(np.diff(grey, axis=1)).mean())
    low, high = prepared.min(axis=(0, 1)), prepared.max(axis=(0, 1))
    reached = {value for value, held in ((BLACK, low == BLACK), (WHITE, high == WHITE)) if held.all()}
    return ImageFacts(statistics, frozenset(reached))


@dataclass(frozen=True)
class Difference:
    """One statistic of both sets: their means, and how far they lie apart in standard deviations and errors."""

    name: str
    calibration: float
    measured: float
    deviations: float
    errors: float

    @property
    def speaks(self) -> bool:
        """Whether the sets are unlike in this."""
        return self.deviations >= APART and self.errors >= SURE


def differences(calibration: Sequence[ImageFacts], measured: Sequence[ImageFacts]) -> list[Difference]:
    """Every statistic of both sets, the one that is farthest apart first; none where either set is too small."""
    if min(len(calibration), len(measured)) < LEAST_COMPARED:
        return []
    found = []
    for name in calibration[0].statistics:
        ours, theirs = (np.array([one.statistics[name] for one in side]) for side in (calibration, measured))
        floor = _FLOORS[name.split()[0]] ** 2
        spreads = [max(float(side.var(ddof=1)), floor) for side in (ours, theirs)]
        gap = abs(float(ours.mean()) - float(theirs.mean()))
        error = math.sqrt(spreads[0] / len(ours) + spreads[1] / len(theirs))
        deviations = gap / math.sqrt((spreads[0] + spreads[1]) / 2)
        found.append(Difference(name, float(ours.mean()), float(theirs.mean()), deviations, gap / error))
    return sorted(found, key=lambda one: -one.deviations)


def judge(calibration: Sequence[ImageFacts], measured: Sequence[ImageFacts], leaked: Sequence[str]) -> list[Finding]:
    """Everything that is wrong with a calibration set.

    `measured` are the images that accuracy is measured on (or some of them); `leaked` names calibration images that
    are among them, by content.
    """
    unlike = [one for one in differences(calibration, measured) if one.speaks]
    found = [_unlike(unlike)] if unlike else []
    found += [_leak(leaked, len(calibration))] if leaked else []
    found += [_few(len(calibration))] if len(calibration) < FEWEST else []
    missing = missing_extremes(calibration)
    return [*found, *([_range(missing)] if missing else [])]


def missing_extremes(calibration: Sequence[ImageFacts]) -> tuple[int, ...]:
    """Which of 0 and 255 no image reaches in every channel."""
    reached = frozenset[int]().union(*(one.reached for one in calibration))
    return tuple(value for value in (BLACK, WHITE) if value not in reached)


def _unlike(found: Sequence[Difference]) -> Finding:
    first = found[0]
    return Finding(
        "calibration-unlike",
        f"The calibration images are not like those that are measured: {first.name} is {first.calibration:.1f} "
        f"against {first.measured:.1f}, {first.deviations:.1f} standard deviations apart.",
        "INT8's ranges are taken from images of another kind, and fit this network's real input badly.",
        "Calibrate with images of the training split, or as the camera on the board gives them.",
        {
            "variant": "int8",
            "statistics": [
                {
                    "name": one.name,
                    "calibration": round(one.calibration, 3),
                    "measured": round(one.measured, 3),
                    "standard_deviations": round(one.deviations, 2),
                }
                for one in found
            ],
        },
    )


def _leak(names: Sequence[str], total: int) -> Finding:
    return Finding(
        "calibration-leak",
        f"{len(names)} of {total} calibration images are measured on too, first {names[0]}.",
        "INT8's ranges were fitted to images that accuracy is then measured on: it looks better than it is.",
        "List images of the training split for --dataset, or take them out of the val split.",
        {"variant": "int8", "images": len(names), "of": total, "first": list(names[:3])},
    )


def _few(count: int) -> Finding:
    return Finding(
        "calibration-few",
        f"INT8 is calibrated with {count} images; {FEWEST} are the least that Rockchip advises.",
        "The range of every activation is taken from these images alone.",
        f"Give {FEWEST} to 100 images of the training split.",
        {"variant": "int8", "images": count, "least": FEWEST},
    )


def _range(missing: Sequence[int]) -> Finding:
    values = " and ".join(str(value) for value in missing)
    return Finding(
        "calibration-range",
        f"No calibration image reaches {values} in every channel; the first one was given a black and a white pixel.",
        "The range of the calibration set is the input's: darker or brighter pixels would be clipped on the board.",
        "Nothing has to be done.",
        {"variant": "int8", "missing": list(missing)},
        "info",
    )
