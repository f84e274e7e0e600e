"""How good answers are, against known residence: discrimination, calibration, decisions.

Arguments are columns of shape `(n,)`. A row can stand for many subjects: `weight` says for how many, one each without
it; counts of equal rows then give the very figures of the rows themselves.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from classifiers.bounds import lower_share, upper_share

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

TENTHS = np.linspace(0.1, 0.9, 9)
"""Inner edges of ten bins of equal width."""

DELTA = 0.025
"""Chance of the truth beyond either end of an interval: 95 % of them hold it."""


class Share(NamedTuple):
    """`part` of `whole`."""

    part: int
    whole: int

    @property
    def value(self) -> float | None:
        """The share itself; a share of nothing is undefined."""
        return self.part / self.whole if self.whole else None

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper and Pearson's, that of all in whom the same could have been seen; 95 % of such intervals hold it."""
        return lower_share(self.part, self.whole, DELTA), upper_share(self.part, self.whole, DELTA)


class Decision(NamedTuple):
    """What a yes-or-no rule does to subjects, some of whom are residents."""

    flagged: int
    correct: int
    residents: int

    @classmethod
    def of(cls, flagged: Mask, resident: Mask, weight: Counts | None = None) -> "Decision":
        """Compare a rule with the truth."""
        return cls(*(_count(chosen, weight) for chosen in (flagged, flagged & resident, resident)))

    @property
    def precision(self) -> Share:
        """Residents among the flagged."""
        return Share(self.correct, self.flagged)

    @property
    def recall(self) -> Share:
        """Flagged among the residents."""
        return Share(self.correct, self.residents)


class Reliability(NamedTuple):
    """Bins of probability, shape `(B,)` each, the empty ones too: what was said, and what turned out."""

    subjects: Counts
    expected: Floats
    """Sum of the probabilities."""
    residents: Counts

    @property
    def error(self) -> float:
        """Expected calibration error: |mean probability - share of residents|, averaged over bins by their size."""
        subjects = int(self.subjects.sum())
        return float(np.abs(self.expected - self.residents).sum() / subjects) if subjects else float("nan")


def area_under_curve(score: Floats, positive: Mask, weight: Counts | None = None) -> float:
    """Chance that a positive has a higher score than a negative, ties counting half (Mann and Whitney 1947).

    NaN unless there are positives and negatives.
    """
    distinct, at = np.unique(score, return_inverse=True)
    n = np.ones(len(score), np.int64) if weight is None else weight
    positives, negatives = (np.bincount(at[side], n[side], len(distinct)) for side in (positive, ~positive))
    pairs = positives.sum() * negatives.sum()
    below = np.cumsum(negatives) - negatives / 2
    return float((positives * below).sum() / pairs) if pairs else float("nan")


def decide_by_score(score: Floats, positive: Mask, weight: Counts | None, correct: int) -> Decision:
    """Flag from the highest score down until `correct` positives are found, or all are.

    Equal scores come in random order: of the last ones, as many are flagged as are expected to hold what is missing
    (the interpolation of Davis and Goadrich 2006).
    """
    distinct, at = np.unique(score, return_inverse=True)
    n = np.ones(len(score), np.int64) if weight is None else weight
    flagged, found = (np.bincount(at, part, len(distinct))[::-1].cumsum() for part in (n, n * positive))
    positives = _count(positive, weight)
    correct = min(correct, positives)
    if not correct:
        return Decision(0, 0, positives)
    last = int(np.searchsorted(found, correct))
    before, there = (column[last - 1] if last else 0.0 for column in (flagged, found))
    share = (correct - there) / (found[last] - there)
    return Decision(int(np.ceil(before + share * (flagged[last] - before))), correct, positives)


def brier_score(probability: Floats, positive: Mask, weight: Counts | None = None) -> float:
    """Mean square of what the probabilities miss (Brier 1950)."""
    return float(np.average((probability - positive) ** 2, weights=weight)) if len(probability) else float("nan")


def reliability(
    probability: Floats, positive: Mask, weight: Counts | None = None, edges: Floats = TENTHS
) -> Reliability:
    """Put probabilities into bins; one equal to an inner edge belongs above it."""
    n = np.ones(len(probability), np.int64) if weight is None else weight
    at, bins = np.searchsorted(edges, probability, side="right"), len(edges) + 1
    subjects, residents = (np.bincount(at, part, bins).astype(np.int64) for part in (n, n * positive))
    return Reliability(subjects, np.bincount(at, n * probability, bins).astype(np.float64), residents)


def likely_count(expected: float) -> tuple[int, int]:
    """Between which numbers a count lies 95 times in 100 whose mean is `expected`.

    Of Poisson. A sum of unequal chances spreads less (Hoeffding 1956), so a count outside is a surprise indeed.
    """
    low, high = stats.poisson.ppf([DELTA, 1 - DELTA], expected)
    return int(max(low, 0)), int(max(high, 0))


def _count(chosen: Mask, weight: Counts | None) -> int:
    return int(chosen.sum() if weight is None else weight[chosen].sum())
