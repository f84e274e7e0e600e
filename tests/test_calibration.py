import numpy as np
import pytest

from classifiers.calibration import FEWEST_LABELS, Calibration, find_calibration

Floats = np.ndarray


def labels(n: int, slope: float, intercept: float, seed: int) -> tuple[Floats, Floats, Floats, Floats]:
    """n labelled subjects of three jurisdictions whose weights are off by a slope and an intercept in bits."""
    random = np.random.default_rng(seed)
    prior = np.broadcast_to([-2.0, -1.0, 0.0], (n, 3))
    weight = random.normal(0, 3, (n, 3))
    chance = 1 / (1 + np.exp2(-(prior + intercept + slope * weight)))
    return prior, weight, random.random((n, 3)) < chance, np.ones(n, np.int64)


def calibrate(n: int, slope: float, intercept: float = 0.0, seed: int = 1) -> Calibration:
    found = find_calibration(*labels(n, slope, intercept, seed))
    assert found is not None
    return found


@pytest.mark.parametrize(("slope", "intercept"), [(0.6, 0.0), (1.0, 0.5), (1.4, -0.5)])
def test_a_known_slope_is_found(slope: float, intercept: float) -> None:
    found = calibrate(4_000, slope, intercept)
    assert found.slope == pytest.approx(slope, abs=0.08)
    assert found.intercept == pytest.approx(intercept, abs=0.15)
    assert found.warranted == (slope != 1.0)


def test_a_true_model_is_rarely_calibrated() -> None:
    warranted = [calibrate(400, 1.0, seed=seed).warranted for seed in range(100)]
    assert sum(warranted) <= 12  # 5 expected; 12 or more have a chance of .004


def test_the_interval_holds_the_slope_nineteen_times_in_twenty() -> None:
    found = [calibrate(400, 0.7, seed=seed) for seed in range(100)]
    assert sum(one.low <= 0.7 <= one.high for one in found) >= 88


def test_equal_subjects_may_be_counted() -> None:
    prior, weight, resident, subjects = labels(300, 0.7, 0.2, 5)
    once = find_calibration(*(np.concatenate([part, part]) for part in (prior, weight, resident, subjects)))
    assert find_calibration(prior, weight, resident, 2 * subjects) == pytest.approx(once)


def test_too_few_labels_or_all_alike_call_for_nothing() -> None:
    assert find_calibration(*labels(FEWEST_LABELS - 1, 0.5, 0.0, 1)) is None
    prior, weight, resident, subjects = labels(500, 0.5, 0.0, 1)
    assert find_calibration(prior, weight, np.zeros_like(resident), subjects) is None
    assert find_calibration(prior, np.zeros_like(weight), resident, subjects) is None


def test_labels_told_apart_without_error_call_for_nothing() -> None:
    prior, weight, _, subjects = labels(500, 1.0, 0.0, 1)
    assert find_calibration(prior, weight, weight > 0, subjects) is None
