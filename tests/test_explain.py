import re
from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.explain import episode_details, explain_sentence
from classifiers.model import load_model
from classifiers.residence import score_subjects
from classifiers.tiers import assign_tiers
from schemas.evidence import FAMILIES, NullReason
from schemas.job import PolicySection
from schemas.scores import SCORES
from tests.residence_world import TERRITORIES, Record, make_evidence

MODEL = load_model()
FRENCH: list[Record] = [
    {"month": month, "gps": "FR", "ip": ("FR", "residential"), "language": ("fr", "sure")}
    for month in (24000, 24001, 24003, 24004)
]


def scores(records: Sequence[Record], policy: PolicySection | None = None) -> pa.Table:
    scored = score_subjects(make_evidence(records), MODEL, TERRITORIES)
    tiers = assign_tiers(scored["probability"], scored["evidence_class"], policy or PolicySection())
    return scored.append_column("tier", tiers).select(SCORES.names)


def sentences(records: Sequence[Record], policy: PolicySection | None = None) -> dict[str, str]:
    table = scores(records, policy)
    return dict(zip(table["jurisdiction"].to_pylist(), explain_sentence(table).to_pylist(), strict=True))


def test_the_sentence_of_a_likely_resident() -> None:
    table = scores([*FRENCH, {"month": 24002, "phone": ("GB", "national_ambiguous")}]).slice(1, 1)
    device, network, text, phone = (f"({bar['weight_mb'] / 1000:+.1f} bits)" for bar in table["bars"][0].as_py())
    assert explain_sentence(table)[0].as_py() == (
        f"Likely resident (P 0.97): photos placed in FR x4 {device}, pages and text of fr x4 {text}, "
        f"uploads from networks in FR x4 {network}; against: phone numbers of GB x1 {phone}; "
        "weighed mainly against GB."
    )


def test_the_sentence_of_an_unlikely_resident() -> None:
    assert re.fullmatch(
        r"Unlikely resident \(P <0\.01\): against: photos placed in BE x1 \(-\d\.\d bits\); "
        r"weighed mainly against BE\.",
        sentences([{"gps": "BE"}])["uk"],
    )


def test_the_sentence_of_evidence_that_weighs_nothing() -> None:
    table = scores([{"gps": "GB"}, {"gps": "GB", "ip": ("US", "hosting")}]).slice(2, 1)
    light = [{**bar, "weight_mb": bar["weight_mb"] % 50} for bar in table["bars"][0].as_py()]
    table = table.set_column(7, SCORES.field("bars"), pa.array([light], SCORES.field("bars").type))
    assert explain_sentence(table)[0].as_py() == (
        "Unlikely resident (P <0.01): nothing weighs as much as 0.1 bits; weighed mainly against GB."
    )


@pytest.mark.parametrize(
    ("decision", "ending"),
    [
        ("review", "the policy leaves such subjects to a person."),
        ("erase", "the policy erases such subjects."),
        ("keep", "the policy keeps such subjects."),
    ],
)
def test_the_sentence_of_a_subject_without_evidence(decision: str, ending: str) -> None:
    policy = PolicySection.model_validate({"insufficient_evidence": decision})
    sentence = sentences([{"ip": NullReason.SWITCHED_OFF, "gps": NullReason.NULL_ISLAND}], policy)["uk"]
    assert sentence == (
        "No usable evidence (P 0.01, the prior alone): device null island, network switched off, "
        "publication absent, contact absent; " + ending
    )


def test_a_subject_under_review_for_a_faulty_record_says_so() -> None:
    table = scores([{}])
    reviewed = table.set_column(3, SCORES.field("tier"), pa.array(["review"] * 3))
    assert explain_sentence(reviewed)[0].as_py().endswith("a record could not be used, so a person decides.")


def test_a_probability_is_cut_so_that_no_sentence_claims_a_missed_threshold() -> None:
    table = scores(FRENCH).slice(1, 1)
    for probability, shown in (
        (0.9499999, "0.94"),
        (0.95, "0.95"),
        (0.0099, "<0.01"),
        (0.999, ">0.99"),
        (1.0, ">0.99"),
    ):
        changed = table.set_column(2, SCORES.field("probability"), pa.array([probability]))
        assert f"(P {shown})" in explain_sentence(changed)[0].as_py()


def test_any_part_of_a_table_of_scores_can_be_explained() -> None:
    table = scores([{**FRENCH[0], "subject": name} for name in "abc"] + [{"subject": "d", "gps": "GB"}])
    whole = explain_sentence(table).to_pylist()
    assert explain_sentence(table.slice(4, 6)).to_pylist() == whole[4:10]
    assert explain_sentence(pa.concat_tables([table.slice(9), table.slice(0, 2)])).to_pylist() == whole[9:] + whole[:2]
    assert explain_sentence(table.slice(0, 0)).to_pylist() == []


def test_no_personal_data_in_a_sentence() -> None:
    told = " ".join(sentences([{**record, "subject": "jane@example.org"} for record in FRENCH]).values())
    assert "jane" not in told
    assert "record-" not in told
    assert "face-" not in told


PLACES = st.sampled_from(["GB", "FR", "IT", "US"])
RECORDS = st.lists(
    st.fixed_dictionaries(
        {"month": st.sampled_from([-1, 24000, 24001, 24005]), "episode": st.integers(1, 2)},
        optional={
            "gps": PLACES,
            "ip": PLACES,
            "domain": PLACES,
            "phone": PLACES,
            "language": st.sampled_from(["en", "fr"]),
        },
    ),
    min_size=1,
    max_size=10,
)


@given(RECORDS)
def test_episodes_add_up_to_the_bars(records: list[Record]) -> None:
    details = episode_details(make_evidence(records), MODEL, TERRITORIES).to_pylist()
    for row in scores(records).to_pylist():
        for bar in row["bars"]:
            parts = [
                part["weight_mb"]
                for part in details
                if (part["family"], part["jurisdiction"]) == (bar["family"], row["jurisdiction"])
            ]
            assert sum(parts) == bar["weight_mb"]
            assert len(parts) == bar["n_episodes"]


def test_episodes_are_told_in_order_with_what_they_show() -> None:
    records: list[Record] = [
        {"month": 24001, "gps": "FR", "domain": "FR"},
        {"month": 24001, "language": "fr"},
        {"month": -1, "ip": "GB"},
        {"month": 24000},
    ]
    details = episode_details(make_evidence(records), MODEL, {"fr": ("FR",)})
    assert details.select(["episode", "month", "family", "evidence"]).to_pylist() == [
        {"episode": 1, "month": None, "family": "network", "evidence": "GB"},
        {"episode": 2, "month": "2000-02", "family": "device", "evidence": "FR"},
        {"episode": 2, "month": "2000-02", "family": "publication", "evidence": "FR, fr"},
    ]


def test_an_explanation_is_of_one_subject() -> None:
    with pytest.raises(ValueError, match="2 subjects"):
        episode_details(make_evidence([{"subject": "a"}, {"subject": "b"}]), MODEL, TERRITORIES)


def test_a_silent_subject_has_no_episodes_to_tell() -> None:
    assert episode_details(make_evidence([{}]), MODEL, TERRITORIES).num_rows == 0


def test_every_family_has_words() -> None:
    records: list[Record] = [
        {"month": 24000 + i, signal: "FR"} for i, signal in enumerate(["gps", "ip", "domain", "phone"])
    ]
    assert sentences(records)["fr"].count("FR x1 (+") == len(FAMILIES)
