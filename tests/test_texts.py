"""People who keep their language: what the first text says, and what is left for the next ones to say."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.em import fit, likeliest_strength
from classifiers.explain import episode_details
from classifiers.model import ResidenceModel, load_model, parse_model
from classifiers.model_file import model_document
from classifiers.residence import score_subjects
from runners.demo_world import World
from schemas.errors import InputError
from schemas.evidence import SIGNALS
from tests.estimate_world import draw_from_model, draw_from_world, recast
from tests.residence_world import TERRITORIES, Record, make_evidence

SHIPPED = load_model()
ANEW = dataclasses.replace(SHIPPED, strength=math.inf)
"""Every text is drawn anew from the languages of its author's country."""

BLOCKS = ("prior", "place", "speakers", "own_language", "second_place", "move")


def chances(records: Sequence[Record], model: ResidenceModel = SHIPPED) -> dict[str, float]:
    table = score_subjects(make_evidence(records), model, TERRITORIES)
    return dict(zip(table["jurisdiction"].to_pylist(), table["probability"].to_pylist(), strict=True))


def weights_by_episode(records: Sequence[Record], jurisdiction: str, model: ResidenceModel = SHIPPED) -> list[int]:
    """Millibits of the family `publication`."""
    details = episode_details(make_evidence(records), dataclasses.replace(model, move=0.0), TERRITORIES).to_pylist()
    chosen = ("publication", jurisdiction)
    return [each["weight_mb"] for each in details if (each["family"], each["jurisdiction"]) == chosen]


def written(language: str, months: int, **signals: object) -> list[Record]:
    return [{"month": 24000 + 2 * i, "language": (language, "sure"), **signals} for i in range(months)]


def test_an_italian_speaker_in_britain_is_not_erased_for_italy() -> None:
    person = written("it", 3, ip=("GB", "residential"), domain="GB")
    found = chances(person)
    assert found["uk"] > 0.95
    assert found["it"] < 0.05
    assert chances(person, ANEW)["it"] > 0.95
    assert chances(written("it", 6, ip=("GB", "residential"), domain="GB"))["uk"] > found["uk"]


def test_an_italian_speaker_whose_places_are_doubtful_goes_to_a_person() -> None:
    person = written("it", 3, ip=("GB", "hosting"))
    assert chances(person, ANEW)["it"] > 0.95 > chances(person)["it"] > 0.05


def test_the_first_text_says_what_it_always_said() -> None:
    for records in (written("it", 1), written("it", 1, gps="GB"), [{"gps": "GB"}, *written("fr", 1, month=24005)]):
        assert chances(records) == chances(records, ANEW)


def test_texts_that_repeat_say_less_and_less() -> None:
    bits = weights_by_episode(written("it", 12), "it", dataclasses.replace(SHIPPED, strength=2.0))
    assert bits == sorted(bits, reverse=True)
    assert bits[0] > 3000
    assert 0 <= bits[-1] < 300
    anew = weights_by_episode(written("it", 3), "it", ANEW)
    assert bits[0] == anew[0]
    assert bits[2] < anew[2]


def test_another_language_after_many_of_one_still_tells() -> None:
    english = written("en", 5)
    assert chances([*english, *written("it", 1, month=24020)])["it"] > 2 * chances(english)["it"]


def test_a_model_without_the_block_draws_texts_anew() -> None:
    sources = dict.fromkeys([*BLOCKS, *(kind.name for kind in SIGNALS)], "test")
    document = model_document(SHIPPED, sources)
    assert parse_model(document).strength == SHIPPED.strength < math.inf
    del document["own_language"]
    without = parse_model(document)
    assert without.strength == math.inf
    assert "own_language" not in model_document(without, sources)
    records = written("it", 4, domain="GB")
    endless = dataclasses.replace(without, strength=1e15)
    assert chances(records, without) == pytest.approx(chances(records, endless), rel=1e-9)


@pytest.mark.parametrize("strength", [0.0, -1.0, 1e9, "much"])
def test_a_strength_out_of_bounds_is_refused(strength: object) -> None:
    document = model_document(SHIPPED, dict.fromkeys([*BLOCKS, *(kind.name for kind in SIGNALS)], "test"))
    document["own_language"]["strength"] = strength
    with pytest.raises(InputError, match=r"own_language\.strength"):
        parse_model(document)


TEXTS = st.lists(
    st.fixed_dictionaries(
        {
            "month": st.integers(24000, 24003),
            "episode": st.integers(1, 2),
            "language": st.tuples(st.sampled_from(["en", "it", "fr"]), st.sampled_from(["hint", "possible", "sure"])),
            "ip": st.sampled_from(["GB", "FR", "IT"]),
        }
    ),
    min_size=2,
    max_size=10,
)


@given(TEXTS)
def test_the_weights_of_episodes_add_up_to_the_bars(records: list[Record]) -> None:
    evidence = make_evidence(records)
    details = episode_details(evidence, SHIPPED, TERRITORIES).to_pylist()
    for row in score_subjects(evidence, SHIPPED, TERRITORIES).to_pylist():
        for bar in row["bars"]:
            of_bar = (bar["family"], row["jurisdiction"])
            parts = [each["weight_mb"] for each in details if (each["family"], each["jurisdiction"]) == of_bar]
            assert sum(parts) == bar["weight_mb"]


@pytest.mark.parametrize("strength", [1.0, 10.0])
def test_no_step_of_a_fit_makes_the_data_less_likely(strength: float) -> None:
    start = dataclasses.replace(SHIPPED, strength=strength)
    fitted = fit(draw_from_world(World(), 2_000, 8).histories(start), start)
    assert len(fitted.objective) > 5
    assert np.diff(fitted.objective).min() > -1e-9 * abs(fitted.log_likelihood)


def test_a_fit_tells_who_keeps_a_language_from_who_does_not() -> None:
    anew = draw_from_model(recast(SHIPPED), 4_000, 8).histories(SHIPPED)
    kept = draw_from_world(World(), 4_000, 8).histories(SHIPPED)
    assert likeliest_strength(anew, recast(SHIPPED)) >= 100
    assert likeliest_strength(kept, fit(kept, SHIPPED).model) <= 10
    assert likeliest_strength(kept, ANEW) == math.inf


def test_residents_of_one_country_who_write_anothers_language_are_seldom_erased() -> None:
    drawn = draw_from_world(World(), 20_000, 104)
    wrong = [int(((drawn.probabilities(model) >= 0.95) & ~drawn.residents).sum()) for model in (ANEW, SHIPPED)]
    found = [
        ((drawn.probabilities(model) >= 0.95) & drawn.residents).sum() / drawn.residents.sum()
        for model in (ANEW, SHIPPED)
    ]
    assert wrong[1] <= wrong[0] / 2
    assert found[1] > found[0] - 0.03
