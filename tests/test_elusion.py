"""The elusion test: its formulas by hand, what makes it stricter, and its coverage by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.bounds import lower_share, most_marked, upper_share
from classifiers.elusion import (
    SPLIT,
    Labelled,
    accept_number,
    allocate,
    judge_labels,
    labels_needed,
    predict,
)
from schemas.audits import GROUPS
from tests.test_bounds import REPETITIONS, most_failures

BILLION = 10**9


def groups(missed: Labelled, erase: Labelled, review: Labelled | None = None) -> dict[str, Labelled]:
    return {"missed": missed, "erase": erase, "review": review or Labelled(0, 0, 0)}


def test_the_formulas_by_hand() -> None:
    """FN_U = N0 e_U / s_L, TP_L = N1 p_L, recall = TP_L / (TP_L + FN_U), with the error split over the bounds."""
    found = judge_labels(
        groups(Labelled(BILLION, 5000, 2), Labelled(30_000_000, 300, 297), Labelled(10_000_000, 200, 90)), 0.05, 0.9
    )
    eluded = upper_share(2, 5000, 0.025)
    missed = BILLION * eluded / 0.9
    erased = 30_000_000 * lower_share(297, 300, 0.0125)
    review = 10_000_000 * lower_share(90, 200, 0.00625)
    assert sum(SPLIT.values()) == 1
    assert found.elusion_most == pytest.approx(eluded)
    assert found.missed_most == pytest.approx(missed)
    assert found.erased_least == pytest.approx(erased)
    assert found.precision_least == pytest.approx(lower_share(297, 300, 0.0125))
    assert found.recall_least == pytest.approx((erased + review) / (erased + review + missed))
    waiting = 10_000_000 * upper_share(90, 200, 0.00625)
    assert found.erased_recall_least == pytest.approx(erased / (erased + waiting + missed))
    assert found.recall == pytest.approx(34_200_000 / 34_600_000)


def test_a_census_says_exactly_how_it_is() -> None:
    found = judge_labels(groups(Labelled(900, 900, 5), Labelled(80, 80, 76), Labelled(20, 20, 4)), 0.01, 1)
    assert found.recall_least == found.recall == found.recall_most == 80 / 85
    assert found.erased_recall_least == found.erased_recall == 76 / 85
    assert found.precision_least == found.precision == 76 / 80


def test_what_is_unknown_counts_against_the_audit_and_never_for_it() -> None:
    clear = judge_labels(groups(Labelled(10_000, 900, 3), Labelled(500, 200, 195)), 0.05, 1)
    doubt = judge_labels(groups(Labelled(10_000, 900, 3, 4), Labelled(500, 200, 190, 5)), 0.05, 1)
    assert doubt.recall_least < clear.recall_least
    assert doubt.precision_least is not None and clear.precision_least is not None
    assert doubt.precision_least < clear.precision_least
    assert (
        doubt.missed_most == judge_labels(groups(Labelled(10_000, 900, 7), Labelled(500, 200, 1)), 0.05, 1).missed_most
    )
    assert doubt.recall_most == clear.recall_most  # a failure is not to be blamed on them


def test_nobody_to_erase_and_nobody_missed() -> None:
    none = Labelled(0, 0, 0)
    assert judge_labels(groups(none, Labelled(10, 10, 10)), 0.05, 1).recall_least == 1
    found = judge_labels(groups(Labelled(100, 50, 1), none), 0.05, 1)
    assert (found.recall_least, found.precision, found.precision_least) == (0, None, None)
    assert math.isnan(judge_labels(groups(Labelled(100, 0, 0), Labelled(5, 5, 5)), 0.05, 1).recall)


@given(
    st.integers(0, 20),
    st.integers(0, 40),
    st.integers(0, 40),
    st.sampled_from([0.05, 0.01]),
    st.sampled_from([1.0, 0.853]),
)
@settings(deadline=None, max_examples=60)
def test_the_bounds_enclose_the_estimate_and_move_the_right_way(
    missed: int, erased: int, reviewed: int, delta: float, sensitivity: float
) -> None:
    def judge(found: int) -> dict[str, Labelled]:
        return groups(Labelled(3000, 400, found), Labelled(90, 40, erased), Labelled(70, 40, reviewed))

    result = judge_labels(judge(missed), delta, sensitivity)
    if erased + reviewed + missed:
        assert result.recall_least <= result.recall <= result.recall_most
    assert result.erased_recall_least <= result.recall_least
    assert judge_labels(judge(missed + 1), delta, sensitivity).recall_least <= result.recall_least
    assert judge_labels(judge(missed), delta / 2, sensitivity).recall_least <= result.recall_least


@pytest.mark.parametrize(
    ("missed", "erase", "review"),
    [
        ((3000, 12, 1500), (150, 145, 60), (60, 30, 25)),
        ((200_000, 300, 1200), (5000, 4900, 150), (2000, 700, 100)),
        ((5000, 1, 1000), (100, 100, 40), (1, 1, 1)),
        ((2000, 200, 300), (150, 90, 60), (100, 30, 40)),
    ],
    ids=["small", "large", "nearly all found", "much missed"],
)
def test_coverage_of_the_recall_bound(
    missed: tuple[int, int, int], erase: tuple[int, int, int], review: tuple[int, int, int]
) -> None:
    """Population, residents and draw of each group: no bound is wrong in more of 4,000 audits than it may be."""
    random = np.random.default_rng(missed[0])
    delta = 0.1
    draws = [
        random.hypergeometric(residents, population - residents, drawn, REPETITIONS).tolist()
        for population, residents, drawn in (missed, erase, review)
    ]
    truth = (erase[1] + review[1]) / (erase[1] + review[1] + missed[1])
    erased_truth = erase[1] / (erase[1] + review[1] + missed[1])
    wrong = {"recall": 0, "too low": 0, "erased": 0, "precision": 0, "any": 0}
    for found in zip(*draws, strict=True):
        labelled = [
            Labelled(of[0], of[2], residents) for of, residents in zip((missed, erase, review), found, strict=True)
        ]
        result = judge_labels(dict(zip(GROUPS, labelled, strict=True)), delta, 1)
        assert result.precision_least is not None
        failed = {
            "recall": result.recall_least > truth,
            "erased": result.erased_recall_least > erased_truth,
            "precision": result.precision_least > erase[1] / erase[0],
        }
        wrong["any"] += any(failed.values())
        wrong["too low"] += result.recall_most < truth
        for name, each in failed.items():
            wrong[name] += each
    assert max(wrong["any"], wrong["too low"]) <= most_failures(delta)
    assert wrong["precision"] <= most_failures(delta * SPLIT["erase"])


def test_the_bound_allows_for_annotators_who_miss_residents() -> None:
    """Annotators recognise 85 % of residents: the plain bound is wrong too often, the one that knows it is not."""
    random = np.random.default_rng(5)
    population, residents, drawn, delta = 20_000, 400, 1500, 0.1
    seen = random.hypergeometric(residents, population - residents, drawn, REPETITIONS)
    labelled = random.binomial(seen, 0.853).tolist()
    erase = Labelled(600, 600, 600)

    def failures(sensitivity: float) -> int:
        return sum(
            judge_labels(groups(Labelled(population, drawn, found), erase), delta, sensitivity).missed_most < residents
            for found in labelled
        )

    assert failures(0.853) <= most_failures(delta / 2)
    assert failures(1.0) > most_failures(delta / 2)


def test_the_accept_number_is_the_last_that_passes() -> None:
    planned = groups(Labelled(BILLION, 5000, 0), Labelled(30_000_000, 300, 300))
    accept = accept_number(planned, 0.9, 0.05, 1)
    assert accept is not None

    def passes(found: int) -> bool:
        trial = {**planned, "missed": planned["missed"]._replace(residents=found)}
        return judge_labels(trial, 0.05, 1).recall_least >= 0.9

    assert passes(accept) and not passes(accept + 1)
    assert accept_number(planned, 0.99, 0.05, 1) is None


def test_how_many_more_labels_are_needed() -> None:
    few = groups(Labelled(BILLION, 1000, 1), Labelled(30_000_000, 100, 98))
    assert judge_labels(few, 0.05, 1).recall_least < 0.9
    needed = labels_needed(few, 0.9, 0.05, 1)
    assert needed is not None and 1100 < needed < 100_000
    grown = {name: group.scaled(needed / 1100 * 1.01) for name, group in few.items()}
    assert judge_labels(grown, 0.05, 1).recall_least >= 0.9
    hopeless = groups(Labelled(BILLION, 1000, 10), Labelled(30_000_000, 100, 98))
    assert labels_needed(hopeless, 0.9, 0.05, 1) is None


@pytest.mark.parametrize(
    "strata",
    [
        [(13_500_000, 51_000), (3_700_000, 80_000), (2_840_000, 134_000)],
        [(900_000_000, 60_000), (60_000_000, 110_000), (10_000_000, 130_000)],
    ],
    ids=["demo", "few, mostly near the threshold"],
)
def test_one_bound_over_all_that_were_missed_beats_a_sum_over_strata(strata: list[tuple[int, int]]) -> None:
    """Bounds of several strata, each with its part of the error, add up to more than one bound over all of them."""
    n, delta = 3000, 0.01
    whole = sum(population for population, _ in strata)
    residents = sum(each for _, each in strata)
    together = most_marked(round(n * residents / whole), n, whole, delta)
    wanted = [population * math.sqrt(each / population + 1 / n) for population, each in strata]  # Neyman's allocation
    apart = 0
    for (population, each), weight in zip(strata, wanted, strict=True):
        drawn = round(n * weight / sum(wanted))
        apart += most_marked(round(drawn * each / population), drawn, population, delta / len(strata))
    assert residents < together < apart / 1.2


@pytest.mark.parametrize("n", [20, 500, 6000])
def test_the_allocation_spends_what_there_is_and_beats_an_even_one(n: int) -> None:
    populations = {"missed": 50_000, "erase": 1200, "review": 900}
    expected = {"missed": 60.0, "erase": 1180.0, "review": 300.0}
    drawn = allocate(populations, expected, n, 0.02, 1)
    assert sum(drawn.values()) == n
    assert all(1 <= drawn[name] <= populations[name] for name in GROUPS)
    even = {name: min(n // 3, populations[name]) for name in GROUPS}
    best, plain = (judge_labels(predict(populations, expected, split), 0.02, 1).recall_least for split in (drawn, even))
    assert best >= plain


def test_a_population_smaller_than_the_sample_is_labelled_whole() -> None:
    populations = {"missed": 90, "erase": 6, "review": 0}
    assert allocate(populations, {"missed": 1.0, "erase": 5.9, "review": 0.0}, 500, 0.05, 1) == populations
