"""Bounds: the tables they are checked against, what must always hold, and their coverage by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from classifiers.bounds import (
    fewest_marked,
    lower_share,
    most_marked,
    residents_needed,
    sample_size,
    threshold_rank,
    upper_share,
)

REPETITIONS = 4000


def most_failures(delta: float, repetitions: int = REPETITIONS) -> int:
    """How many failures a bound of error `delta` may show before it is not believed: one chance in 10,000."""
    return int(stats.binom.ppf(0.9999, repetitions, delta))


@pytest.mark.parametrize(
    ("recall", "needed"), [(0.95, (59, 93, 124)), (0.90, (29, 46, 61)), (0.99, (299, 473, 628))], ids=str
)
def test_how_many_residents_a_threshold_needs(recall: float, needed: tuple[int, ...]) -> None:
    """The table that the design was made by."""
    assert tuple(residents_needed(recall, 0.05, misses) for misses in range(3)) == needed
    for misses, residents in enumerate(needed):
        rank, before = threshold_rank(residents, recall, 0.05), threshold_rank(residents - 1, recall, 0.05)
        assert rank == residents - misses
        assert before == (None if misses == 0 else residents - misses)


@pytest.mark.parametrize(
    ("found", "drawn", "upper"),
    [
        # Clopper and Pearson (1934) at 95 % one-sided, as any table of exact binomial limits gives them.
        (0, 10, 0.2589),
        (1, 10, 0.3942),
        (5, 10, 0.7776),
        (0, 100, 0.02951),
        (3, 100, 0.07571),
        (10, 1000, 0.01690),
    ],
)
def test_clopper_pearson(found: int, drawn: int, upper: float) -> None:
    assert upper_share(found, drawn, 0.05) == pytest.approx(upper, rel=1e-3)
    assert lower_share(drawn - found, drawn, 0.05) == pytest.approx(1 - upper, rel=1e-3)


def test_nothing_found_is_about_three_in_n() -> None:
    for drawn in (100, 1000, 10_000):
        assert upper_share(0, drawn, 0.05) == pytest.approx(1 - 0.05 ** (1 / drawn))
        assert upper_share(0, drawn, 0.05) * drawn == pytest.approx(3, rel=0.02)
    assert (upper_share(7, 7, 0.05), lower_share(0, 7, 0.05)) == (1, 0)


def test_how_many_labels_certify_a_recall() -> None:
    """Recall .95 at prevalence 3 %, power 90 %: about 4,800 labels if the truth is .99, 9,700 if it is .98."""
    prevalence = 0.03
    for truth, labels in ((0.99, 4800), (0.98, 9700)):
        kept = 1 - prevalence * truth
        allowed = prevalence * truth * 0.05 / 0.95
        drawn = sample_size(prevalence * (1 - truth) / kept, allowed / kept, 0.9, 0.05)
        assert drawn == pytest.approx(labels, rel=0.02)
        accepted = max(x for x in range(100) if upper_share(x, drawn, 0.05) <= allowed / kept)
        assert stats.binom.cdf(accepted, drawn, prevalence * (1 - truth) / kept) >= 0.9
    with pytest.raises(ValueError, match="never"):
        sample_size(0.02, 0.02, 0.9, 0.05)


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_a_finite_population_is_never_worse_and_a_census_leaves_no_doubt(data: st.DataObject) -> None:
    population = data.draw(st.integers(1, 400))
    drawn = data.draw(st.integers(0, population))
    found = data.draw(st.integers(0, drawn))
    delta = data.draw(st.sampled_from([0.1, 0.01, 0.001]))
    least, most = fewest_marked(found, drawn, population, delta), most_marked(found, drawn, population, delta)
    assert found <= least <= most <= population - (drawn - found)
    assert most <= max(population * upper_share(found, drawn, delta), found) + 1e-9
    if drawn == population:
        assert (least, most) == (found, found)
    if drawn == 0:
        assert (least, most) == (0, population)
    if most < population - (drawn - found):  # one more would make so few too unlikely
        assert stats.hypergeom.cdf(found, population, most + 1, drawn) <= delta


def test_the_bound_of_a_huge_population() -> None:
    assert most_marked(0, 5000, 10**10, 0.05) == int(10**10 * upper_share(0, 5000, 0.05))
    assert fewest_marked(5000, 5000, 10**10, 0.05) == 10**10 - most_marked(0, 5000, 10**10, 0.05)


@pytest.mark.parametrize(("population", "marked", "drawn"), [(500, 20, 200), (2000, 15, 600), (100_000, 900, 800)])
def test_coverage_of_the_bounds(population: int, marked: int, drawn: int) -> None:
    random = np.random.default_rng(population)
    found = random.hypergeometric(marked, population - marked, drawn, REPETITIONS).tolist()
    for delta in (0.1, 0.02):
        too_low = sum(most_marked(each, drawn, population, delta) < marked for each in found)
        too_high = sum(fewest_marked(each, drawn, population, delta) > marked for each in found)
        assert max(too_low, too_high) <= most_failures(delta)


@pytest.mark.parametrize(("residents", "recall", "delta"), [(59, 0.95, 0.05), (300, 0.9, 0.05), (1000, 0.8, 0.1)])
def test_coverage_of_the_threshold(residents: int, recall: float, delta: float) -> None:
    """QBCB: the threshold of a uniform sample flags `recall` of all residents in all but `delta` of the samples."""
    random = np.random.default_rng(residents)
    scores = np.sort(random.beta(2, 1, 20_000).round(4))  # with ties, as scores have
    rank = threshold_rank(residents, recall, delta)
    assert rank is not None
    sample = random.choice(scores, (REPETITIONS, residents))
    thresholds = np.partition(sample, residents - rank, axis=1)[:, residents - rank]
    flagged = 1 - np.searchsorted(scores, thresholds, side="left") / len(scores)
    failures = int((flagged < recall).sum())
    assert failures <= most_failures(delta)
    assert failures >= REPETITIONS * delta / 5  # nor is it so careful that it says nothing
