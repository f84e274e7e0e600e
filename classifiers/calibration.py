"""Calibration: whether weights of evidence say too much, or too little, of subjects whose home is known.

    M = W_0 + intercept + slope * sum of weights

A logistic regression of residence on the sum of the weights, with the prior log-odds W_0 as offset (Platt 1999, but
for the offset, which leaves a subject without evidence at the prior and not at a power of it). A slope below 1 means
that evidence counts too much. Being linear in the weights, it keeps every score the sum of its prior and its bars.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from classifiers.measures import reliability
from classifiers.model import LEAST_SLOPE, MOST_SLOPE, Floats
from classifiers.sequences import Integers

FEWEST_LABELS = 100
MOST_STEPS = 100
Z = 1.959964
"""Of an interval that holds the true slope 95 times in 100."""


class Calibration(NamedTuple):
    """The regression, with the 95 % interval of its slope."""

    slope: float
    intercept: float
    """Bits."""
    low: float
    high: float
    error_before: float
    """Expected calibration error on the labels, over all jurisdictions."""
    error_after: float
    labels: int

    @property
    def warranted(self) -> bool:
        """Whether 1 is outside the interval, the error gets smaller, and the slope is one that a model may have.

        Without the second, a few strong weights that are wrong would bend all the others, which were right.
        """
        off = not self.low <= 1 <= self.high
        return off and self.error_after < self.error_before and LEAST_SLOPE <= self.slope <= MOST_SLOPE


def find_calibration(
    prior: Floats, weight: Floats, resident: npt.NDArray[np.bool_], subjects: Integers
) -> Calibration | None:
    """The calibration of n kinds of subjects, `subjects` of each, for J jurisdictions together.

    `prior` and `weight`, log-odds and sums of weights in bits, and `resident` have shape `(n, J)`. None if labels are
    fewer than `FEWEST_LABELS`, all alike, or told apart without error: then no slope is likeliest.
    The interval is robust to a subject's jurisdictions depending on each other (Liang and Zeger 1986).
    """
    labels = int(subjects.sum())
    told = bool(resident.any()) and not bool(resident.all())
    if labels < FEWEST_LABELS or not told:
        return None
    design = np.stack([np.ones_like(weight), weight * np.log(2)], axis=-1)
    offset, counts = prior * np.log(2), subjects[:, None].astype(np.float64)
    found = np.array([0.0, 1.0])
    for _ in range(MOST_STEPS):
        chance = expit(offset + (design * found).sum(axis=-1))
        gradient = (design * (counts * (resident - chance))[..., None]).sum(axis=(0, 1))
        spread = (counts * chance * (1 - chance))[..., None, None]
        information = (design[..., :, None] * design[..., None, :] * spread).sum(axis=(0, 1))
        if np.linalg.det(information) < 1e-9:
            return None
        step = np.linalg.solve(information, gradient)
        found = found + step * min(1.0, 1 / max(float(np.abs(step).max()), 1e-12))
        if abs(found[1]) > 100:
            return None
        if np.abs(step).max() < 1e-10:
            break
    else:
        return None
    each = (design * (resident - chance)[..., None]).sum(axis=1)
    between = (each[:, :, None] * each[:, None, :] * counts[..., None]).sum(axis=0)
    inverse = np.linalg.inv(information)
    error = float(np.sqrt((inverse @ between @ inverse)[1, 1]))
    before, after = (
        reliability(p.ravel(), resident.ravel(), np.repeat(subjects, resident.shape[1])).error
        for p in (expit((prior + weight) * np.log(2)), chance)
    )
    slope, intercept = float(found[1]), float(found[0]) / float(np.log(2))
    return Calibration(slope, intercept, slope - Z * error, slope + Z * error, before, after, labels)
