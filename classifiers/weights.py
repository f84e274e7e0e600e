"""Match weights: what each episode of a history adds to the log-odds of each jurisdiction, by Bayes' rule.

An episode e happened at one place v, home c or, with chance tau, elsewhere:

    a(v)     product over gps, ip, domain of what each says, at place v
    l(c)     P(language | c), given the subject's earlier texts
    p(v)     P(language | v)
    f(c)     what the phone says, the subject's own wherever it is
    P(e | c) = f(c) [ (1 - tau) a(c) l(c)
                      + tau rho l(c) sum_v q_v a(v)             a traveller writes
                      + tau (1 - rho) sum_v q_v a(v) p(v) ]     somebody at the place writes

Away places repeat: a second home, a year of study, a long holiday, a friend abroad who posts. With chance sigma q_s
a subject has a second place s, where it is for a share beta of the episodes that are no trips:

    P(e | c, s) = f(c) [ (1 - tau) (1 - beta) a(c) l(c) + (1 - tau) beta a(s) l(s) + trips, as above ]

What is written there speaks for that place alone. Many write one language wherever they are: with l(c) instead,
every further text of a minority would be proof that its country is the home and this one only the second place.
Only a place that signals name in two episodes or more can be told from trips, so only such places are tried.

People keep their language: each text may repeat one of the texts that were seen of its subject before, rather than be
drawn from the languages of a country anew. Of n earlier ones, n_l in language l, and an urn of strength s,

    l(c) = ( s P(l | c) + n_l ) / ( s + n )

so the first text counts in full, and of many in one language each says less than the one before, wherever it is
written. Episodes count in their order: by month, then by their id.

A residence may change: before the first episode of each later month, a subject has moved with chance mu, to
anywhere as pi says. Hence the score is of where it lives now, and what older months said fades.

Adding the families of an episode one after the other, the weight of each is the change of

    log2( sum of P(c | so far) over c in J  /  sum over all other c )

where a chance of having moved brings this nearer to the prior, all weights so far shrink in proportion. So the
weights and the prior log-odds add up to the posterior log-odds: Bayes' rule over all episodes. A model that labels
have calibrated then multiplies every weight by its slope, and adds its intercept to the prior.

One subject is weighed at a time: the result cannot depend on what else is scored. Sources of the model:
docs/decisions/0130-one-place-an-episode.md, 0134-second-places.md, 0135-a-residence-may-change.md,
0137-people-keep-their-language.md.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from classifiers.beliefs import Beliefs, add_up, find_rivals, log_odds, move, open_beliefs, restart, update
from classifiers.model import Floats, ResidenceModel, Tables
from classifiers.observations import CODEBOOK, Codebook, Role
from classifiers.sequences import Integers, Sequences
from classifiers.texts import NO_TEXTS, count_texts, write
from schemas.evidence import FAMILIES

MOST_SECOND = 3
"""So many second places are tried at most."""

EVEN = 1e-9
"""Log-odds this near to the prior's count as equal to it."""

_PLACE, _OWN = int(Role.PLACE), int(Role.OWN)

# Of the kernels below: with error_model="numpy" no division is checked, since none can be by zero; inline="always" is
# for what is called for each history and episode, or else Numba counts some fifty references at every call.


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
    room = _make_room(len(group), jurisdictions, int(histories.lengths.max(initial=0)))
    _weigh_all(histories, patterns, CODEBOOK, model.tables, beliefs, weights, room, stepwise)
    return weights._replace(prior=weights.prior + model.intercept, gains=weights.gains * model.slope)


class Room(NamedTuple):
    """Where the kernels reckon: made once, so that nothing is allocated for an episode."""

    place: Floats
    """`(C,)`, like `text`, `local` and `own`: what an episode says, so far."""
    text: Floats
    local: Floats
    own: Floats
    likelihood: Floats
    """`(1 + MOST_SECOND, C)`."""
    texts: Integers
    """`(L + 1,)` of one history; see `texts.py`."""
    odds: Floats
    """`(J,)`, and before the present family `(J,)`."""
    before: Floats
    gains: Floats
    """`(steps, F, J)` of one history."""
    fade: Floats
    """`(steps, J)`."""
    second: Integers
    """`(MOST_SECOND,)`."""
    named: Integers
    """`(C,)`: in how many episodes a place is named, and in which one last."""
    last: Integers


