"""What signals say together, observed and as the fitted model has it: where the two differ, the model is wrong.

A model can give every signal alone its due and still believe two proofs where there is one. That shows in pairs: how
often two signals of one episode agree, and how often one signal of two episodes of a subject does. Countries agree
when they are equal, a language and a country when it is the one most written there, two languages when equal.

The fitted chance is that of the second agreeing given what the first says, and given how each came to say it, so
that it does not matter in which countries a signal speaks most. Second places and moves are left out: an alarm
between two episodes says what trips do not explain.
"""

from typing import NamedTuple

import numba
import numpy as np

from classifiers.histories import Histories
from classifiers.model import Floats, ResidenceModel
from classifiers.observations import CODEBOOK, CODES, N_CODES, ROLES, Role
from classifiers.sequences import Integers, Sequences
from schemas.countries import COUNTRIES
from schemas.evidence import SIGNALS, SignalKind

ALARM_FROM = 0.2
"""Relative difference between observed and fitted, of agreements or of conflicts, that is worth an alarm."""

BEYOND_CHANCE = 4.0
"""Standard errors that the difference must have, so that few pairs do not alarm."""

MOST_EPISODES = 50
"""Subjects with more episodes are left out of the pairs between episodes."""

MOST_LEVELS = max(len(kind.levels) for kind in SIGNALS)


class Pair(NamedTuple):
    """Two signals of one episode, or one signal in two episodes of a subject."""

    signals: tuple[str, str]
    within: bool
    """Of one episode."""
    pairs: float
    """How many; between episodes, each subject counts once."""
    observed: float
    """Share of them that agree."""
    fitted: float
    error: float
    """Standard error of the observed share."""

    @property
    def name(self) -> str:
        """`gps x ip`, or `gps x gps, two episodes`."""
        return " x ".join(self.signals) + ("" if self.within else ", two episodes")

    @property
    def alarming(self) -> bool:
        """Whether observed and fitted differ, by more than chance, as the module says."""
        gap = abs(self.observed - self.fitted)
        rarer = min(self.fitted, 1 - self.fitted)
        return gap > ALARM_FROM * rarer and gap > BEYOND_CHANCE * self.error


def compare_pairs(data: Histories, model: ResidenceModel) -> list[Pair]:
    """Every pair of signals that occurs, in the order of SIGNALS; first those within an episode."""
    main = model.speakers.argmax(axis=1)
    meanings, shape = _meanings(), (2, len(SIGNALS), N_CODES, MOST_LEVELS)
    within, between = np.zeros(shape), np.zeros(shape)
    _count_within(data.patterns, data.episodes, meanings, main, within)
    _count_between(data, meanings, main, between)
    pairs = []
    for j, second in enumerate(SIGNALS):
        for i, first in enumerate(SIGNALS[: j + 1]):
            # A language is compared with what a country says, not the other way round.
            left, right = (second, first) if ROLES[first.name] is Role.TEXT else (first, second)
            counts = (between if i == j else within)[:, SIGNALS.index(right)]
            pairs.append(_compare(left, right, counts, model))
    return sorted((pair for pair in pairs if pair.pairs), key=lambda pair: not pair.within)


class _Meanings(NamedTuple):
    """`(N,)` columns: the signal, value and level of every code, and whether the value is a language."""

    signal: Integers
    value: Integers
    level: Integers
    is_text: Integers


def _meanings() -> _Meanings:
    """Of every code."""
    sizes = [CODES[kind.name].stop - CODES[kind.name].start for kind in SIGNALS]
    return _Meanings(
        np.repeat(np.arange(len(SIGNALS)), sizes),
        CODEBOOK.value.astype(np.int64),
        np.concatenate([np.arange(n) % len(kind.levels) for n, kind in zip(sizes, SIGNALS, strict=True)]),
        (CODEBOOK.role == Role.TEXT).astype(np.int64),
    )


def _compare(left: SignalKind, right: SignalKind, counts: Floats, model: ResidenceModel) -> Pair:
    """`counts`, `(2, N, levels)`: pairs, and those that agree, by the code of the left and the level of the right."""
    seen, agree = counts[:, CODES[left.name]].reshape(2, -1, len(left.levels), MOST_LEVELS)
    fitted = variance = 0.0
    for k, _ in enumerate(left.levels):
        for m, _ in enumerate(right.levels):
            if seen[:, k, m].any():
                chance = _agreement(left, k, right, m, model)
                fitted += float((seen[:, k, m] * chance).sum())
                variance += float((seen[:, k, m] * chance * (1 - chance)).sum())
    pairs = float(seen.sum())
    scale = max(pairs, 1.0)
    return Pair(
        (left.name, right.name),
        left is not right,
        pairs,
        float(agree.sum()) / scale,
        fitted / scale,
        variance**0.5 / scale,
    )


