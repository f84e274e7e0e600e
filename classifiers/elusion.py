"""The elusion test: from labels of a blind sample to bounds of recall and precision, for one jurisdiction.

The population is cut into three groups, and each is sampled uniformly:

    erase     listed for erasure                               residents here are found
    review    waiting for a person                             residents here are found, if the person is right
    missed    kept, or without sufficient evidence             residents here eluded

    recall of the flagged = (erase + review) / (erase + review + missed)
    recall of the erased  =  erase           / (erase + review + missed)

The error `delta` is split over the bounds by `SPLIT`, so that all statements about a jurisdiction hold together.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from classifiers.bounds import fewest_marked, most_marked
from schemas.audits import GROUPS

SPLIT = {"missed": 1 / 2, "erase": 1 / 4, "review_least": 1 / 8, "review_most": 1 / 8}
"""Which share of the error each bound gets: most where most is at stake."""

_TWENTIETHS = 20


class Labelled(NamedTuple):
    """One group of the sample, once it is labelled."""

    population: int
    drawn: int
    residents: int
    unknown: int = 0
    """Drawn, and nobody can tell: no label, "cannot tell", or annotators who disagree. It counts against the audit."""

    @property
    def at_most(self) -> int:
        """Residents if all unknown are."""
        return self.residents + self.unknown

    @property
    def estimate(self) -> float:
        """Residents in the population as the labels suggest, leaving out the unknown; NaN if nothing else is there."""
        known = self.drawn - self.unknown
        if not self.population:
            return 0.0
        return self.population * self.residents / known if known else math.nan

    def scaled(self, factor: float) -> "Labelled":
        """A draw `factor` times as large from the same population, with the same shares in it."""
        drawn = min(math.ceil(self.drawn * factor), self.population)
        grown = drawn / max(self.drawn, 1)
        return self._replace(drawn=drawn, residents=round(self.residents * grown), unknown=round(self.unknown * grown))


@dataclass(frozen=True)
class Findings:
    """What the labels of one jurisdiction show; counts are subjects. Each bound is at its share of the error.

    `elusion_most` is the bound of the share of the missed group that are residents, `missed_most` that of their
    number, which the sensitivity of the annotators raises. `recall_most` and `precision_most` are
    the mirror images of `recall_least` and `precision_least`, what is unknown in the audit's favour: below the target,
    it has failed.
    """

    elusion_most: float
    missed_most: int
    erased_least: int
    review_least: int
    review_most: int
    recall: float
    recall_least: float
    recall_most: float
    erased_recall: float
    erased_recall_least: float
    precision: float | None
    precision_least: float | None
    precision_most: float | None


def judge_labels(groups: Mapping[str, Labelled], delta: float, sensitivity: float) -> Findings:
    """Bounds from the three groups of one jurisdiction, all of which hold together with chance `1 - delta` or more.

    Args:
        groups: by the names of `GROUPS`.
        delta: the error that this jurisdiction may have.
        sensitivity: a lower bound of the chance that the annotators call a resident one; 1 takes them at their word.

    """
    missed, erase, review = (groups[name] for name in GROUPS)
    eluded = most_marked(missed.at_most, missed.drawn, missed.population, delta * SPLIT["missed"])
    missed_most = min(math.ceil(eluded / sensitivity), missed.population)
    erased_least = fewest_marked(erase.residents, erase.drawn, erase.population, delta * SPLIT["erase"])
    review_least = fewest_marked(review.residents, review.drawn, review.population, delta * SPLIT["review_least"])
    review_most = most_marked(review.at_most, review.drawn, review.population, delta * SPLIT["review_most"])

    erased_most = most_marked(erase.at_most, erase.drawn, erase.population, delta * SPLIT["erase"])
    missed_least = fewest_marked(missed.residents, missed.drawn, missed.population, delta * SPLIT["missed"])
    found = erase.estimate + review.estimate
    return Findings(
        elusion_most=eluded / max(missed.population, 1),
        missed_most=missed_most,
        erased_least=erased_least,
        review_least=review_least,
        review_most=review_most,
        recall=_recall(found, missed.estimate),
        recall_least=_recall(erased_least + review_least, missed_most),
        recall_most=_recall(erased_most + review_most, missed_least),
        erased_recall=_recall(erase.estimate, review.estimate + missed.estimate),
        erased_recall_least=_recall(erased_least, review_most + missed_most),
        precision=erase.estimate / erase.population if erase.population else None,
        precision_least=erased_least / erase.population if erase.population else None,
        precision_most=erased_most / erase.population if erase.population else None,
    )


def _recall(found: float, missed: float) -> float:
    return found / (found + missed) if missed else 1.0


def allocate(
    populations: Mapping[str, int], expected: Mapping[str, float], n: int, delta: float, sensitivity: float
) -> dict[str, int]:
    """How many of n subjects to draw from each group: the split with the highest `recall_least` to be expected.

    All splits in twentieths are compared, at least one for every group, as the model expects their residents; what a
    small group cannot take goes to the others. Whatever the split, the bounds hold; a good one needs fewer labels.
    """
    best: tuple[float, dict[str, int]] | None = None
    for erase in range(1, _TWENTIETHS - 1):
        for review in range(1, _TWENTIETHS - erase):
            missed = _TWENTIETHS - erase - review
            drawn = _fill(populations, {"missed": missed, "erase": erase, "review": review}, n)
            predicted = predict(populations, expected, drawn)
            least = judge_labels(predicted, delta, sensitivity).recall_least
            if best is None or least > best[0]:
                best = least, drawn
    assert best is not None
    return best[1]


def predict(
    populations: Mapping[str, int], expected: Mapping[str, float], drawn: Mapping[str, int]
) -> dict[str, Labelled]:
    """The labels that a model which expects so many residents in each population would expect of a draw."""
    share = {name: expected[name] / max(populations[name], 1) for name in GROUPS}
    residents = {
        "missed": math.ceil(share["missed"] * drawn["missed"]),
        **{name: math.floor(share[name] * drawn[name]) for name in ("erase", "review")},
    }
    return {name: Labelled(populations[name], drawn[name], residents[name]) for name in GROUPS}


def _fill(populations: Mapping[str, int], parts: Mapping[str, int], n: int) -> dict[str, int]:
    drawn = {name: min(n * parts[name] // _TWENTIETHS, populations[name]) for name in GROUPS}
    for name in GROUPS:
        drawn[name] += min(n - sum(drawn.values()), populations[name] - drawn[name])
    return drawn


def accept_number(groups: Mapping[str, Labelled], target: float, delta: float, sensitivity: float) -> int | None:
    """How many residents may be found among the missed for `recall_least` to reach `target`; None: not even none.

    The other groups are as given: as the model expects them before, as they were labelled after.
    """
    missed = groups["missed"]
    low, high = -1, missed.drawn + 1
    while high - low > 1:
        found = (low + high) // 2
        trial = {**groups, "missed": missed._replace(residents=found, unknown=0)}
        passes = judge_labels(trial, delta, sensitivity).recall_least >= target
        low, high = (found, high) if passes else (low, found)
    return low if low >= 0 else None


def labels_needed(groups: Mapping[str, Labelled], target: float, delta: float, sensitivity: float) -> int | None:
    """How many labels in all would let `recall_least` reach `target`, if further ones are like these.

    None: not even labels of everybody would. A group of which nothing was drawn stays so.
    """

    def passes(factor: float) -> bool:
        trial = {name: group.scaled(factor) for name, group in groups.items()}
        return judge_labels(trial, delta, sensitivity).recall_least >= target

    low, high = 0.0, max((group.population / group.drawn for group in groups.values() if group.drawn), default=0.0)
    if not passes(high):
        return None
    while high - low > 0.005 * high:
        middle = math.sqrt(low * high) if low else high / 16
        low, high = (low, middle) if passes(middle) else (middle, high)
    return sum(group.scaled(high).drawn for group in groups.values())
