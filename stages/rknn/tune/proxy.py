"""A cheap figure for how near a build is to the float network: the outputs on a few images, no labels needed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from stages.common.agreement import NEGLIGIBLE_ERROR

_SCORE_STEP = 1 / 255  # of a score from 0 to 1 in INT8
_NO_DIRECTION = 0.5  # cosine


def _differing(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The outputs whose difference says something.

    Not those whose difference is negligible, and not those that are silent: the scores of a scale that holds no object
    are less than a step of INT8, which leaves them no direction. All that differ, where all are silent.
    """
    differing = [row for row in rows if row["max_error"] is None or row["max_error"] > NEGLIGIBLE_ERROR]
    return [row for row in differing if not _silent(row)] or differing


def _silent(row: Mapping[str, Any]) -> bool:
    small = row["max_error"] is not None and row["max_error"] <= _SCORE_STEP
    return small and (row["cosine"] is None or row["cosine"] < _NO_DIRECTION)


def snr_db(rows: Iterable[Mapping[str, Any]]) -> float:
    """Signal-to-noise ratio of all outputs in decibels, from `comparison.outputs`, each output counting alike.

    An output that is noise alone, or holds NaN, counts as 0 dB; 100 where nothing differs.
    """
    noise = [1.0 if row["snr_db"] is None else min(1.0, 10 ** (-row["snr_db"] / 10)) for row in _differing(rows)]
    return round(-10 * math.log10(sum(noise) / len(noise)), 2) if noise else 100.0


def cosine(rows: Iterable[Mapping[str, Any]]) -> float:
    """The mean of the outputs' cosines; 1 where nothing differs, 0 for one that held NaN or infinity."""
    cosines = [row["cosine"] or 0.0 for row in _differing(rows)]
    return sum(cosines) / len(cosines) if cosines else 1.0


def pruned(rows: Iterable[Mapping[str, Any]], least: float | None) -> str:
    """Why a build's accuracy is not worth measuring: the proxy is below `least`. Empty where it is."""
    if least is None:
        return ""
    reached = snr_db(rows)
    if reached >= least:
        return ""
    return f"The outputs' signal-to-noise ratio is {reached:.1f} dB; by the builds that failed, {least:.1f} are needed."