def _agreement(left: SignalKind, k: int, right: SignalKind, m: int, model: ResidenceModel) -> Floats:
    """`(values of left,)`: chance that the right signal agrees, given what the left one says."""
    says, agrees = _says(left, k, model), _says(right, m, model)
    if left is right and ROLES[right.name] is Role.TEXT:
        agrees = _says(right, m, model, again=1.0)
    if ROLES[right.name] is Role.TEXT and ROLES[left.name] is not Role.TEXT:
        agrees = agrees[:, model.speakers.argmax(axis=1)]
    diagonal, products = _joint_states(left, right, model)
    both = (diagonal[:, None] * says * agrees).sum(axis=0)
    alone = (diagonal[:, None] * says).sum(axis=0)
    for weight, first, second in products:
        one = weight * (first[:, None] * says).sum(axis=0)
        both += one * (second[:, None] * agrees).sum(axis=0)
        alone += one
    return np.asarray(both / alone)


def _says(kind: SignalKind, level: int, model: ResidenceModel, again: float = 0.0) -> Floats:
    """`(C, values)`: P(value | the country that the signal is a trace of, `again` earlier texts in that language)."""
    hit = float(model.hit[kind.name][level])
    truth = model.speakers if ROLES[kind.name] is Role.TEXT else np.eye(len(COUNTRIES))
    truth = (truth + again / model.strength) / (1 + again / model.strength)
    return np.asarray(hit * truth + (1 - hit) * model.background[kind.name])


def _joint_states(
    left: SignalKind, right: SignalKind, model: ResidenceModel
) -> tuple[Floats, list[tuple[float, Floats, Floats]]]:
    """Of which countries two signals are traces: `(C,)` chances that of the same one, and independent products."""
    pi, q, tau, rho = model.prior, model.away, model.tau, model.rho
    if left is right:
        away = {Role.PLACE: tau, Role.TEXT: tau * (1 - rho), Role.OWN: 0.0}[ROLES[left.name]]
        one = away * (1 - away)
        return (1 - away) ** 2 * pi, [(one, pi, q), (one, q, pi), (away**2, q, q)]
    roles = {ROLES[left.name], ROLES[right.name]}
    if roles == {Role.PLACE}:
        return (1 - tau) * pi + tau * q, []
    if roles == {Role.PLACE, Role.TEXT}:
        return (1 - tau) * pi + tau * (1 - rho) * q, [(tau * rho, q, pi)]
    if roles == {Role.PLACE, Role.OWN}:
        return (1 - tau) * pi, [(tau, q, pi)]
    return (1 - tau * (1 - rho)) * pi, [(tau * (1 - rho), pi, q)]


@numba.njit(nogil=True, cache=True)
def _agree(one: int, other: int, meanings: _Meanings, main: Integers) -> bool:
    if meanings.is_text[one] == meanings.is_text[other]:
        return bool(meanings.value[one] == meanings.value[other])
    country, language = (other, one) if meanings.is_text[one] else (one, other)
    return bool(main[meanings.value[country]] == meanings.value[language])


@numba.njit(nogil=True, cache=True)
def _count_within(patterns: Sequences, episodes: Integers, meanings: _Meanings, main: Integers, counts: Floats) -> None:
    """Add the pairs of different signals in one episode to `counts`, `(2, signals, N, levels)`."""
    for pattern in range(len(patterns.start) - 1):
        codes = patterns.items[patterns.start[pattern] : patterns.start[pattern + 1]]
        for left in codes:
            for right in codes:
                if meanings.signal[left] != meanings.signal[right]:
                    at = meanings.signal[right], left, meanings.level[right]
                    counts[0][at] += episodes[pattern]
                    if _agree(left, right, meanings, main):
                        counts[1][at] += episodes[pattern]


@numba.njit(nogil=True, cache=True)
def _count_between(data: Histories, meanings: _Meanings, main: Integers, counts: Floats) -> None:
    """Add the pairs of one signal in two episodes of a subject, both ways round; each subject counts once."""
    start, patterns = data.histories.start, data.patterns
    items = np.where(data.histories.items < 0, ~data.histories.items, data.histories.items)
    signals = counts.shape[1]
    for history in range(len(start) - 1):
        if start[history + 1] - start[history] > MOST_EPISODES:
            continue
        pairs = np.zeros(signals)
        for counting in (True, False):
            for one in range(start[history], start[history + 1]):
                for other in range(start[history], start[history + 1]):
                    if one == other:
                        continue
                    for left in patterns.items[patterns.start[items[one]] : patterns.start[items[one] + 1]]:
                        signal = meanings.signal[left]
                        for right in patterns.items[patterns.start[items[other]] : patterns.start[items[other] + 1]]:
                            if meanings.signal[right] != signal:
                                continue
                            if counting:
                                pairs[signal] += 1
                                continue
                            weight = data.subjects[history] / pairs[signal]
                            at = signal, left, meanings.level[right]
                            counts[0][at] += weight
                            if _agree(left, right, meanings, main):
                                counts[1][at] += weight
