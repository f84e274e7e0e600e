"""A residence model for the records at hand: fitted to counted histories, checked, and written as a document.

histories (subjects that look alike, counted)
  └─ coverage         refuses below three signals: two that agree may both be wrong
       └─ em               parameters, with labels or without
            └─ calibration      where labels say that the weights are off
                 └─ cooccurrence     what the fitted model has wrong
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.anchors import Anchors
from classifiers.calibration import Calibration, find_calibration
from classifiers.cooccurrence import ALARM_FROM, Pair, compare_pairs
from classifiers.em import STRENGTHS, Fit, fit, likeliest_strength
from classifiers.histories import Histories, read_histories
from classifiers.model import ResidenceModel, parse_model
from classifiers.model_file import model_document
from classifiers.observations import CODES
from classifiers.residence import group_countries
from classifiers.second_places import ANCHOR as SECOND_ANCHOR
from classifiers.second_places import fit_second_places
from classifiers.sequences import Integers, Sequences
from classifiers.weights import weigh_histories
from schemas.countries import COUNTRIES, NONE
from schemas.errors import InputError
from schemas.evidence import SIGNALS

FEWEST_SIGNALS = 3
COVERED_FROM = 0.01
"""Share of the episodes that say anything in which a signal must speak to count as covered."""

FEWEST_SUBJECTS = 200
"""With evidence; below this, the anchors would be all that is estimated."""

Figures = dict[str, Any]


class Estimate(NamedTuple):
    """An estimated model as the document to write, and what there is to say about it, as JSON can hold it."""

    document: dict[str, Any]
    report: Figures


def estimate_model(
    counted: pa.Table, start: ResidenceModel, territories: Mapping[str, Sequence[str]], origin: str
) -> Estimate:
    """Estimate a model from merged HISTORIES, anchored to the model `start`.

    `territories`, as for scoring, are what a calibration is judged by; `origin` says in the document which subjects
    these are. Raises InputError if the histories hold too few subjects, or too few signals.
    """
    data = read_histories(counted)
    coverage = measure_coverage(data)
    refuse_thin(data, coverage)
    fitted = fit_all(data, start)
    calibration = cross_fitted_calibration(data, start, territories)
    model = fitted.model
    if calibration and calibration.warranted:
        model = dataclasses.replace(model, slope=calibration.slope, intercept=calibration.intercept)
    labels = int(data.subjects[data.home != NONE].sum())
    document = model_document(model, _sources(origin, start, fitted, labels, calibration))
    pairs = compare_pairs(data, fitted.model)
    report = {
        "subjects": int(pc.sum(counted["subjects"]).as_py() or 0),
        "subjects_with_evidence": int(data.subjects[data.histories.lengths > 0].sum()),
        "episodes": int(data.episodes.sum()),
        "histories": len(data.subjects),
        "labels": labels,
        "steps": fitted.steps,
        "log_likelihood": round(fitted.log_likelihood, 3),
        "coverage": {name: round(share, 4) for name, share in coverage.items()},
        "pairs": [_describe_pair(pair, data) for pair in pairs],
        "alarms": [_describe_alarm(pair) for pair in pairs if pair.alarming],
        "parameters": _changes(start, model, territories),
        "calibration": _describe_calibration(calibration),
        "model_digest": parse_model(document).digest,
        "start_digest": start.digest,
    }
    return Estimate(document, report)


def fit_all(data: Histories, start: ResidenceModel) -> Fit:
    """All parameters but the second places, as if there were none, and then how many there are.

    How strong the urn of languages is, is found given all else, and all else again given that.
    """
    fitted = fit(data, start)
    strength = likeliest_strength(data, fitted.model)
    if strength != start.strength:
        fitted = fit(data, dataclasses.replace(start, strength=strength))
    return fitted._replace(model=fit_second_places(data, fitted.model))


def measure_coverage(data: Histories) -> dict[str, float]:
    """Share of the episodes that say anything in which each signal speaks."""
    owner, codes = data.patterns.take(np.arange(len(data.patterns.lengths)))
    episodes = data.episodes
    total = max(int(episodes.sum()), 1)
    shares = {}
    for kind in SIGNALS:
        spoken = np.unique(owner[(codes >= CODES[kind.name].start) & (codes < CODES[kind.name].stop)])
        shares[kind.name] = float(episodes[spoken].sum()) / total
    return shares


def refuse_thin(data: Histories, coverage: Mapping[str, float]) -> None:
    """Raise InputError unless there are enough subjects, and three signals that speak of them."""
    subjects = int(data.subjects[data.histories.lengths > 0].sum())
    if subjects < FEWEST_SUBJECTS:
        raise InputError(
            f"{subjects} subjects have any evidence; a model is estimated from {FEWEST_SUBJECTS} or more. "
            "Score with the model that ships with lethe instead"
        )
    covered = [name for name, share in coverage.items() if share >= COVERED_FROM]
    if len(covered) < FEWEST_SIGNALS:
        missing = ", ".join(f"{name} ({share:.1%})" for name, share in coverage.items() if name not in covered)
        raise InputError(
            f"{len(covered)} of {len(SIGNALS)} signals have coverage ({', '.join(covered) or 'none'}), and a model can "
            f"only be estimated from {FEWEST_SIGNALS} or more: two that agree may both be wrong. Missing, with the "
            f"share of episodes in which they speak (at least {COVERED_FROM:.0%} is needed): {missing}. Give the job "
            "the columns and databases that they read, or score with the model that ships with lethe"
        )


def cross_fitted_calibration(
    data: Histories, start: ResidenceModel, territories: Mapping[str, Sequence[str]]
) -> Calibration | None:
    """The calibration that labels call for; each half of them judges a model fitted without it.

    None if the labels are too few or say too little; see `find_calibration`.
    """
    group = group_countries(territories)
    parts = []
    for half in (0, 1):
        judges, others = split_labels(data, half)
        judging = judges.home != NONE
        model = fit_all(others, start).model
        weights = weigh_histories(judges.histories, judges.patterns, model, group)
        prior = np.broadcast_to(weights.prior, (len(judges.home), len(weights.prior)))
        resident = group[judges.home][:, None] == np.arange(1, len(territories) + 1)
        found = (prior, weights.gains.sum(axis=1), resident, judges.subjects)
        parts.append([values[judging] for values in found])
        if not judging.any():
            return None
    prior, weight, resident, subjects = (np.concatenate(values) for values in zip(*parts, strict=True))
    return find_calibration(prior, weight, resident, subjects)


def split_labels(data: Histories, half: int) -> tuple[Histories, Histories]:
    """One half of the labelled subjects, and everybody with the homes of the other half alone known."""
    labelled = data.home != NONE
    odd = np.cumsum(data.subjects * labelled) - data.subjects * labelled
    # Of those who look alike and live alike every second one, counted on from those before.
    second = (odd + data.subjects) // 2 - odd // 2
    mine = np.where(labelled, second if half else data.subjects - second, 0)
    judges = data._replace(home=np.where(mine > 0, data.home, NONE), subjects=mine)
    twice = _twice(data.histories)
    home = np.concatenate([data.home, np.full(len(data.home), NONE)])
    return judges, Histories(twice, data.patterns, home, np.concatenate([data.subjects - mine, mine]))


def _twice(sequences: Sequences) -> Sequences:
    start: Integers = np.concatenate([sequences.start, sequences.start[1:] + sequences.start[-1]])
    return Sequences(start, np.concatenate([sequences.items, sequences.items]))


def _sources(
    origin: str, start: ResidenceModel, fitted: Fit, labels: int, calibration: Calibration | None
) -> dict[str, str]:
    anchors = Anchors()
    how = f"EM in {fitted.steps} steps on {origin}, {labels:,} of them labelled, from model {start.digest[:19]}"
    held = "; h of the surest level and the background stay as they were: records cannot tell them"
    sources = {
        "prior": f"{how}, worth {anchors.prior:g} subjects",
        "place": f"{how}, worth {anchors.tau:g} episodes; weights and rho {anchors.away:g} episodes away",
        "speakers": f"{how}, worth {anchors.speakers:g} texts a country",
        **{
            kind.name: f"{how}, worth {anchors.hit:g} observations a level and {anchors.background:g} wrong ones"
            for kind in SIGNALS
        },
    }
    strengths = ", ".join(f"{strength:g}" for strength in sorted(STRENGTHS))
    sources["own_language"] = f"likeliest of {strengths} on {origin}, given all else; all else then fitted again"
    sources["second_place"] = f"likeliest share, worth {SECOND_ANCHOR:g} subjects, given all else; stay not estimated"
    sources["move"] = f"not estimated: as in model {start.digest[:19]}"
    sources["language"] = f"{how}, worth {anchors.hit:g} observations a level{held}"
    if calibration:
        sources["calibration"] = (
            f"logistic regression on {calibration.labels:,} labels, each judging a model fitted without it: slope "
            f"{calibration.slope:.3f}, 95 % interval {calibration.low:.3f} to {calibration.high:.3f}; offset: the prior"
        )
    return sources


def _describe_pair(pair: Pair, data: Histories) -> Figures:
    return {
        "signals": list(pair.signals),
        "within_episode": pair.within,
        "pairs": round(pair.pairs),
        "overlap": round(pair.pairs / max(int((data.episodes if pair.within else data.subjects).sum()), 1), 4),
        "conflict": round(1 - pair.observed, 4),
        "fitted_conflict": round(1 - pair.fitted, 4),
        "alarm": pair.alarming,
    }


def _describe_alarm(pair: Pair) -> str:
    return (
        f"{pair.name}: {pair.observed:.1%} of {pair.pairs:,.0f} pairs agree, {pair.fitted:.1%} under the fitted model, "
        f"more than {ALARM_FROM:.0%} apart; the model takes for independent, or for shared, what is not"
    )


def _changes(start: ResidenceModel, model: ResidenceModel, territories: Mapping[str, Sequence[str]]) -> Figures:
    """Parameters before and after."""

    def both(before: float, after: float) -> list[float]:
        return [round(float(before), 5), round(float(after), 5)]

    def inside(shares: npt.NDArray[np.float64], codes: Sequence[str]) -> float:
        return float(shares[np.isin(COUNTRIES, list(codes))].sum())

    return {
        "tau": both(start.tau, model.tau),
        "rho": both(start.rho, model.rho),
        "second_place": both(start.second, model.second),
        **({"own_language": both(start.strength, model.strength)} if math.isfinite(start.strength) else {}),
        "prior": {
            name: both(inside(start.prior, codes), inside(model.prior, codes)) for name, codes in territories.items()
        },
        "hit": {
            kind.name: {
                level: both(start.hit[kind.name][i], model.hit[kind.name][i]) for i, level in enumerate(kind.levels)
            }
            for kind in SIGNALS
        },
    }


def _describe_calibration(calibration: Calibration | None) -> Figures | None:
    if calibration is None:
        return None
    figures = {name: round(float(value), 4) for name, value in calibration._asdict().items() if name != "labels"}
    return {**figures, "labels": calibration.labels, "applied": calibration.warranted}
