"""How many subjects have a second place, from histories: sigma of the formula in `weights.py`.

Given all other parameters, a history is by L_k / L_0 likelier with its second place at k than with none, and

    P(history) ~ 1 + sigma sum_k q_k (L_k / L_0 - 1)

Scoring tries only places that are named in two episodes or more. To count those who have one, it matters too who
was seen there once, or never: every place that is named is tried, and all others are taken together, as one of which
no signal speaks. A single episode says nothing of second places.

The logarithm of the product over all subjects is concave in sigma, so that there is one maximum. It is
anchored, as all else in `anchors.py` is: a fit starts from a sigma that is worth so many subjects.
"""

import dataclasses
from typing import NamedTuple

import numba
import numpy as np

from classifiers.expectation import factors
from classifiers.histories import Histories
from classifiers.model import Floats, ResidenceModel, Tables
from classifiers.observations import CODEBOOK, Codebook, Role
from classifiers.sequences import Integers, Sequences
from classifiers.texts import NO_TEXTS, count_texts
from classifiers.weights import episode_likelihood, second_likelihood

ANCHOR = 20.0
"""Subjects that the sigma a fit starts from is worth."""

LEAST, MOST = 1e-6, 0.9

MOST_NAMED = 8
"""So many places are tried at most, in the order in which they are named."""

LARGEST = 600.0
"""Of the logarithm of a ratio of likelihoods, in nats: beyond it nothing changes, and nothing overflows."""


_PLACE = int(Role.PLACE)


class Ratios(NamedTuple):
    """Of H histories and the K second places that are tried for each, the last being all others together."""

    likelihood: Floats
    """`(H, K)`: L_k / L_0; 1 where fewer places are tried."""
    chance: Floats
    """`(H, K)`: q_k, 0 where fewer places are tried."""

    @classmethod
    def unknown(cls, histories: int) -> "Ratios":
        """Nothing is known yet."""
        shape = (histories, MOST_NAMED + 1)
        return cls(np.ones(shape), np.zeros(shape))


def fit_second_places(data: Histories, model: ResidenceModel) -> ResidenceModel:
    """The model with the likeliest share of subjects who have a second place; one without any stays without."""
    if not model.second:
        return model
    ratios = Ratios.unknown(len(data.subjects))
    _compare(data, CODEBOOK, model.tables, np.log(model.prior), ratios)
    slope = (ratios.chance * (ratios.likelihood - 1)).sum(axis=1)

    def rises(sigma: float) -> bool:
        likelihood = float((data.subjects * slope / (1 + sigma * slope)).sum())
        return likelihood + ANCHOR * (model.second / sigma - (1 - model.second) / (1 - sigma)) > 0

    low, high = LEAST, MOST
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rises(middle) else (low, middle)
    return dataclasses.replace(model, second=low)


@numba.njit(nogil=True, cache=True)
def _compare(data: Histories, codebook: Codebook, tables: Tables, log_prior: Floats, ratios: Ratios) -> None:
    start, patterns, countries = data.histories.start, data.patterns, len(log_prior)
    place, own = np.empty(countries), np.empty(countries)
    text, local = np.empty(countries), np.empty(countries)
    likelihood, belief = np.empty((2 + MOST_NAMED, countries)), np.empty((2 + MOST_NAMED, countries))
    second, texts = np.empty(MOST_NAMED, np.int64), np.empty_like(NO_TEXTS)
    for history in range(len(start) - 1):
        steps = data.histories.items[start[history] : start[history + 1]]
        if len(steps) < 2:
            continue
        found = _name_places(steps, patterns, codebook, second)
        belief[:] = log_prior
        texts[:] = NO_TEXTS
        for step in steps:
            pattern = ~step if step < 0 else step
            codes = patterns.items[patterns.start[pattern] : patterns.start[pattern + 1]]
            factors(codes, codebook, tables, texts, place, text, local, own)
            count_texts(codes, codebook, texts)
            episode_likelihood(place, text, local, own, tables, likelihood[0])
            for k in range(found):
                second_likelihood(place, text, own, tables, second[k], likelihood[0], likelihood[1 + k])
            _unseen_likelihood(place, text, own, tables, likelihood[0], likelihood[1 + found])
            belief[: 2 + found] += np.log(likelihood[: 2 + found])
        settled = _log_total(belief[0], data.home[history])
        others = 1.0
        for k in range(found + 1):
            gain = _log_total(belief[1 + k], data.home[history]) - settled
            ratios.likelihood[history, k] = np.exp(min(gain, LARGEST))
            ratios.chance[history, k] = others if k == found else tables.away[second[k]]
            others -= ratios.chance[history, k]


@numba.njit(nogil=True, cache=True)
def _name_places(steps: Integers, patterns: Sequences, codebook: Codebook, named: Integers) -> int:
    """How many places the steps name, and which."""
    found = 0
    for step in steps:
        pattern = ~step if step < 0 else step
        for code in patterns.items[patterns.start[pattern] : patterns.start[pattern + 1]]:
            known = codebook.role[code] != _PLACE or found == len(named)
            for k in range(found):
                known = known or named[k] == codebook.value[code]
            if not known:
                named[found] = codebook.value[code]
                found += 1
    return found


@numba.njit(nogil=True, cache=True)
def _unseen_likelihood(
    place: Floats, text: Floats, own: Floats, tables: Tables, settled: Floats, likelihood: Floats
) -> None:
    """As `second_likelihood`, at a place that no signal names, where the text is that of anywhere."""
    there = (1 - tables.tau) * tables.stay
    written = (tables.away * text).sum()
    for c in range(len(place)):
        likelihood[c] = settled[c] + own[c] * there * (written - text[c] * place[c])


@numba.njit(nogil=True, cache=True)
def _log_total(belief: Floats, known: int) -> float:
    """Logarithm of the sum over all countries, or of the home that is known alone."""
    if known >= 0:
        return float(belief[known])
    highest = belief.max()
    return float(highest + np.log(np.exp(belief - highest).sum()))
