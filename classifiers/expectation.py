"""The E step of expectation maximisation: what is to be expected of histories under a model.

    P(c | history)   by Bayes' rule, over the patterns of the history
    stay, travel, friend   the three terms of P(e | c), in proportion
    place v          where it stayed; else q_v a(v), for a friend q_v a(v) l(v), in proportion
    drawn anew       a text in l that repeats none of the subject's: s P(l | c) against n_l
    right            an observation of v with h 1(x = v) + (1 - h) b(x): h against (1 - h) b(x)

The terms are those of the formula in `weights.py`. Source: Dempster, Laird, Rubin 1977.
"""

from typing import NamedTuple

import numba
import numpy as np

from classifiers.contexts import Contexts, find_contexts, recall
from classifiers.histories import Histories
from classifiers.model import Floats, ResidenceModel, Tables
from classifiers.observations import CODEBOOK, N_CODES, ROLES, Codebook, Role
from classifiers.sequences import Integers, Sequences
from classifiers.texts import NO_TEXTS, repeated, write
from classifiers.weights import episode_likelihood
from schemas.countries import COUNTRIES, LANGUAGES
from schemas.evidence import SIGNALS

_PLACE, _OWN, _TEXT = int(Role.PLACE), int(Role.OWN), int(Role.TEXT)


class Expected(NamedTuple):
    """What is expected under some parameters, over C countries, N codes and L languages."""

    home: Floats
    """`(C,)` subjects that live there."""
    place: Floats
    """`(C,)` episodes that are away, by where they happened."""
    moves: Floats
    """Episodes at home; away and written by the subject; away and written by somebody there: `(3,)`."""
    seen: Floats
    """`(N,)` observations."""
    right: Floats
    """`(N,)` those that are right."""
    written: Floats
    """`(L, C)` texts whose language is named right and repeats none of the subject's, by the country of the author."""


def expect(data: Histories, model: ResidenceModel, contexts: Contexts | None = None) -> tuple[Expected, float]:
    """What to expect under the model, and the log-likelihood of the data in nats.

    `contexts` are those of the same data, for whoever has found them already: no step of a fit changes them.
    """
    contexts = contexts or find_contexts(data, model)
    tables, patterns = model.tables, data.patterns
    log_likelihood = np.empty((len(contexts.told.lengths), len(COUNTRIES)))
    _weigh_contexts(contexts.told, patterns, CODEBOOK, tables, _log_chance_level(model), log_likelihood)
    resident = np.zeros_like(log_likelihood)
    home = np.zeros(len(COUNTRIES))
    total = _place_subjects(data, contexts.of_step, np.log(model.prior), log_likelihood, resident, home)
    expected = Expected(
        home,
        np.zeros(len(COUNTRIES)),
        np.zeros(3),
        np.zeros(N_CODES),
        np.zeros(N_CODES),
        np.zeros((len(LANGUAGES), len(COUNTRIES))),
    )
    _explain_contexts(contexts.told, patterns, CODEBOOK, tables, model.trust, resident, expected)
    return expected, total


def _log_chance_level(model: ResidenceModel) -> Floats:
    """`(N,)`: what the likelihoods of `Tables` were divided by, as logarithms."""
    parts = []
    for kind in SIGNALS:
        hit, background = model.hit[kind.name], model.background[kind.name]
        miss = np.ones_like(hit) if ROLES[kind.name] is Role.TEXT else 1 - hit
        parts.append(np.log(background[:, None] * miss).ravel())
    return np.concatenate(parts)


@numba.njit(nogil=True, cache=True)
def factors(
    codes: Integers,
    codebook: Codebook,
    tables: Tables,
    texts: Integers,
    place: Floats,
    text: Floats,
    local: Floats,
    own: Floats,
) -> float:
    """What one episode says of place, author and subject; returns the logarithm that `text` was divided by."""
    place[:] = 1.0
    text[:] = 1.0
    local[:] = 1.0
    own[:] = 1.0
    scale = 0.0
    for code in codes:
        if codebook.role[code] == _PLACE:
            place[codebook.value[code]] *= 1 + tables.boost[code]
        elif codebook.role[code] == _OWN:
            own[codebook.value[code]] *= 1 + tables.boost[code]
        else:
            scale += np.log(write(code, codebook.value[code], texts, tables, text, local))
    return scale


