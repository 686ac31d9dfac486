"""The cheap figure by which builds are pruned, from made-up comparisons."""

from __future__ import annotations

from typing import Any

import pytest

from stages.rknn.tune import proxy


def row(cosine: float | None, error: float | None, snr: float | None) -> dict[str, Any]:
    return {"name": "out", "cosine": cosine, "max_error": error, "snr_db": snr}


LOUD, SILENT = row(0.99, 1.0, 20.0), row(0.0, 0.001, 0.0)


def test_each_output_counts_alike_and_noise_alone_is_nothing() -> None:
    assert proxy.snr_db([LOUD, LOUD]) == 20.0
    assert proxy.snr_db([LOUD, row(0.1, 1.0, -30.0)]) == pytest.approx(2.97)
    assert proxy.snr_db([row(None, None, None)]) == 0.0
    assert proxy.cosine([LOUD, row(None, None, None)]) == 0.495


def test_what_does_not_differ_or_is_silent_says_nothing() -> None:
    assert (proxy.snr_db([]), proxy.cosine([])) == (100.0, 1.0)
    assert proxy.snr_db([LOUD, row(0.2, 1e-6, 1.0), SILENT]) == 20.0
    assert proxy.cosine([LOUD, SILENT]) == 0.99
    assert proxy.cosine([SILENT]) == 0.0  # all that there is


def test_a_build_is_pruned_below_the_bar_only() -> None:
    assert proxy.pruned([LOUD], None) == ""
    assert proxy.pruned([LOUD], 20.0) == ""
    assert "20.0 dB" in proxy.pruned([LOUD], 20.1)
