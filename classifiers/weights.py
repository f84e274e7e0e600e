"""Match weights: what each episode of a history adds to the log-odds of each jurisdiction, by Bayes' rule.

An episode e happened at one place v, home c or, with chance tau, elsewhere:

    a(v)     product over gps, ip, domain of what each says, at place v
    l(c)     P(language | c)
    f(c)     what the phone says, the subject's own wherever it is
    P(e | c) = f(c) [ (1 - tau) a(c) l(c)
                      + tau rho l(c) sum_v q_v a(v)             a traveller writes
                      + tau (1 - rho) sum_v q_v a(v) l(v) ]     somebody at the place writes

Adding the families of an episode one after the other, the weight of each is the change of

    log2( sum of P(c | so far) over c in J  /  sum over all other c )

so the weights and the prior log-odds add up to the posterior log-odds: Bayes' rule over all episodes. A model
that labels have calibrated then multiplies every weight by its slope, and adds its intercept to the prior.

Beliefs are logarithms and every territory is summed relative to its own most likely country, so no number of
episodes can underflow. All sums run over the countries in order, one subject at a time: the result cannot
depend on what else is scored. Source of the model: docs/decisions/0130-one-place-an-episode.md.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from classifiers.model import Floats, ResidenceModel, Tables
from classifiers.observations import CODEBOOK, Codebook, Role
from classifiers.sequences import Integers, Sequences
from schemas.evidence import FAMILIES

_PLACE, _OWN = int(Role.PLACE), int(Role.OWN)


class Weights(NamedTuple):
    """Match weights of n rows (histories, or steps of one), F families and J jurisdictions, in bits."""

    prior: Floats
    """`(J,)` log2 of the prior odds."""
    gains: Floats
    """`(n, F, J)`."""
    rivals: npt.NDArray[np.int16]
    """`(histories, J)`: the likeliest country outside the jurisdiction at the end, index into COUNTRIES."""


def weigh_histories(
    histories: Sequences, patterns: Sequences, model: ResidenceModel, group: npt.NDArray[np.int16]
) -> Weights:
    """Weights of whole histories. `group`, `(C,)`, is 0 for countries of no jurisdiction, else 1 to J."""
    return _weigh(histories, patterns, model, group, False)


def weigh_steps(history: Integers, patterns: Sequences, model: ResidenceModel, group: npt.NDArray[np.int16]) -> Weights:
    """Weights of one history: `gains` has a row for each episode, and they add up to `weigh_histories`."""
    alone = Sequences(np.array([0, len(history)], np.int64), history)
    return _weigh(alone, patterns, model, group, True)


def _weigh(
    histories: Sequences,
    patterns: Sequences,
    model: ResidenceModel,
    group: npt.NDArray[np.int16],
    stepwise: bool,
) -> Weights:
    n, jurisdictions = len(histories.start) - 1, int(group.max())
    rows = len(histories.items) if stepwise else n
    weights = Weights(
        np.zeros(jurisdictions),
        np.zeros((rows, len(FAMILIES), jurisdictions)),
        np.zeros((n, jurisdictions), np.int16),
    )
    _weigh_all(histories, patterns, CODEBOOK, model.tables, group, weights, stepwise)
    return weights._replace(prior=weights.prior + model.intercept, gains=weights.gains * model.slope)


@numba.njit(nogil=True, cache=True)
def _weigh_all(
    histories: Sequences,
    patterns: Sequences,
    codebook: Codebook,
    tables: Tables,
    group: npt.NDArray[np.int16],
    weights: Weights,
    stepwise: bool,
) -> None:
    belief, likelihood = np.empty_like(tables.log_prior), np.ones_like(tables.log_prior)
    odds = np.empty_like(weights.prior)
    prior_share, prior_top = np.empty_like(belief), np.empty(len(odds) + 1)
    _relative(tables.log_prior, group, prior_share, prior_top)
    _log_odds(prior_share, prior_top, likelihood, group, weights.prior)
    share, top = np.empty_like(prior_share), np.empty_like(prior_top)
    for history in range(len(histories.start) - 1):
        belief[:] = tables.log_prior
        odds[:] = weights.prior
        share[:], top[:] = prior_share, prior_top
        for step in range(histories.start[history], histories.start[history + 1]):
            pattern = histories.items[step]
            codes = patterns.items[patterns.start[pattern] : patterns.start[pattern + 1]]
            if step > histories.start[history]:
                _relative(belief, group, share, top)
            row = step if stepwise else history
            _weigh_episode(codes, codebook, tables, share, top, group, odds, likelihood, weights.gains[row])
            for c in range(len(belief)):
                belief[c] += np.log2(likelihood[c])
        _find_rivals(belief, group, weights.rivals[history])


@numba.njit(nogil=True, cache=True)
def _weigh_episode(
    codes: Integers,
    codebook: Codebook,
    tables: Tables,
    share: Floats,
    top: Floats,
    group: npt.NDArray[np.int16],
    odds: Floats,
    likelihood: Floats,
    gains: Floats,
) -> None:
    """Add the families of one episode one by one: moves `odds`, adds to `gains`, leaves the `likelihood`."""
    place, text, own = np.ones_like(share), np.ones_like(share), np.ones_like(share)
    before = np.empty_like(odds)
    likelihood[:] = 1.0
    for at, code in enumerate(codes):
        if codebook.role[code] == _PLACE:
            place[codebook.value[code]] *= 1 + tables.boost[code]
        elif codebook.role[code] == _OWN:
            own[codebook.value[code]] *= 1 + tables.boost[code]
        else:
            text *= tables.text[code - tables.first_text]
            text /= text.max()  # a common factor, which changes no odds; any number of languages fits
        family = codebook.family[code]
        if at + 1 == len(codes) or codebook.family[codes[at + 1]] != family:
            episode_likelihood(place, text, own, tables, likelihood)
            before[:] = odds
            _log_odds(share, top, likelihood, group, odds)
            for j in range(len(odds)):
                gains[family, j] += odds[j] - before[j]


@numba.njit(nogil=True, cache=True)
def episode_likelihood(place: Floats, text: Floats, own: Floats, tables: Tables, likelihood: Floats) -> None:
    """P(e | c) of every country c, up to a common factor."""
    tau, rho = tables.tau, tables.rho
    anywhere = 0.0
    written_anywhere = 0.0
    for v in range(len(place)):
        anywhere += tables.away[v] * place[v]
        written_anywhere += tables.away[v] * place[v] * text[v]
    for c in range(len(place)):
        at_home_or_travelling = (1 - tau) * place[c] + tau * rho * anywhere
        likelihood[c] = own[c] * (text[c] * at_home_or_travelling + tau * (1 - rho) * written_anywhere)


@numba.njit(nogil=True, cache=True)
def _relative(belief: Floats, group: npt.NDArray[np.int16], share: Floats, top: Floats) -> None:
    """Beliefs as shares of the likeliest country of their own group; `top` is the logarithm of that."""
    top[:] = -np.inf
    for c in range(len(belief)):
        top[group[c]] = max(top[group[c]], belief[c])
    for c in range(len(belief)):
        share[c] = np.exp2(belief[c] - top[group[c]])


@numba.njit(nogil=True, cache=True)
def _log_odds(share: Floats, top: Floats, likelihood: Floats, group: npt.NDArray[np.int16], odds: Floats) -> None:
    """log2 of each jurisdiction's posterior against all other countries, without subtracting near equals."""
    level = np.zeros(len(top))
    for c in range(len(share)):
        level[group[c]] += share[c] * likelihood[c]
    for g in range(len(top)):
        level[g] = np.log2(level[g]) + top[g]
    for j in range(len(odds)):
        highest = -np.inf
        for g in range(len(level)):
            if g != j + 1:
                highest = max(highest, level[g])
        rivals = 0.0
        for g in range(len(level)):
            if g != j + 1:
                rivals += np.exp2(level[g] - highest)
        odds[j] = level[j + 1] - highest - np.log2(rivals)


@numba.njit(nogil=True, cache=True)
def _find_rivals(belief: Floats, group: npt.NDArray[np.int16], rivals: npt.NDArray[np.int16]) -> None:
    for j in range(len(rivals)):
        best = -1
        for c in range(len(belief)):
            if group[c] != j + 1 and (best < 0 or belief[c] > belief[best]):
                best = c
        rivals[j] = best
