import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.model import ResidenceModel, load_model
from classifiers.residence import SCORED, score_subjects
from schemas.countries import COUNTRIES, LANGUAGES
from schemas.errors import InputError
from schemas.evidence import EVIDENCE, FAMILIES, SIGNALS, NullReason
from tests.residence_world import TERRITORIES, Record, make_evidence, posterior_bits, small_model

SHIPPED = load_model()
PLACES = ["GB", "FR", "RE", "IT", "BE", "US"]
TONGUES = ["en", "fr", "it", "cy", "zu"]


def observations(signal: str) -> st.SearchStrategy[Any]:
    levels = next(kind.levels for kind in SIGNALS if kind.name == signal)
    values = TONGUES if signal == "language" else PLACES
    silence = st.sampled_from([NullReason.ABSENT, NullReason.MALFORMED])
    return silence | st.tuples(st.sampled_from(values), st.sampled_from(levels))


RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "episode": st.integers(1, 3),
            "month": st.sampled_from([-1, 24000, 24001]),
            **{kind.name: observations(kind.name) for kind in SIGNALS},
        }
    ),
    min_size=1,
    max_size=12,
)


def score(records: Sequence[Record], model: ResidenceModel = SHIPPED) -> list[dict[str, Any]]:
    return score_subjects(make_evidence(records), model, TERRITORIES).to_pylist()


def weights(row: dict[str, Any]) -> dict[str, int]:
    return {bar["family"]: bar["weight_mb"] for bar in row["bars"]}


