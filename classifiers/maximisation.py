"""The M step of expectation maximisation: the parameters at which what is expected is likeliest.

Every parameter is a share of counts, those of its anchor included: the mode of a Dirichlet or beta density.
Source: Dempster, Laird, Rubin 1977; Gauvain and Lee 1994.
"""

import dataclasses

import numpy as np

from classifiers.anchors import Anchors
from classifiers.expectation import Expected
from classifiers.model import Floats, ResidenceModel
from classifiers.observations import CODES, VALUES
from schemas.evidence import SIGNALS, SignalKind

LEAST_CHANCE, MOST_CHANCE = 1e-6, 1 - 1e-6


def maximise(expected: Expected, anchor: ResidenceModel, anchors: Anchors) -> ResidenceModel:
    """The parameters at which what is expected, and the anchors, are likeliest."""
    stays, travels, friends = expected.moves.tolist()
    away = travels + friends
    hit, background = dict[str, Floats](), dict[str, Floats]()
    for kind in SIGNALS:
        seen, right = (_by_value_and_level(counts, kind) for counts in (expected.seen, expected.right))
        hits, misses = right.sum(axis=0), (seen - right).sum(axis=1)
        hit[kind.name] = _bounded((hits + anchors.hit * anchor.hit[kind.name]) / (seen.sum(axis=0) + anchors.hit))
        background[kind.name] = _anchored(misses, anchor.background[kind.name], anchors.background)
    hit["language"][-1] = anchor.hit["language"][-1]
    background["language"] = anchor.background["language"]
    return dataclasses.replace(
        anchor,
        prior=_anchored(expected.home, anchor.prior, anchors.prior),
        tau=float(_bounded(np.array((away + anchors.tau * anchor.tau) / (stays + away + anchors.tau)))),
        rho=float(_bounded(np.array((travels + anchors.rho * anchor.rho) / (away + anchors.rho)))),
        away=_anchored(expected.place, anchor.away, anchors.away),
        hit=hit,
        background=background,
        speakers=_anchored(expected.written.T, anchor.speakers, anchors.speakers),
    )


def _by_value_and_level(counts: Floats, kind: SignalKind) -> Floats:
    return counts[CODES[kind.name]].reshape(len(VALUES[kind.name]), len(kind.levels))


def _anchored(counts: Floats, shares: Floats, strength: float) -> Floats:
    """Shares by counts, as if `strength` more had been counted that are distributed as `shares`."""
    total = counts + strength * shares
    return np.asarray(total / total.sum(axis=-1, keepdims=True))


def _bounded(chances: Floats) -> Floats:
    return np.clip(chances, LEAST_CHANCE, MOST_CHANCE)
