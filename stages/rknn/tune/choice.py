"""Which try is taken, and which of them are not beaten in everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stages.rknn.tune.plan import LEAST_SHARE
from stages.rknn.tune.trial import Trial


def best(tried: Sequence[Trial]) -> Trial | None:
    """The cheapest that passed with enough of its cycles in INT8, else the cheapest that passed, else the nearest.

    One that is likely to pass counts where none passed.

    Cost is in the compiler's cycles; of equals, the smaller file counts. None where nothing could be built.
    """
    passed = [one for one in tried if one.verdict == "passed"] or [one for one in tried if one.verdict == "likely"]
    if passed:
        return min(passed, key=lambda one: (mixed(one), one.cycles or 0, one.size or 0))
    built = [one for one in tried if one.verdict == "failed"]
    return max(built, key=_accuracy, default=None)


def mixed(one: Trial) -> bool:
    """Whether less of it is INT8 than a build that is called so has."""
    return one.int8_share is not None and one.int8_share < LEAST_SHARE


def _accuracy(one: Trial) -> tuple[float, float]:
    lowest = float("-inf")
    return (
        lowest if one.accuracy is None else one.accuracy,
        lowest if one.snr_db is None else one.snr_db,
    )


def pareto(tried: Sequence[Trial]) -> list[dict[str, Any]]:
    """The measured tries that no other one beats: none is at least as good in all four figures and better in one."""
    measured = [one for one in tried if one.accuracy is not None and one.verdict in ("passed", "likely", "failed")]
    return [
        {
            "name": one.name,
            "metric": one.metric,
            "accuracy": one.accuracy,
            "size": one.size,
            "int8_share": one.int8_share,
            "cycles": one.cycles,
        }
        for one in measured
        if not any(_beats(other, one) for other in measured)
    ]


def _beats(one: Trial, other: Trial) -> bool:
    mine, its = _figures(one), _figures(other)
    return all(a >= b for a, b in zip(mine, its, strict=True)) and mine != its


def _figures(one: Trial) -> tuple[float, float, float, float]:
    """Accuracy, share of INT8, size and cycles, more being better in each."""
    return (one.accuracy or 0.0, one.int8_share or 0.0, -(one.size or 0), -(one.cycles or 0))