def without_counts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Scores without what counts records: their number, and the reason most of them give for silence."""
    return [{**row, "bars": [{**bar, "n_records": None, "null_reason": None} for bar in row["bars"]]} for row in rows]


def test_a_worked_example() -> None:
    # a(FR) = .9 + .1/3 and a(elsewhere) = .1/3, so sum q a = 1/3.
    # P(x | FR) = .8 * .93333 + .2 / 3 = .81333, P(x | others) = .8 * .03333 + .2 / 3 = .09333; weight log2(61/7).
    model = small_model({"GB": 0.5, "FR": 0.3, "IT": 0.2})
    _, france, _ = score([{"gps": "FR"}], model)
    assert france["prior_mb"] == round(1000 * math.log2(0.3 / 0.7)) == -1222
    assert weights(france) == {"device": 3123, "network": 0, "publication": 0, "contact": 0}
    assert france["score_mb"] == 1901
    assert france["probability"] == pytest.approx(0.244 / (0.244 + 0.7 * 0.09333), abs=1e-4)
    assert france["bars"][0] == {
        "family": "device",
        "evidence": "FR x1",
        "weight_mb": 3123,
        "n_records": 1,
        "n_episodes": 1,
        "null_reason": None,
        "rival": "GB",
    }


@given(RECORDS)
def test_scores_are_bayes_rule(records: list[Record]) -> None:
    for row in score(records):
        exact = 1000 * posterior_bits(records, SHIPPED, TERRITORIES[row["jurisdiction"]])
        assert abs(row["score_mb"] - exact) <= 0.5 * (1 + len(FAMILIES)) + 1e-6


@given(RECORDS)
def test_prior_and_bars_add_up_to_the_score(records: list[Record]) -> None:
    for row in score(records):
        assert [bar["family"] for bar in row["bars"]] == list(FAMILIES)
        assert row["prior_mb"] + sum(bar["weight_mb"] for bar in row["bars"]) == row["score_mb"]
        odds = 2.0 ** (row["score_mb"] / 1000)
        assert row["probability"] == pytest.approx(odds / (1 + odds), rel=1e-12)


@given(RECORDS, st.randoms(use_true_random=False))
def test_order_and_batches_change_nothing(records: list[Record], random: Random) -> None:
    once = score_subjects(make_evidence(records), SHIPPED, TERRITORIES)
    shuffled = make_evidence(random.sample(records, len(records)))
    cut = random.randint(0, len(records))
    chunked = pa.concat_tables([shuffled.slice(cut), shuffled.slice(0, cut)])
    assert score_subjects(chunked, SHIPPED, TERRITORIES).equals(once)


@given(RECORDS, st.lists(st.integers(0, 11), max_size=20))
def test_copies_move_no_weight(records: list[Record], copies: list[int]) -> None:
    copied = records + [records[i % len(records)] for i in copies]
    assert without_counts(score(copied)) == without_counts(score(records))


@given(RECORDS, RECORDS)
def test_a_subject_scores_the_same_alone_and_in_company(ours: list[Record], theirs: list[Record]) -> None:
    company = [{**record, "subject": "b"} for record in theirs] + [{**record, "subject": "a"} for record in ours]
    assert score(company) == score(ours) + [
        {**row, "subject_id": "b"} for row in score([{**record, "subject": "b"} for record in theirs])
    ]


@given(RECORDS)
def test_silence_weighs_nothing(records: list[Record]) -> None:
    silent = {"gps": NullReason.NULL_ISLAND, "ip": NullReason.NOT_PUBLIC, "month": 24005, "episode": 9}
    for before, after in zip(score(records), score([*records, silent]), strict=True):
        assert weights(before) == weights(after)
        assert all(bar["weight_mb"] == 0 for bar in after["bars"] if bar["n_records"] == 0)


def test_a_silent_family_says_why() -> None:
    reasons = [NullReason.NOT_PUBLIC, NullReason.NOT_FOUND, NullReason.NOT_FOUND]
    (row, *_) = score([{"ip": reason, "gps": "GB"} for reason in reasons])
    network = row["bars"][1]
    assert (network["weight_mb"], network["evidence"], network["null_reason"]) == (0, "", "not_found")
    assert (network["n_records"], network["n_episodes"], network["rival"]) == (0, 0, None)


def test_evidence_counts_episodes_and_names_the_commonest_first() -> None:
    records = [{"ip": code, "month": 24000 + i} for i, code in enumerate(["IE", "GB", "GB", "FR", "DE", "GB"])]
    records += [records[0]] * 5
    (row, *_) = score(records)
    network = row["bars"][1]
    assert network["evidence"] == "GB x3, DE x1, FR x1, …"
    assert (network["n_episodes"], network["n_records"]) == (6, 11)


@pytest.mark.parametrize("code", ["GB", "FR", "IT", "LU", "US"])
def test_one_perfect_geotag_may_be_a_trip(code: str) -> None:
    row = score_subjects(make_evidence([{"gps": code}]), SHIPPED, {"x": (code,)}).to_pylist()[0]
    bound = math.log2((1 - SHIPPED.tau) / (SHIPPED.tau * SHIPPED.away[COUNTRIES.index(code)]) + 1)
    assert 1000 < row["score_mb"] - row["prior_mb"] <= 1000 * bound


def test_weights_of_one_geotag_agree_with_the_published_rule() -> None:
    # Heikinheimo et al. 2022, country with most active months: +6.0, +7.8, +7.9 bits for GB, FR, IT.
    for row, published in zip(
        score([{"gps": "GB", "subject": "a"}])[:1]
        + score([{"gps": "FR", "subject": "a"}])[1:2]
        + score([{"gps": "IT", "subject": "a"}])[2:],
        (6.0, 7.8, 7.9),
        strict=True,
    ):
        assert weights(row)["device"] / 1000 == pytest.approx(published, abs=1.6)


def test_a_french_page_in_french_is_one_place_not_two_proofs() -> None:
    domain, language = {"domain": "FR"}, {"language": ("fr", "sure")}
    apart = sum(weights(score([record])[1])["publication"] for record in (domain, language))
    together = weights(score([domain | language])[1])["publication"]
    friend = math.log2(1 / (SHIPPED.tau * (1 - SHIPPED.rho) * SHIPPED.away[COUNTRIES.index("FR")]))
    assert together < 1000 * friend
    assert together < apart - 2000
    everything = score([domain | language | {"ip": "FR", "gps": "FR"}])[1]
    assert everything["score_mb"] - everything["prior_mb"] < 1000 * friend
    assert everything["probability"] < 0.95


def test_hundreds_of_episodes_neither_underflow_nor_overflow() -> None:
    records = [
        {"month": 24000 + i, "gps": code, "ip": (code, "residential"), "language": (language, "sure")}
        for i, (code, language) in enumerate([("FR", "fr")] * 300 + [("BE", "nl")] * 150 + [("GB", "en")] * 400)
    ]
    for some in (records, records[:500]):
        for row in score(some):
            exact = 1000 * posterior_bits(some, SHIPPED, TERRITORIES[row["jurisdiction"]])
            assert abs(row["score_mb"] - exact) <= 3
    assert [row["probability"] > 0.5 for row in score(records)] == [True, False, False]
    assert [row["probability"] > 0.5 for row in score(records[:500])] == [True, False, False]  # has moved to GB
    assert [row["probability"] > 0.5 for row in score(records[:300])] == [False, True, False]


def test_one_id_on_very_many_records() -> None:
    evidence = make_evidence([{"gps": "GB", "language": "en"}])
    many = evidence.take(pa.array(np.zeros(200_000, np.int64)))
    months = pa.array(np.arange(200_000, dtype=np.int32) // 2)
    many = many.set_column(EVIDENCE.get_field_index("month"), EVIDENCE.field("month"), months)
    first, *_ = score_subjects(many, SHIPPED, TERRITORIES).to_pylist()
    assert first["probability"] > 0.9999
    assert first["bars"][0]["n_episodes"] == 100_000


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"gps": "DE"}, "rich"),
        ({"ip": "DE"}, "rich"),
        ({"phone": "DE"}, "rich"),
        ({"domain": "GB"}, "poor"),
        ({"language": "en"}, "poor"),
        ({"domain": "GB", "language": "en", "phone": "GB"}, "rich"),
        ({"gps": NullReason.AT_SEA}, "none"),
    ],
)
def test_evidence_class(record: Record, expected: str) -> None:
    assert {row["evidence_class"] for row in score([record])} == {expected}


def test_a_subject_without_evidence_has_its_prior() -> None:
    row = score([{}])[0]
    assert row["score_mb"] == row["prior_mb"]
    assert row["probability"] == pytest.approx(SHIPPED.prior[COUNTRIES.index("GB")], rel=1e-3)


def test_a_territory_is_one_place_to_live() -> None:
    evidence = make_evidence([{"gps": "RE"}, {"ip": "FR", "month": 24001}])
    whole = score_subjects(evidence, SHIPPED, {"fr": ("FR", "RE")}).to_pylist()[0]
    parts = score_subjects(evidence, SHIPPED, {"metropolis": ("FR",), "reunion": ("RE",)}).to_pylist()
    assert whole["probability"] == pytest.approx(sum(row["probability"] for row in parts), abs=2e-3)


def test_rows_come_by_subject_and_then_as_the_jurisdictions_were_given() -> None:
    table = score_subjects(
        make_evidence([{"subject": subject, "gps": "IT"} for subject in ("b", "é", "a")]),
        SHIPPED,
        {"it": ("IT",), "uk": ("GB",)},
    )
    assert table.schema == SCORED
    assert table["subject_id"].to_pylist() == ["a", "a", "b", "b", "é", "é"]
    assert table["jurisdiction"].to_pylist() == ["it", "uk"] * 3


def test_ids_of_strangers() -> None:
    evidence = make_evidence([{"gps": "GB"}] * 4)
    ids = pa.array([b"\xff\xfe", b"", b"a\x00b", b"x" * 200_000], pa.large_binary()).view(pa.large_string())
    evidence = evidence.set_column(EVIDENCE.get_field_index("subject_id"), EVIDENCE.field("subject_id"), ids)
    assert score_subjects(evidence, SHIPPED, TERRITORIES).num_rows == 12


def test_no_evidence_at_all() -> None:
    table = score_subjects(EVIDENCE.empty_table(), SHIPPED, TERRITORIES)
    assert table.num_rows == 0
    assert table.schema == SCORED


@pytest.mark.parametrize(
    ("territories", "message"),
    [
        ({}, "no jurisdiction"),
        ({"uk": ()}, "empty"),
        ({"uk": ("UK",)}, "'UK' is not an ISO 3166"),
        ({"fr": ("FR", "RE"), "dom": ("RE",)}, "RE is in the territories of 'fr' and 'dom'"),
        ({"fr": ("FR", "FR")}, "'fr' and 'fr'"),
        ({"world": COUNTRIES}, "whole world"),
    ],
)
def test_territories_that_cannot_be_scored(territories: Mapping[str, Sequence[str]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        score_subjects(EVIDENCE.empty_table(), SHIPPED, territories)


@pytest.mark.parametrize(("signal", "value", "level"), [("gps", 250, 0), ("language", 139, 0), ("ip", 0, 5)])
def test_evidence_outside_the_schema_is_refused(signal: str, value: int, level: int) -> None:
    evidence = make_evidence([{signal: "en" if signal == "language" else "GB"}])
    for part, number in (("value", value), ("level", level)):
        field = EVIDENCE.field(f"{signal}_{part}")
        index = EVIDENCE.get_field_index(field.name)
        evidence = evidence.set_column(index, field, pa.array([number], field.type))
    with pytest.raises(ValueError, match=f"{signal} evidence holds"):
        score_subjects(evidence, SHIPPED, TERRITORIES)


def test_probabilities_are_calibrated_on_subjects_drawn_from_the_model() -> None:
    speakers = {"GB": {"en": 1.0}, "FR": {"fr": 0.7, "en": 0.3}, "IT": {"it": 0.6, "en": 0.4}}
    model = small_model({"GB": 0.5, "FR": 0.3, "IT": 0.2}, hit=0.8, speakers=speakers)
    evidence, home = draw(model, 5_000, np.random.default_rng(7))
    table = score_subjects(evidence, model, TERRITORIES)
    probability = table["probability"].to_numpy().reshape(-1, len(TERRITORIES))
    for j, territory in enumerate(TERRITORIES.values()):
        truth = np.isin(home, [COUNTRIES.index(code) for code in territory])
        bins = np.minimum((probability[:, j] * 10).astype(int), 9)
        error = sum(
            abs(probability[bins == b, j].mean() - truth[bins == b].mean()) * (bins == b).mean()
            for b in np.unique(bins)
        )
        assert error <= 0.03
        assert truth[probability[:, j] >= 0.95].mean() >= 0.95


def draw(model: ResidenceModel, n: int, rng: np.random.Generator) -> tuple[pa.Table, np.ndarray]:
    """Evidence of n subjects who live as the model says, one to three episodes each, and their homes."""
    home = rng.choice(len(COUNTRIES), n, p=model.prior)
    records: list[Record] = []
    for subject, country in enumerate(home.tolist()):
        for month in range(rng.integers(1, 4)):
            away = rng.random() < model.tau
            place = rng.choice(len(COUNTRIES), p=model.away) if away else country
            author = place if away and rng.random() >= model.rho else country
            record: dict[str, Any] = {"subject": f"{subject:05d}", "month": 24000 + month}
            for kind in SIGNALS:
                if rng.random() < 0.4:
                    level = int(rng.integers(len(kind.levels)))
                    right = rng.random() < model.hit[kind.name][level]
                    noise = model.background[kind.name]
                    names = LANGUAGES if kind.name == "language" else COUNTRIES
                    if kind.name == "language":
                        value = rng.choice(len(names), p=model.speakers[author] if right else noise)
                    elif right:
                        value = country if kind.name == "phone" else place
                    else:
                        value = rng.choice(len(names), p=noise)
                    record[kind.name] = (names[value], kind.levels[level])
            records.append(record)
    return make_evidence(records), home
