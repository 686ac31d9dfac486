"""Figures of agreement, against numpy's and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stages.common import agreement


def test_figures_over_several_images_are_those_of_all_values_together() -> None:
    random = np.random.default_rng(2)
    images = [random.normal(0, 2, (2, 3, 4)).astype(np.float32) for _ in range(5)]
    others = [image + random.normal(0, 0.1, image.shape).astype(np.float32) for image in images]
    (row,) = agreement.compare_outputs([([a], [b]) for a, b in zip(images, others, strict=True)], ["out"])
    a, b = (np.concatenate([x.ravel() for x in side]).astype(np.float64) for side in (images, others))
    assert row["cosine"] == pytest.approx(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-12)
    assert row["max_error"] == np.abs(a - b).max()
    assert row["snr_db"] == pytest.approx(20 * math.log10(np.linalg.norm(a) / np.linalg.norm(a - b)), abs=1e-9)


def test_equal_arrays_have_no_noise() -> None:
    values = np.arange(6.0)
    assert agreement.snr_db(values, values) == math.inf
    assert agreement.cosine(values, values) == pytest.approx(1.0, abs=1e-12)
    (row,) = agreement.compare_outputs([([values], [values])], ["out"])
    assert row["snr_db"] is None
    assert row["max_error"] == 0
    assert agreement.agrees(row, 0.999)


def test_zeros_agree_with_zeros_only() -> None:
    assert agreement.cosine(np.zeros(3), np.zeros(3)) == 1.0
    assert agreement.cosine(np.zeros(3), np.ones(3)) == 0.0
    assert agreement.snr_db(np.zeros(3), np.ones(3)) == -math.inf


def test_the_direction_of_the_sign_counts() -> None:
    assert agreement.cosine(np.array([1.0, 2]), np.array([-1.0, -2])) == pytest.approx(-1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("first", [True, False])
def test_a_value_that_is_not_finite_never_agrees(bad: float, first: bool) -> None:
    good, broken = np.ones(4), np.array([1.0, bad, 1, 1])
    pairs = [([good], [broken]), ([good], [good])]
    (row,) = agreement.compare_outputs(pairs if first else pairs[::-1], ["out"])
    assert row["cosine"] is None
    assert not agreement.agrees(row, 0.0)


def test_outputs_that_are_all_but_zero_agree_by_their_error() -> None:
    tiny = np.full(8, 1e-7)
    (row,) = agreement.compare_outputs([([tiny], [tiny * np.array([1, -1] * 4)])], ["scores"])
    assert row["cosine"] == pytest.approx(0.0)
    assert agreement.agrees(row, 0.999)
    (row,) = agreement.compare_outputs([([np.full(8, 0.1)], [np.array([0.1, -0.1] * 4)])], ["scores"])
    assert not agreement.agrees(row, 0.999)


def test_arrays_of_different_shape_are_an_error() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        agreement.max_error(np.zeros((2, 3)), np.zeros((3, 2)))


def test_the_output_that_agrees_least_is_said_and_one_without_signal_is_not() -> None:
    silent = {"name": "scores_32", "cosine": 0.0, "max_error": 4e-6, "snr_db": 0.0}
    close = {"name": "boxes_8", "cosine": 0.99999, "max_error": 0.02, "snr_db": 50.0}
    off = {"name": "boxes_16", "cosine": 0.98, "max_error": 1.5, "snr_db": 14.0}
    broken = {"name": "boxes_32", "cosine": None, "max_error": None, "snr_db": None}
    assert agreement.in_words([silent]) == "no output differs by more than 1e-05"
    assert agreement.in_words([silent, close, off]).startswith("lowest cosine 0.98000")
    assert agreement.in_words([silent, off, broken]) == "boxes_32 held NaN or infinity"
