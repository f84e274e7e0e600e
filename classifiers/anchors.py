"""What a fit starts from, as if so many observations had been made before: Dirichlet and beta priors.

Each parameter is anchored to the model that the fit starts from; a few thousand subjects outweigh that.
Source: Gauvain and Lee 1994 (MAP estimation).
"""

from typing import NamedTuple

import numpy as np

from classifiers.model import Floats, ResidenceModel
from schemas.evidence import SIGNALS


class Anchors(NamedTuple):
    """How many observations the parameters that a fit starts from are worth."""

    prior: float = 20.0
    """Subjects."""
    tau: float = 20.0
    """Episodes."""
    rho: float = 20.0
    """Episodes away."""
    away: float = 20.0
    """Episodes away."""
    hit: float = 50.0
    """Observations, at each level of each signal."""
    background: float = 50.0
    """Wrong observations of each signal."""
    speakers: float = 30.0
    """Texts of each country."""


def log_anchors(model: ResidenceModel, anchor: ResidenceModel, anchors: Anchors) -> float:
    """Logarithm of the anchors' density at the model's parameters, in nats, up to a constant."""

    def log_density(shares: Floats, expected: Floats, strength: float) -> float:
        known = expected > 0
        return strength * float((expected[known] * np.log(shares[known])).sum())

    def log_chances(chances: Floats, expected: Floats, strength: float) -> float:
        return log_density(chances, expected, strength) + log_density(1 - chances, 1 - expected, strength)

    total = log_density(model.prior, anchor.prior, anchors.prior) + log_density(model.away, anchor.away, anchors.away)
    total += log_chances(np.array([model.tau]), np.array([anchor.tau]), anchors.tau)
    total += log_chances(np.array([model.rho]), np.array([anchor.rho]), anchors.rho)
    total += log_density(model.speakers, anchor.speakers, anchors.speakers)
    for kind in SIGNALS:
        total += log_chances(model.hit[kind.name], anchor.hit[kind.name], anchors.hit)
        total += log_density(model.background[kind.name], anchor.background[kind.name], anchors.background)
    return total
