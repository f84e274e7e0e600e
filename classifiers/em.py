"""Fitting the residence model to histories, with or without known homes: expectation maximisation.

Every subject's home, every episode's place and author, and whether each observation is right, are what is not seen
(see the formula in `weights.py`). One step computes how often each is to be expected under the present parameters,
and takes the parameters at which those counts are likeliest. A known home is simply certain.

    P(c | history)   by Bayes' rule, over the patterns of the history
    stay, travel, friend   the three terms of P(e | c), in proportion
    place v          where it stayed; else q_v a(v), for a friend q_v a(v) l(v), in proportion
    drawn anew       a text in l that repeats none of the subject's: s P(l | c) against n_l
    right            an observation of v with h 1(x = v) + (1 - h) b(x): h against (1 - h) b(x)

Each parameter is anchored to the model that the fit starts from, as if so many observations had been made before
(Dirichlet and beta priors), which a few thousand subjects outweigh. The likelihood times those priors never falls.
Source: Dempster, Laird, Rubin 1977; the anchors as in Gauvain and Lee 1994 (MAP).

All sums run in the order of the histories, in double precision, by one thread: equal input gives equal parameters.
"""

import dataclasses
import math
from typing import NamedTuple

import numba
import numpy as np

from classifiers.histories import Histories
from classifiers.model import Floats, ResidenceModel, Tables
from classifiers.observations import CODEBOOK, CODES, N_CODES, ROLES, VALUES, Codebook, Role
from classifiers.sequences import Integers, Sequences, merge_equal
from classifiers.texts import NO_TEXTS, count_texts, repeated, write
from classifiers.weights import episode_likelihood
from schemas.countries import COUNTRIES, LANGUAGES
from schemas.evidence import SIGNALS, SignalKind

MOST_STEPS = 500
TOLERANCE = 1e-6
"""A step that gains less than this, in nats a subject, is the last."""

STRENGTHS = (1e3, 100.0, 30.0, 10.0, 5.0, 3.0, 2.0, 1.0)
"""Of the urn of languages, from hardly anybody who keeps a language to nearly everybody."""

LEAST_CHANCE, MOST_CHANCE = 1e-6, 1 - 1e-6

_PLACE, _OWN, _TEXT = int(Role.PLACE), int(Role.OWN), int(Role.TEXT)


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
    """`(L, C)` texts whose language is named right and repeats none of the subject's, by the country of the author."""


class Contexts(NamedTuple):
    """Every different pattern, and what earlier texts of the subject matter to it."""

    of_step: Integers
    """`(steps,)` of all histories, laid end to end."""
    told: Sequences
    """Pattern; earlier texts; of them, those in the language of each text of the pattern, in its order."""


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
    written now and then look the same; scoring uses the mixture of both, and that is fitted. How strong the urn of
    languages is stays as it is, too: see `likeliest_strength`. Second places and moves are left out here, as if there
    were none: see `second_places.py`.
    """
    anchors = anchors or Anchors()
    start = dataclasses.replace(start, digest="", slope=1.0, intercept=0.0)  # another model, not calibrated yet
    enough = TOLERANCE * max(int(data.subjects.sum()), 1)
    model, objective = _opened(start), list[float]()
    contexts = find_contexts(data, model)
    while True:
        expected, log_likelihood = _expect(data, contexts, model)
        objective.append(log_likelihood + log_anchors(model, start, anchors))
        if len(objective) > most_steps or (len(objective) > 1 and objective[-1] - objective[-2] < enough):
            return Fit(model, tuple(objective), log_likelihood)
        model = maximise(expected, start, anchors)


def likeliest_strength(data: Histories, model: ResidenceModel) -> float:
    """The likeliest of STRENGTHS, given all else; a model in which every text is drawn anew stays so."""
    if math.isinf(model.strength):
        return model.strength
    contexts = find_contexts(data, model)
    likelihoods = [_expect(data, contexts, dataclasses.replace(model, strength=s))[1] for s in STRENGTHS]
    return STRENGTHS[int(np.argmax(likelihoods))]


def expect(data: Histories, model: ResidenceModel) -> tuple[Expected, float]:
    """What to expect under the model, and the log-likelihood of the data in nats."""
    return _expect(data, find_contexts(data, model), model)


def find_contexts(data: Histories, model: ResidenceModel) -> Contexts:
    """Of all episodes; where every text is drawn anew, earlier ones are no matter."""
    start, items = _describe_steps(data, CODEBOOK, math.isfinite(model.strength))
    number, told = merge_equal(Sequences(start, items))
    return Contexts(number, told)


def _expect(data: Histories, contexts: Contexts, model: ResidenceModel) -> tuple[Expected, float]:
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


@numba.njit(nogil=True, cache=True)
def _describe_steps(data: Histories, codebook: Codebook, keeping: bool) -> tuple[Integers, Integers]:
    """`Contexts.told` of every step, as `start` and `items` of sequences."""
    patterns, steps = data.patterns, data.histories.items
    start = np.zeros(len(steps) + 1, np.int64)
    texts = NO_TEXTS.copy()
    items = np.empty(_count_items(data, codebook), np.int64)
    n = 0
    for history in range(len(data.histories.start) - 1):
        texts[:] = NO_TEXTS
        for at in range(data.histories.start[history], data.histories.start[history + 1]):
            pattern = ~steps[at] if steps[at] < 0 else steps[at]
            codes = patterns.items[patterns.start[pattern] : patterns.start[pattern + 1]]
            items[n] = pattern
            first = n + 2
            n = first
            for code in codes:
                if codebook.role[code] == _TEXT:
                    items[n] = texts[codebook.value[code]]
                    n += 1
            items[first - 1] = texts[-1] if n > first else 0
            start[at + 1] = n
            if keeping:
                count_texts(codes, codebook, texts)
    return start, items


@numba.njit(nogil=True, cache=True)
def _count_items(data: Histories, codebook: Codebook) -> int:
    n = 0
    for step in data.histories.items:
        pattern = ~step if step < 0 else step
        n += 2
        for code in data.patterns.items[data.patterns.start[pattern] : data.patterns.start[pattern + 1]]:
            n += codebook.role[code] == _TEXT
    return n


@numba.njit(nogil=True, cache=True)
def _recall(told: Integers, patterns: Sequences, codebook: Codebook, texts: Integers) -> Integers:
    """The codes of a context; lets `texts` say what matters to them."""
    codes = patterns.items[patterns.start[told[0]] : patterns.start[told[0] + 1]]
    texts[-1] = told[1]
    at = 2
    for code in codes:
        if codebook.role[code] == _TEXT:
            texts[codebook.value[code]] = told[at]
            at += 1
    return codes


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
        codes = _recall(told.items[told.start[context] : told.start[context + 1]], patterns, codebook, texts)
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
        codes = _recall(told.items[told.start[context] : told.start[context + 1]], patterns, codebook, texts)
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
