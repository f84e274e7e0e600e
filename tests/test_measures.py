"""Measures against examples worked by hand; equal rows may be counted instead of repeated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.measures import (
    Decision,
    Share,
    area_under_curve,
    brier_score,
    likely_count,
    reliability,
)

ROWS = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.34, 0.9, 1.0]), st.booleans(), st.integers(1, 5)), min_size=1)


def test_area_under_the_curve_counts_ties_half() -> None:
    positive = np.array([True, True, False, False])
    assert area_under_curve(np.array([0.9, 0.8, 0.2, 0.1]), positive) == 1.0
    assert area_under_curve(np.array([0.5, 0.5, 0.5, 0.5]), positive) == 0.5
    assert area_under_curve(np.array([0.9, 0.2, 0.2, 0.1]), positive) == 3.5 / 4
    assert np.isnan(area_under_curve(np.array([0.9, 0.2]), np.array([True, True])))


@given(ROWS)
def test_the_area_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[float, bool, int]]) -> None:
    score, positive = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    pairs = [np.sign(a - b) for a, b in ((a, b) for a in score[positive] for b in score[~positive])]
    area = area_under_curve(score, positive)
    assert area == pytest.approx((np.mean(pairs) + 1) / 2) if pairs else np.isnan(area)


def test_brier_score_and_calibration_error() -> None:
    chance, positive = np.array([0.75, 0.75, 0.75, 0.25]), np.array([True, True, False, False])
    assert brier_score(chance, positive) == pytest.approx((2 * 0.0625 + 0.5625 + 0.0625) / 4)
    assert reliability(chance, positive).error == pytest.approx((3 * (0.75 - 2 / 3) + 0.25) / 4)
    assert reliability(np.array([0.0, 1.0]), np.array([False, True])).error == 0
    nobody = np.zeros(0), np.zeros(0, np.bool_)
    assert np.isnan(brier_score(*nobody)) and np.isnan(reliability(*nobody).error)


def test_every_probability_has_one_bin_and_an_edge_belongs_above_it() -> None:
    bins = reliability(np.array([0.0, 0.1, 0.95, 1.0]), np.array([False, True, True, True]))
    assert bins.subjects.tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert bins.residents.tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert bins.expected[-1] == pytest.approx(1.95)


@given(ROWS)
def test_counted_rows_measure_as_repeated_ones(rows: list[tuple[float, bool, int]]) -> None:
    chance, positive, times = (np.array(column) for column in zip(*rows, strict=True))
    again = np.repeat(chance, times), np.repeat(positive, times)
    assert area_under_curve(chance, positive, times) == pytest.approx(area_under_curve(*again), nan_ok=True)
    assert brier_score(chance, positive, times) == pytest.approx(brier_score(*again))
    assert reliability(chance, positive, times).error == pytest.approx(reliability(*again).error)
    assert Decision.of(chance > 0.3, positive, times) == Decision.of(again[0] > 0.3, again[1])


def test_a_share_comes_with_the_interval_of_clopper_and_pearson() -> None:
    decision = Decision.of(np.array([True, False, False, True]), np.array([True, True, True, False]))
    assert decision == Decision(flagged=2, correct=1, residents=3)
    assert (decision.precision.value, decision.recall.value) == (0.5, pytest.approx(1 / 3))
    # BETA.INV(.025, 81, 183) and BETA.INV(.975, 82, 182) of a spreadsheet.
    assert Share(81, 263).interval == pytest.approx((0.2527, 0.3676), abs=2e-4)
    assert Share(0, 10).interval == (0.0, pytest.approx(0.3085, abs=1e-4))
    assert Share(10, 10).interval == (pytest.approx(0.6915, abs=1e-4), 1.0)
    assert Share(0, 0) == (0, 0)
    assert Share(0, 0).value is None and Share(0, 0).interval == (0.0, 1.0)


def test_a_count_is_likely_within_its_poisson_interval() -> None:
    assert likely_count(0.0) == (0, 0)
    assert likely_count(1.1) == (0, 4)
    assert likely_count(60.6) == (46, 76)
