import dataclasses
import math

import numpy as np
import pyarrow.compute as pc
import pytest

from classifiers.anchors import Anchors
from classifiers.em import fit
from classifiers.expectation import expect
from classifiers.model import ResidenceModel, load_model
from classifiers.observations import VALUES
from schemas.countries import COUNTRIES
from schemas.evidence import SIGNALS
from tests.estimate_world import draw_from_model, recast
from tests.residence_world import posterior_bits, small_model

SHIPPED = dataclasses.replace(load_model(), strength=math.inf)
"""With texts drawn anew, as those of `draw_from_model` are."""

TRUTH = recast(SHIPPED)
WEAKEST = Anchors(*[1e-9] * len(Anchors._fields))


def largest_errors(found: ResidenceModel, truth: ResidenceModel) -> dict[str, float]:
    errors = {
        name: np.abs(getattr(found, name) - getattr(truth, name)).max() for name in ("tau", "rho", "prior", "away")
    }
    for kind in SIGNALS:
        errors[kind.name] = np.abs(found.hit[kind.name] - truth.hit[kind.name]).max()
        errors[f"{kind.name} background"] = np.abs(found.background[kind.name] - truth.background[kind.name]).max()
    spoken = [COUNTRIES.index(code) for code in ("GB", "FR", "IT", "BE", "DE")]
    errors["speakers"] = np.abs(found.speakers[spoken] - truth.speakers[spoken]).max()
    return {name: float(error) for name, error in errors.items()}


@pytest.mark.parametrize("labelled", [0.0, 0.3])
def test_known_parameters_are_recovered(labelled: float) -> None:
    drawn = draw_from_model(TRUTH, 20_000, 5)
    known = np.random.default_rng(160).random(len(drawn.home)) < labelled
    errors = largest_errors(fit(drawn.histories(SHIPPED, known), SHIPPED).model, TRUTH)
    for name in ("tau", "rho", "prior", "away"):
        assert errors[name] < 0.02, name
    for name in ("gps", "ip", "domain", "phone background"):
        assert errors[name] < 0.03, name
    for name in ("language", "phone", "speakers"):
        assert errors[name] < 0.05, name


@pytest.mark.slow
def test_more_subjects_leave_smaller_errors() -> None:
    errors = largest_errors(fit(draw_from_model(TRUTH, 100_000, 5).histories(SHIPPED), SHIPPED).model, TRUTH)
    for name in ("tau", "rho", "prior", "away", "gps", "ip", "domain"):
        assert errors[name] < 0.01, name


@pytest.mark.parametrize("labelled", [0.0, 0.2])
@pytest.mark.parametrize("anchors", [Anchors(), WEAKEST])
def test_no_step_makes_the_data_less_likely(anchors: Anchors, labelled: float) -> None:
    drawn = draw_from_model(TRUTH, 1_500, 2)
    known = np.random.default_rng(160).random(len(drawn.home)) < labelled
    fitted = fit(drawn.histories(SHIPPED, known), SHIPPED, anchors)
    gains = np.diff(fitted.objective)
    assert len(gains) > 5
    assert gains.min() > -1e-9 * abs(fitted.log_likelihood)
    if anchors is WEAKEST:
        assert fitted.log_likelihood == pytest.approx(fitted.objective[-1], abs=0.1)


def test_what_the_data_likes_better_than_the_truth_is_close_to_it() -> None:
    data = draw_from_model(TRUTH, 5_000, 3).histories(SHIPPED)
    fitted = fit(data, SHIPPED)
    _, by_truth = expect(data, TRUTH)
    _, by_shipped = expect(data, SHIPPED)
    assert by_shipped < by_truth < fitted.log_likelihood < by_truth + 0.1 * (by_truth - by_shipped)


def test_what_is_expected_is_bayes_rule() -> None:
    speakers = {"GB": {"en": 1.0}, "FR": {"fr": 0.7, "en": 0.3}, "IT": {"it": 0.6, "en": 0.4}}
    model = small_model({"GB": 0.5, "FR": 0.3, "IT": 0.2}, hit=0.8, speakers=speakers)
    drawn = draw_from_model(model, 40, 1)
    total = np.zeros(3)
    for subject in range(40):
        rows = drawn.evidence.filter(pc.field("subject_id") == f"{subject:07d}")
        records = [
            {
                "month": row["month"],
                **{
                    kind.name: (VALUES[kind.name][row[f"{kind.name}_value"]], kind.levels[row[f"{kind.name}_level"]])
                    for kind in SIGNALS
                    if row[f"{kind.name}_value"] >= 0
                },
            }
            for row in rows.to_pylist()
        ]
        if any(len(record) > 1 for record in records):
            bits = np.array([posterior_bits(records, model, [code]) for code in ("GB", "FR", "IT")])
            total += 1 / (1 + np.exp2(-bits))
    expected, _ = expect(drawn.histories(model), model)
    assert expected.home[[COUNTRIES.index(code) for code in ("GB", "FR", "IT")]] == pytest.approx(total, abs=1e-6)
    assert expected.moves.sum() == pytest.approx(drawn.histories(model).episodes.sum())
    assert expected.place.sum() == pytest.approx(expected.moves[1:].sum())


def test_every_distribution_stays_one() -> None:
    found = fit(draw_from_model(TRUTH, 300, 4).histories(SHIPPED), SHIPPED).model
    for shares in (found.prior, found.away, *found.background.values(), *found.speakers):
        assert shares.sum() == pytest.approx(1)
        assert shares.min() >= 0
    assert min(found.prior.min(), found.away.min(), *(found.background[kind.name].min() for kind in SIGNALS)) > 1e-12


def test_strong_anchors_hold_what_they_anchor() -> None:
    start = dataclasses.replace(SHIPPED, tau=0.01)
    data = draw_from_model(TRUTH, 500, 4).histories(SHIPPED)
    assert fit(data, start, Anchors(tau=1e12)).model.tau == pytest.approx(0.01, abs=1e-6)
    assert fit(data, start).model.tau > 0.1


def test_a_level_that_never_speaks_keeps_its_chance() -> None:
    data = draw_from_model(TRUTH, 500, 4, {"gps": 0.5, "ip": 0.5, "language": 0.5}).histories(SHIPPED)
    found = fit(data, SHIPPED).model
    for name in ("domain", "phone"):
        assert found.hit[name] == pytest.approx(SHIPPED.hit[name])
        assert found.background[name] == pytest.approx(SHIPPED.background[name])


def test_the_same_histories_give_the_same_parameters() -> None:
    drawn = draw_from_model(TRUTH, 500, 4)
    one, other = (fit(drawn.histories(SHIPPED), SHIPPED) for _ in range(2))
    assert one.objective == other.objective
    assert np.array_equal(one.model.speakers, other.model.speakers)


def test_labels_alone_are_counted() -> None:
    drawn = draw_from_model(TRUTH, 4_000, 6, {})
    everybody = np.ones(len(drawn.home), np.bool_)
    data = drawn.histories(SHIPPED, everybody)
    found = fit(data, SHIPPED).model
    counts = np.bincount(drawn.home, minlength=len(COUNTRIES))
    assert found.prior == pytest.approx((counts + 20 * SHIPPED.prior) / (len(drawn.home) + 20), abs=1e-9)
    assert data.subjects.sum() == len(drawn.home)
