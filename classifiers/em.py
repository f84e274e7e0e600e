"""Fitting the residence model to histories, with or without known homes: expectation maximisation.

Every subject's home, every episode's place and author, and whether each observation is right, are what is not seen
(see the formula in `weights.py`). One step computes how often each is to be expected under the present parameters,
and takes the parameters at which those counts are likeliest. A known home is simply certain.

    P(c | history)   by Bayes' rule, over the patterns of the history
    stay, travel, friend   the three terms of P(e | c), in proportion
    place v          where it stayed; else q_v a(v), for a friend q_v a(v) l(v), in proportion
    right            an observation of v with h 1(x = v) + (1 - h) b(x): h against (1 - h) b(x)

Each parameter is anchored to the model that the fit starts from, as if so many observations had been made before
(Dirichlet and beta priors), which a few thousand subjects outweigh. The likelihood times those priors never falls.
Source: Dempster, Laird, Rubin 1977; the anchors as in Gauvain and Lee 1994 (MAP).

All sums run in the order of the histories, in double precision, by one thread: equal input gives equal parameters.
"""

import dataclasses
from typing import NamedTuple

import numba
import numpy as np

from classifiers.histories import Histories
from classifiers.model import Floats, ResidenceModel, Tables
from classifiers.observations import CODEBOOK, CODES, N_CODES, ROLES, VALUES, Codebook, Role
from classifiers.sequences import Integers, Sequences
from classifiers.weights import episode_likelihood
from schemas.countries import COUNTRIES, LANGUAGES
from schemas.evidence import SIGNALS, SignalKind

MOST_STEPS = 500
TOLERANCE = 1e-6
"""A step that gains less than this, in nats a subject, is the last."""

LEAST_CHANCE, MOST_CHANCE = 1e-6, 1 - 1e-6

_PLACE, _OWN = int(Role.PLACE), int(Role.OWN)


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
    """`(L, C)` texts whose language is named right, by the country of the author."""


class Fit(NamedTuple):
    """A fitted model, and how it was reached."""

    model: ResidenceModel
    objective: tuple[float, ...]
    """Logarithm of the likelihood times the anchors, before every step, in nats: never falls."""
    log_likelihood: float
    """Of the data under the fitted model, in nats."""

    @property
    def steps(self) -> int:
        """How many steps it took."""
        return len(self.objective) - 1


def fit(data: Histories, start: ResidenceModel, anchors: Anchors | None = None, most_steps: int = MOST_STEPS) -> Fit:
    """The parameters at which the histories are likeliest, from those of `start`.

    Some things stay as they are. How often the surest level of a language is right, and what it shows where it is
    wrong, cannot be told from records: a country in which a language is named by mistake and one in which it is
    written now and then look the same; scoring uses the mixture of both, and that is fitted. Second places and moves
    are left out here, as if there were none: see `second_places.py`.
    """
    anchors = anchors or Anchors()
    start = dataclasses.replace(start, digest="", slope=1.0, intercept=0.0)  # another model, not calibrated yet
    enough = TOLERANCE * max(int(data.subjects.sum()), 1)
    model, objective = _opened(start), list[float]()
    while True:
        expected, log_likelihood = expect(data, model)
        objective.append(log_likelihood + log_anchors(model, start, anchors))
        if len(objective) > most_steps or (len(objective) > 1 and objective[-1] - objective[-2] < enough):
            return Fit(model, tuple(objective), log_likelihood)
        model = maximise(expected, start, anchors)


def expect(data: Histories, model: ResidenceModel) -> tuple[Expected, float]:
    """What to expect under the model, and the log-likelihood of the data in nats."""
    tables, patterns = model.tables, data.patterns
    log_likelihood = np.empty((len(patterns.lengths), len(COUNTRIES)))
    _weigh_patterns(patterns, CODEBOOK, tables, _log_chance_level(model), log_likelihood)
    resident = np.zeros_like(log_likelihood)
    home = np.zeros(len(COUNTRIES))
    total = _place_subjects(data, np.log(model.prior), log_likelihood, resident, home)
    expected = Expected(
        home,
        np.zeros(len(COUNTRIES)),
        np.zeros(3),
        np.zeros(N_CODES),
        np.zeros(N_CODES),
        np.zeros((len(LANGUAGES), len(COUNTRIES))),
    )
    _explain_patterns(patterns, CODEBOOK, tables, model.trust, _LANGUAGE_OF_CODE, resident, expected)
    return expected, total


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


OPENING = 0.02
"""Share of a country's texts that may be in any language at all when a fit starts: what has no share stays without."""


def _opened(model: ResidenceModel) -> ResidenceModel:
    speakers = (1 - OPENING) * model.speakers + OPENING * model.background["language"]
    return dataclasses.replace(model, speakers=speakers)


def _by_value_and_level(counts: Floats, kind: SignalKind) -> Floats:
    return counts[CODES[kind.name]].reshape(len(VALUES[kind.name]), len(kind.levels))