@numba.njit(nogil=True, cache=True)
def _weigh_contexts(
    told: Sequences,
    patterns: Sequences,
    codebook: Codebook,
    tables: Tables,
    log_chance: Floats,
    log_likelihood: Floats,
) -> None:
    """Logarithm of P(episode | c), one row for each context."""
    texts = NO_TEXTS.copy()
    place, own = np.empty_like(tables.away), np.empty_like(tables.away)
    text, local = np.empty_like(tables.away), np.empty_like(tables.away)
    for context in range(len(told.start) - 1):
        codes = recall(told.items[told.start[context] : told.start[context + 1]], patterns, codebook, texts)
        constant = factors(codes, codebook, tables, texts, place, text, local, own)
        for code in codes:
            constant += log_chance[code]
        row = log_likelihood[context]
        episode_likelihood(place, text, local, own, tables, row)
        for c in range(len(row)):
            row[c] = np.log(row[c]) + constant


@numba.njit(nogil=True, cache=True)
def _place_subjects(
    data: Histories, context: Integers, log_prior: Floats, log_likelihood: Floats, resident: Floats, home: Floats
) -> float:
    """Add P(c | history) to `home` for each subject, to `resident` for each episode's context; the log-likelihood."""
    start = data.histories.start
    belief = np.empty_like(log_prior)
    total = 0.0
    for history in range(len(start) - 1):
        subjects, known = data.subjects[history], data.home[history]
        belief[:] = log_prior
        for step in range(start[history], start[history + 1]):
            belief += log_likelihood[context[step]]
        if known >= 0:
            total += subjects * belief[known]
            belief[:] = 0.0
            belief[known] = subjects
        else:
            highest = belief.max()
            mass = 0.0
            for c in range(len(belief)):
                belief[c] = np.exp(belief[c] - highest)
                mass += belief[c]
            total += subjects * (highest + np.log(mass))
            belief *= subjects / mass
        home += belief
        for step in range(start[history], start[history + 1]):
            resident[context[step]] += belief
    return total


@numba.njit(nogil=True, cache=True)
def _explain_contexts(
    told: Sequences,
    patterns: Sequences,
    codebook: Codebook,
    tables: Tables,
    hit: Floats,
    resident: Floats,
    expected: Expected,
) -> None:
    """Split the episodes of each context, by the home of their subjects `(contexts, C)`, into what happened in them."""
    texts = NO_TEXTS.copy()
    tau, rho, away = tables.tau, tables.rho, tables.away
    place, own, text, local = np.empty_like(away), np.empty_like(away), np.empty_like(away), np.empty_like(away)
    happened, author, somebody = np.empty_like(away), np.empty_like(away), np.empty_like(away)
    for context in range(len(told.start) - 1):
        codes = recall(told.items[told.start[context] : told.start[context + 1]], patterns, codebook, texts)
        factors(codes, codebook, tables, texts, place, text, local, own)
        anywhere, written_anywhere = 0.0, 0.0
        for v in range(len(away)):
            anywhere += away[v] * place[v]
            written_anywhere += away[v] * place[v] * local[v]
        lives = resident[context]
        stays, travels, friends, episodes = 0.0, 0.0, 0.0, 0.0
        for c in range(len(away)):
            stay = (1 - tau) * place[c] * text[c]
            travel = tau * rho * text[c] * anywhere
            friend = tau * (1 - rho) * written_anywhere
            weight = lives[c] / (stay + travel + friend)
            happened[c] = weight * stay
            author[c] = weight * (stay + travel)
            stays += weight * stay
            travels += weight * travel
            friends += weight * friend
            episodes += lives[c]
        for v in range(len(away)):
            friend = friends * away[v] * place[v] * local[v] / written_anywhere
            elsewhere = travels * away[v] * place[v] / anywhere + friend
            happened[v] += elsewhere
            somebody[v] = friend
            expected.place[v] += elsewhere
        expected.moves[0] += stays
        expected.moves[1] += travels
        expected.moves[2] += friends
        for code in codes:
            expected.seen[code] += episodes
            if codebook.role[code] == _TEXT:
                language = codebook.value[code]
                ratio = tables.text[code - tables.first_text]
                again = repeated(code, language, texts, tables)
                misread = (1 - hit[code]) * (1 + tables.keeping * texts[-1])
                for c in range(len(away)):
                    own_text, other = author[c] / (ratio[c] + again), somebody[c] / ratio[c]
                    drawn = ratio[c] - (1 - hit[code])
                    expected.right[code] += own_text * (ratio[c] + again - misread) + other * drawn
                    expected.written[language, c] += (own_text + other) * drawn
            else:
                known = happened if codebook.role[code] == _PLACE else lives
                share = tables.boost[code] / (1 + tables.boost[code])
                expected.right[code] += known[codebook.value[code]] * share