def _make_room(countries: int, jurisdictions: int, steps: int) -> Room:
    return Room(
        np.ones(countries),
        np.ones(countries),
        np.ones(countries),
        np.ones(countries),
        np.empty((1 + MOST_SECOND, countries)),
        NO_TEXTS.copy(),
        np.empty(jurisdictions),
        np.empty(jurisdictions),
        np.empty((steps, len(FAMILIES), jurisdictions)),
        np.empty((steps, jurisdictions)),
        np.empty(MOST_SECOND, np.int64),
        np.empty(countries, np.int64),
        np.empty(countries, np.int64),
    )


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _weigh_all(
    histories: Sequences,
    patterns: Sequences,
    codebook: Codebook,
    tables: Tables,
    beliefs: Beliefs,
    weights: Weights,
    room: Room,
    stepwise: bool,
) -> None:
    restart(beliefs, 0, 1.0)
    log_odds(beliefs, 1, weights.prior)
    for history in range(len(histories.start) - 1):
        steps = histories.items[histories.start[history] : histories.start[history + 1]]
        ways = 1 + _find_second_places(steps, patterns, codebook, tables, room)
        settled = 1.0
        for k in range(1, ways):
            chance = tables.second * tables.away[room.second[k - 1]]
            restart(beliefs, k, chance)
            settled -= chance
        restart(beliefs, 0, settled)
        _weigh_history(steps, patterns, codebook, tables, beliefs, ways, weights.prior, room)
        for step in range(len(steps)):
            row = step if stepwise else history
            for family in range(room.gains.shape[1]):
                for j in range(room.gains.shape[2]):
                    weights.gains[row, family, j] += room.gains[step, family, j]
        find_rivals(beliefs, ways, weights.rivals[history])


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _weigh_history(
    steps: Integers,
    patterns: Sequences,
    codebook: Codebook,
    tables: Tables,
    beliefs: Beliefs,
    ways: int,
    prior: Floats,
    room: Room,
) -> None:
    """The weights of every step, in `room.gains`, with what older ones have lost."""
    odds, before, gains, fade = room.odds, room.before, room.gains, room.fade
    _copy(prior, odds)
    gains[: len(steps)] = 0.0
    fade[: len(steps)] = 1.0
    room.texts[:] = 0
    for i, step in enumerate(steps):
        if step < 0 and i > 0 and tables.move > 0:
            _copy(odds, before)
            move(beliefs, ways, tables.move)
            log_odds(beliefs, ways, odds)
            for j in range(len(odds)):
                moved = before[j] - prior[j]
                fade[i, j] = (odds[j] - prior[j]) / moved if abs(moved) > EVEN else 1 - tables.move
        pattern = ~step if step < 0 else step
        codes = patterns.items[patterns.start[pattern] : patterns.start[pattern + 1]]
        _weigh_episode(codes, codebook, tables, beliefs, ways, room, gains[i])
    lost = before
    lost[:] = 1.0
    for i in range(len(steps) - 1, -1, -1):
        for j in range(len(lost)):
            for family in range(gains.shape[1]):
                gains[i, family, j] *= lost[j]
            lost[j] *= fade[i, j]


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _weigh_episode(
    codes: Integers, codebook: Codebook, tables: Tables, beliefs: Beliefs, ways: int, room: Room, gains: Floats
) -> None:
    """Add the families of one episode one by one: moves the odds and the beliefs, adds to `gains`."""
    place, text, local, own, likelihood = room.place, room.text, room.local, room.own, room.likelihood
    odds, before = room.odds, room.before
    place[:] = 1.0
    text[:] = 1.0
    local[:] = 1.0
    own[:] = 1.0
    for at, code in enumerate(codes):
        if codebook.role[code] == _PLACE:
            place[codebook.value[code]] *= 1 + tables.boost[code]
        elif codebook.role[code] == _OWN:
            own[codebook.value[code]] *= 1 + tables.boost[code]
        else:
            write(code, codebook.value[code], room.texts, tables, text, local)
        family = codebook.family[code]
        if at + 1 == len(codes) or codebook.family[codes[at + 1]] != family:
            episode_likelihood(place, text, local, own, tables, likelihood[0])
            for k in range(1, ways):
                second_likelihood(place, text, own, tables, room.second[k - 1], likelihood[0], likelihood[k])
            add_up(beliefs, ways, likelihood)
            _copy(odds, before)
            log_odds(beliefs, ways, odds)
            for j in range(len(odds)):
                gains[family, j] += odds[j] - before[j]
    update(beliefs, ways, likelihood)
    count_texts(codes, codebook, room.texts)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def episode_likelihood(
    place: Floats, text: Floats, local: Floats, own: Floats, tables: Tables, likelihood: Floats
) -> None:
    """P(e | c) of every country c, up to a common factor."""
    tau, rho = tables.tau, tables.rho
    anywhere = 0.0
    written_anywhere = 0.0
    for v in range(len(place)):
        anywhere += tables.away[v] * place[v]
        written_anywhere += tables.away[v] * place[v] * local[v]
    for c in range(len(place)):
        at_home_or_travelling = (1 - tau) * place[c] + tau * rho * anywhere
        likelihood[c] = own[c] * (text[c] * at_home_or_travelling + tau * (1 - rho) * written_anywhere)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def second_likelihood(
    place: Floats,
    text: Floats,
    own: Floats,
    tables: Tables,
    second: int,
    settled: Floats,
    likelihood: Floats,
) -> None:
    """P(e | c, second place): P(e | c), `settled`, with a share of what was at home now at the second place."""
    share = (1 - tables.tau) * tables.stay
    there = share * place[second] * text[second]
    for c in range(len(place)):
        likelihood[c] = settled[c] + own[c] * (there - share * place[c] * text[c])


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _find_second_places(steps: Integers, patterns: Sequences, codebook: Codebook, tables: Tables, room: Room) -> int:
    """How many places are tried, and in `room` which: those named in most episodes, at least two, else in order."""
    if tables.second == 0 or len(steps) < 2:
        return 0
    second, named, last = room.second, room.named, room.last
    named[:] = 0
    last[:] = -1
    again = False
    for i, step in enumerate(steps):
        pattern = ~step if step < 0 else step
        for code in patterns.items[patterns.start[pattern] : patterns.start[pattern + 1]]:
            place = codebook.value[code]
            if codebook.role[code] == _PLACE and last[place] != i:
                again = again or named[place] > 0
                named[place] += 1
                last[place] = i
    found = 0
    while again and found < len(second):
        most = named.argmax()
        if named[most] < 2:
            break
        second[found], named[most] = most, 0
        found += 1
    return found


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _copy(values: Floats, into: Floats) -> None:
    """`into[:] = values`, without a check of shapes, which costs more than the copy."""
    for i in range(len(into)):
        into[i] = values[i]