def _anchored(counts: Floats, shares: Floats, strength: float) -> Floats:
    """Shares by counts, as if `strength` more had been counted that are distributed as `shares`."""
    total = counts + strength * shares
    return np.asarray(total / total.sum(axis=-1, keepdims=True))


def _bounded(chances: Floats) -> Floats:
    return np.clip(chances, LEAST_CHANCE, MOST_CHANCE)


def _log_chance_level(model: ResidenceModel) -> Floats:
    """`(N,)`: what the likelihoods of `Tables` were divided by, as logarithms."""
    parts = []
    for kind in SIGNALS:
        hit, background = model.hit[kind.name], model.background[kind.name]
        miss = np.ones_like(hit) if ROLES[kind.name] is Role.TEXT else 1 - hit
        parts.append(np.log(background[:, None] * miss).ravel())
    return np.concatenate(parts)


_LANGUAGE_OF_CODE = np.where(CODEBOOK.role == Role.TEXT, CODEBOOK.value, -1).astype(np.int64)


@numba.njit(nogil=True, cache=True)
def factors(codes: Integers, codebook: Codebook, tables: Tables, place: Floats, text: Floats, own: Floats) -> float:
    """What one pattern says of place, author and subject; returns the logarithm that `text` was divided by."""
    place[:] = 1.0
    text[:] = 1.0
    own[:] = 1.0
    scale = 0.0
    for code in codes:
        if codebook.role[code] == _PLACE:
            place[codebook.value[code]] *= 1 + tables.boost[code]
        elif codebook.role[code] == _OWN:
            own[codebook.value[code]] *= 1 + tables.boost[code]
        else:
            text *= tables.text[code - tables.first_text]
            highest = text.max()
            text /= highest
            scale += np.log(highest)
    return scale


@numba.njit(nogil=True, cache=True)
def _weigh_patterns(
    patterns: Sequences, codebook: Codebook, tables: Tables, log_chance: Floats, log_likelihood: Floats
) -> None:
    """Logarithm of P(pattern | c), shape `(P, C)`."""
    place, text, own = np.empty_like(tables.away), np.empty_like(tables.away), np.empty_like(tables.away)
    for pattern in range(len(patterns.start) - 1):
        codes = patterns.items[patterns.start[pattern] : patterns.start[pattern + 1]]
        constant = factors(codes, codebook, tables, place, text, own)
        for code in codes:
            constant += log_chance[code]
        row = log_likelihood[pattern]
        episode_likelihood(place, text, own, tables, row)
        for c in range(len(row)):
            row[c] = np.log(row[c]) + constant


@numba.njit(nogil=True, cache=True)
def _place_subjects(
    data: Histories, log_prior: Floats, log_likelihood: Floats, resident: Floats, home: Floats
) -> float:
    """Add P(c | history) to `home` for each subject, to `resident` for each episode's pattern; the log-likelihood."""
    start, items = data.histories.start, np.where(data.histories.items < 0, ~data.histories.items, data.histories.items)
    belief = np.empty_like(log_prior)
    total = 0.0
    for history in range(len(start) - 1):
        subjects, known = data.subjects[history], data.home[history]
        belief[:] = log_prior
        for step in range(start[history], start[history + 1]):
            belief += log_likelihood[items[step]]
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
            resident[items[step]] += belief
    return total


@numba.njit(nogil=True, cache=True)
def _explain_patterns(
    patterns: Sequences,
    codebook: Codebook,
    tables: Tables,
    hit: Floats,
    language: Integers,
    resident: Floats,
    expected: Expected,
) -> None:
    """Split the episodes of each pattern, by the home of their subjects `(P, C)`, into what happened in them."""
    tau, rho, away = tables.tau, tables.rho, tables.away
    place, text, own = np.empty_like(away), np.empty_like(away), np.empty_like(away)
    happened, author = np.empty_like(away), np.empty_like(away)
    for pattern in range(len(patterns.start) - 1):
        codes = patterns.items[patterns.start[pattern] : patterns.start[pattern + 1]]
        factors(codes, codebook, tables, place, text, own)
        anywhere, written_anywhere = 0.0, 0.0
        for v in range(len(away)):
            anywhere += away[v] * place[v]
            written_anywhere += away[v] * place[v] * text[v]
        lives = resident[pattern]
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
            friend = friends * away[v] * place[v] * text[v] / written_anywhere
            elsewhere = travels * away[v] * place[v] / anywhere + friend
            happened[v] += elsewhere
            author[v] += friend
            expected.place[v] += elsewhere
        expected.moves[0] += stays
        expected.moves[1] += travels
        expected.moves[2] += friends
        for code in codes:
            expected.seen[code] += episodes
            if language[code] >= 0:
                ratio = tables.text[code - tables.first_text]
                for c in range(len(away)):
                    right = author[c] * (1 - (1 - hit[code]) / ratio[c])
                    expected.right[code] += right
                    expected.written[language[code], c] += right
            else:
                known = happened if codebook.role[code] == _PLACE else lives
                share = tables.boost[code] / (1 + tables.boost[code])
                expected.right[code] += known[codebook.value[code]] * share
