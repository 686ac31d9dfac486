"""A cheap figure for how near a build is to the float network: the outputs on a few images, no labels needed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from stages.common.agreement import NEGLIGIBLE_ERROR


def _differing(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The outputs whose difference is not negligible: others may hold next to nothing, which has no direction."""
    return [row for row in rows if row["max_error"] is None or row["max_error"] > NEGLIGIBLE_ERROR]


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
