"""Match weights: what each episode of a history adds to the log-odds of each jurisdiction, by Bayes' rule.

An episode e happened at one place v, home c or, with chance tau, elsewhere:

    a(v)     product over gps, ip, domain of what each says, at place v
    l(c)     P(language | c)
    f(c)     what the phone says, the subject's own wherever it is
    P(e | c) = f(c) [ (1 - tau) a(c) l(c)
                      + tau rho l(c) sum_v q_v a(v)             a traveller writes
                      + tau (1 - rho) sum_v q_v a(v) l(v) ]     somebody at the place writes

Away places repeat: a second home, a year of study, a long holiday, a friend abroad who posts. With chance sigma q_s
a subject has a second place s, where it is for a share beta of the episodes that are no trips:

    P(e | c, s) = f(c) [ (1 - tau) (1 - beta) a(c) l(c) + (1 - tau) beta a(s) l(s) + trips, as above ]

What is written there speaks for that place alone. Many write one language wherever they are: with l(c) instead,
every further text of a minority would be proof that its country is the home and this one only the second place.
Only a place that signals name in two episodes or more can be told from trips, so only such places are tried.

A residence may change: before the first episode of each later month, a subject has moved with chance mu, to
anywhere as pi says. Hence the score is of where it lives now, and what older months said fades.

Adding the families of an episode one after the other, the weight of each is the change of

    log2( sum of P(c | so far) over c in J  /  sum over all other c )

where a chance of having moved brings this nearer to the prior, all weights so far shrink in proportion. So the
weights and the prior log-odds add up to the posterior log-odds: Bayes' rule over all episodes. A model that labels
have calibrated then multiplies every weight by its slope, and adds its intercept to the prior.

One subject is weighed at a time: the result cannot depend on what else is scored. Sources of the model:
docs/decisions/0130-one-place-an-episode.md, 0134-second-places.md, 0135-a-residence-may-change.md.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from classifiers.beliefs import Beliefs, add_up, find_rivals, log_odds, move, open_beliefs, restart, update
from classifiers.model import Floats, ResidenceModel, Tables
from classifiers.observations import CODEBOOK, Codebook, Role
from classifiers.sequences import Integers, Sequences
from schemas.evidence import FAMILIES

MOST_SECOND = 3
"""So many second places are tried at most."""

EVEN = 1e-9
"""Log-odds this near to the prior's count as equal to it."""

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
    """Weights of whole histories, sequences of steps as in `Episodes.steps`.

    `group`, `(C,)`, is 0 for countries of no jurisdiction, else 1 to J.
    """
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
    beliefs = open_beliefs(1 + MOST_SECOND, model.tables.log_prior, group)
    _weigh_all(histories, patterns, CODEBOOK, model.tables, beliefs, weights, stepwise)
    return weights._replace(prior=weights.prior + model.intercept, gains=weights.gains * model.slope)


@numba.njit(nogil=True, cache=True)
def _weigh_all(
    histories: Sequences,
    patterns: Sequences,
    codebook: Codebook,
    tables: Tables,
    beliefs: Beliefs,
    weights: Weights,
    stepwise: bool,
) -> None:
    restart(beliefs, 0, 1.0)
    log_odds(beliefs, 1, weights.prior)
    second = np.empty(MOST_SECOND, np.int64)
    for history in range(len(histories.start) - 1):
        steps = histories.items[histories.start[history] : histories.start[history + 1]]
        ways = 1 + _find_second_places(steps, patterns, codebook, tables, second)
        settled = 1.0
        for k in range(1, ways):
            chance = tables.second * tables.away[second[k - 1]]
            restart(beliefs, k, chance)
            settled -= chance
        restart(beliefs, 0, settled)
        gains = np.zeros((len(steps),) + weights.gains.shape[1:])
        _weigh_history(steps, patterns, codebook, tables, beliefs, second[: ways - 1], weights.prior, gains)
        for step in range(len(steps)):
            weights.gains[step if stepwise else history] += gains[step]
        find_rivals(beliefs, ways, weights.rivals[history])


@numba.njit(nogil=True, cache=True)
def _weigh_history(
    steps: Integers,
    patterns: Sequences,
    codebook: Codebook,
    tables: Tables,
    beliefs: Beliefs,
    second: Integers,
    prior: Floats,
    gains: Floats,
) -> None:
    """The weights of every step, `(steps, F, J)`, with what older ones have lost."""
    ways = 1 + len(second)
    odds, fade = prior.copy(), np.ones((len(steps), len(prior)))
    for i, step in enumerate(steps):
        if step < 0 and i > 0 and tables.move > 0:
            before = odds.copy()
            move(beliefs, ways, tables.move)
            log_odds(beliefs, ways, odds)
            for j in range(len(odds)):
                moved = before[j] - prior[j]
                fade[i, j] = (odds[j] - prior[j]) / moved if abs(moved) > EVEN else 1 - tables.move
        pattern = ~step if step < 0 else step
        codes = patterns.items[patterns.start[pattern] : patterns.start[pattern + 1]]
        _weigh_episode(codes, codebook, tables, beliefs, second, odds, gains[i])
    lost = np.ones(len(prior))
    for i in range(len(steps) - 1, -1, -1):
        gains[i] *= lost
        lost *= fade[i]


@numba.njit(nogil=True, cache=True)
def _weigh_episode(
    codes: Integers,
    codebook: Codebook,
    tables: Tables,
    beliefs: Beliefs,
    second: Integers,
    odds: Floats,
    gains: Floats,
) -> None:
    """Add the families of one episode one by one: moves `odds` and the beliefs, adds to `gains`."""
    ways, countries = 1 + len(second), len(beliefs.group)
    place, text, own = np.ones(countries), np.ones(countries), np.ones(countries)
    likelihood = np.empty((ways, countries))
    before = np.empty_like(odds)
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
            episode_likelihood(place, text, own, tables, likelihood[0])
            for k in range(1, ways):
                second_likelihood(place, text, own, tables, second[k - 1], likelihood[0], likelihood[k])
            add_up(beliefs, ways, likelihood)
            before[:] = odds
            log_odds(beliefs, ways, odds)
            for j in range(len(odds)):
                gains[family, j] += odds[j] - before[j]
    update(beliefs, ways, likelihood)


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
def second_likelihood(
    place: Floats, text: Floats, own: Floats, tables: Tables, second: int, settled: Floats, likelihood: Floats
) -> None:
    """P(e | c, second place): P(e | c), `settled`, with a share of what was at home now at the second place."""
    share = (1 - tables.tau) * tables.stay
    there = share * place[second] * text[second]
    for c in range(len(place)):
        likelihood[c] = settled[c] + own[c] * (there - share * place[c] * text[c])


@numba.njit(nogil=True, cache=True)
def _find_second_places(
    steps: Integers, patterns: Sequences, codebook: Codebook, tables: Tables, second: Integers
) -> int:
    """How many places are tried, and which: those named in most episodes, at least two, else in order."""
    if tables.second == 0 or len(steps) < 2:
        return 0
    named, last = np.zeros(len(tables.away), np.int64), np.full(len(tables.away), -1)
    for i, step in enumerate(steps):
        pattern = ~step if step < 0 else step
        for code in patterns.items[patterns.start[pattern] : patterns.start[pattern + 1]]:
            place = codebook.value[code]
            if codebook.role[code] == _PLACE and last[place] != i:
                named[place] += 1
                last[place] = i
    for found in range(len(second)):
        most = named.argmax()
        if named[most] < 2:
            return found
        second[found], named[most] = most, 0
    return len(second)
