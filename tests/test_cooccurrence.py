import dataclasses
import math

import numpy as np
import pyarrow as pa
import pytest

from classifiers.anchors import Anchors
from classifiers.cooccurrence import Pair, compare_pairs
from classifiers.em import fit
from classifiers.model import ResidenceModel, load_model
from tests.estimate_world import Drawn, draw_from_model, recast
from tests.residence_world import small_model

SHIPPED = dataclasses.replace(load_model(), strength=math.inf)
"""With texts drawn anew, as those of `draw_from_model` are."""

TRUTH = recast(SHIPPED)
EVERYTHING = {"gps": 0.4, "ip": 0.6, "domain": 0.6, "language": 0.9, "phone": 0.2}


def pairs(drawn: Drawn, model: ResidenceModel) -> dict[str, Pair]:
    return {pair.name: pair for pair in compare_pairs(drawn.histories(model), model)}


def test_every_pair_is_compared_within_an_episode_and_between_two() -> None:
    found = pairs(draw_from_model(TRUTH, 500, 1, EVERYTHING), TRUTH)
    assert len(found) == 10 + 5
    assert list(found)[-5:] == [
        f"{name} x {name}, two episodes" for name in ("gps", "ip", "domain", "language", "phone")
    ]


def test_a_true_model_expects_what_is_observed() -> None:
    for pair in pairs(draw_from_model(TRUTH, 20_000, 1, EVERYTHING), TRUTH).values():
        assert abs(pair.observed - pair.fitted) < 4 * pair.error, pair
        assert not pair.alarming


def test_a_fitted_model_expects_what_is_observed() -> None:
    drawn = draw_from_model(TRUTH, 5_000, 2, EVERYTHING)
    found = pairs(drawn, fit(drawn.histories(SHIPPED), SHIPPED).model)
    assert [name for name, pair in found.items() if pair.alarming] == []


def test_a_worked_example() -> None:
    # Three places, tau 0, hit .9 and .9, background a third each: given x = FR, v = FR with chance .93333 / 1,
    # for P(x) = 1/3 at each home; then they agree with chance .93333^2 + 2 (.03333 * .03333) over 1.
    model = dataclasses.replace(small_model({"GB": 1 / 3, "FR": 1 / 3, "IT": 1 / 3}), tau=1e-6)
    drawn = draw_from_model(model, 3_000, 3, {"gps": 1.0, "domain": 1.0})
    drawn = drawn._replace(evidence=first_levels(drawn.evidence))
    pair = pairs(drawn, model)["gps x domain"]
    right, wrong = 0.9 + 0.1 / 3, 0.1 / 3
    assert pair.fitted == pytest.approx(right * right + 2 * wrong * wrong, abs=1e-4)
    assert pair.pairs == len(drawn.evidence)


def test_language_and_domain_taken_for_independent_raise_an_alarm() -> None:
    # Away from home nearly every text is a friend's, so page and text follow one place together.
    truth = dataclasses.replace(TRUTH, tau=0.4, rho=0.05)
    drawn = draw_from_model(truth, 10_000, 4)
    independent = dataclasses.replace(SHIPPED, rho=1 - 1e-6)
    wrong = fit(drawn.histories(SHIPPED), independent, Anchors(rho=1e12)).model
    found = pairs(drawn, wrong)
    assert found["domain x language"].alarming
    assert found["domain x language"].observed > found["domain x language"].fitted
    right = pairs(drawn, fit(drawn.histories(SHIPPED), SHIPPED).model)
    assert not right["domain x language"].alarming


def test_signals_that_move_together_raise_an_alarm_where_nobody_may_move() -> None:
    drawn = draw_from_model(TRUTH, 5_000, 5)
    settled = dataclasses.replace(SHIPPED, tau=1e-6)
    found = pairs(drawn, fit(drawn.histories(SHIPPED), settled, Anchors(tau=1e12)).model)
    for name in ("gps x ip", "gps x domain", "ip x domain"):
        assert found[name].alarming
        assert found[name].observed > found[name].fitted


def test_few_pairs_alarm_nobody() -> None:
    few = Pair(("gps", "ip"), True, 5, 0.4, 0.8, 0.18)
    assert not few.alarming
    assert few._replace(pairs=5000, error=0.0057).alarming


def test_subjects_with_very_many_episodes_are_left_out_between_episodes() -> None:
    drawn = draw_from_model(TRUTH, 50, 6)
    many = drawn.evidence.take(np.tile(np.arange(len(drawn.evidence)), 60))
    months = np.arange(len(many), dtype=np.int32)
    at = many.schema.get_field_index("month")
    many = many.set_column(at, many.schema.field("month"), [months])
    assert all(pair.within for pair in pairs(drawn._replace(evidence=many), TRUTH).values())


def first_levels(table: pa.Table) -> pa.Table:
    for name in ("gps", "domain"):
        at = table.schema.get_field_index(f"{name}_level")
        table = table.set_column(at, table.schema.field(at), [np.zeros(len(table), np.uint8)])
    return table
