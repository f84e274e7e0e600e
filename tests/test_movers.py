"""People for whom one home and single trips are too simple: the four of the issue by hand, and worlds full of them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.explain import episode_details
from classifiers.model import ResidenceModel, load_model, parse_model
from classifiers.model_file import model_document
from classifiers.residence import score_subjects
from classifiers.tiers import assign_tiers
from pipelines.findings import apply_findings, compare_ids, list_ids
from schemas.countries import COUNTRIES
from schemas.evidence import EVIDENCE, FAMILIES, SIGNALS, NullReason
from schemas.hashing import hash_strings
from schemas.job import PolicySection
from schemas.jurisdictions import find_jurisdiction
from tests.mover_world import MIXED, ORDINARY, draw_world, with_residents
from tests.residence_world import Record, make_evidence

SHIPPED = load_model()
SETTLED = dataclasses.replace(SHIPPED, second=0.0, stay=0.0, move=0.0)
"""The same people with trips alone: nobody has a second place, and nobody moves."""

TERRITORIES = {name: find_jurisdiction(name).territory for name in ("uk", "fr", "it")}


def month(text: str) -> int:
    year, number = text.split("-")
    return int(year) * 12 + int(number) - 1


def chances(records: Sequence[Record], model: ResidenceModel = SHIPPED) -> dict[str, float]:
    table = score_subjects(make_evidence(records), model, TERRITORIES)
    return dict(zip(table["jurisdiction"].to_pylist(), table["probability"].to_pylist(), strict=True))


def tiers(records: Sequence[Record]) -> dict[str, str]:
    table = score_subjects(make_evidence(records), SHIPPED, TERRITORIES)
    decided = assign_tiers(table["probability"], table["evidence_class"], PolicySection())
    return dict(zip(table["jurisdiction"].to_pylist(), decided.to_pylist(), strict=True))


def stay(country: str, *months: str, language: str = "en", uploader: int = 1) -> list[Record]:
    """One account's pictures from one country, a month each."""
    return [
        {"month": month(each), "episode": uploader, "gps": country, "language": (language, "sure")} for each in months
    ]


LONDON = stay("GB", "2019-02", "2019-11", "2020-03", "2020-10")
ROME = stay("IT", "2020-08")


def test_a_holiday_of_300_photos_in_rome_does_not_make_an_italian() -> None:
    assert tiers(LONDON + ROME * 300) == {"uk": "erase", "fr": "keep", "it": "keep"}
    assert chances(LONDON + ROME * 300) == chances(LONDON + ROME)
    assert tiers(ROME * 300)["it"] != "erase"


def test_a_holiday_that_spans_two_months_does_not_make_an_italian() -> None:
    holiday = stay("IT", "2020-08", "2020-09")
    assert chances(LONDON + holiday * 150)["uk"] > 0.85
    assert chances(LONDON + holiday * 150)["it"] < 0.12
    assert tiers(LONDON[:2] + holiday * 150)["it"] == "review"
    assert tiers(holiday * 150)["it"] == "review"
    assert chances(holiday, SETTLED)["it"] > 0.99  # two trips of two people, as it were


def test_a_holiday_seen_by_two_accounts_does_not_make_an_italian() -> None:
    holiday = ROME * 150 + stay("IT", "2020-08", uploader=2) * 150
    assert chances(LONDON + holiday)["it"] < 0.12
    assert tiers(holiday)["it"] == "review"


def test_months_that_go_on_make_a_resident() -> None:
    months = ["2020-08", "2020-09", "2020-12", "2021-03", "2021-06"]
    rome = [chances(stay("IT", *months[:n], language="it"))["it"] for n in range(1, 6)]
    assert rome == sorted(rome)
    assert rome[2] > 0.95


def test_a_second_holiday_at_one_place_is_no_more_news_than_one_elsewhere() -> None:
    home = stay("GB", "2019-02", "2019-11")
    again, elsewhere = stay("IT", "2020-08", "2021-08"), stay("IT", "2020-08") + stay("ES", "2021-08")
    assert chances(home + elsewhere)["uk"] > 0.95
    assert 0.5 < chances(home + again)["uk"] < 0.95  # two months each: a person should look
    assert 0.05 < chances(home + again)["it"] < 0.5


def test_a_londoner_who_moved_to_paris_is_erased_for_france() -> None:
    before = ["2018-04", "2019-01", "2019-06", "2019-12", "2020-07", "2021-01", "2021-05"]
    after = ["2021-06", "2021-08", "2021-10", "2021-12", "2022-02", "2022-04"]
    orders = [find_jurisdiction(name).order_date for name in ("uk", "fr")]
    assert all(f"{order:%Y-%m}" > after[-1] for order in orders)  # all of it was known when the orders came
    person = stay("GB", *before) + stay("FR", *after, language="fr")
    assert tiers(person) == {"uk": "keep", "fr": "erase", "it": "keep"}
    assert chances(person, SETTLED)["uk"] > 0.9  # counting months alone, the longer residence wins


def test_a_londoner_who_moves_to_paris_changes_sides_by_and_by() -> None:
    before = stay("GB", "2019-01", "2019-06", "2019-12", "2020-07", "2021-01", "2021-05")
    after = stay("FR", "2021-06", "2021-08", "2021-10", "2021-12", "2022-02", "2022-04", language="fr")
    people = [chances(before + after[:months]) for months in range(len(after) + 1)]
    paris = [person["fr"] for person in people]
    assert paris == sorted(paris)
    assert paris[1] < 0.05
    assert people[3]["fr"] > people[3]["uk"]
    assert paris[-1] > 0.95


def test_the_older_residence_says_so_by_fading() -> None:
    person = stay("GB", "2019-01", "2019-06", "2019-12") + stay("FR", "2021-06", "2021-08", "2021-10", language="fr")
    united, alone = (
        [each["weight_mb"] for each in details if each["jurisdiction"] == "uk" and each["episode"] <= 3]
        for details in (
            episode_details(make_evidence(records), SHIPPED, TERRITORIES).to_pylist()
            for records in (person, person[:3])
        )
    )
    assert 0 < sum(united) < sum(alone)


def test_somebody_who_came_back_is_not_taken_for_one_who_left() -> None:
    away = stay("FR", "2020-10", "2020-12", "2021-02", "2021-05")
    home = stay("GB", "2019-05", "2019-11", "2020-06"), stay("GB", "2021-09", "2022-01", "2022-03")
    back = chances(home[0] + away + home[1])
    assert back["uk"] > 0.8
    assert back["fr"] < 0.2


def test_evidence_of_no_known_date_counts_as_the_oldest() -> None:
    paris = stay("FR", "2021-06", "2021-09", "2022-02", "2022-04", language="fr")
    undated, newest = (
        [{**record, "month": when, "episode": i} for i, record in enumerate(LONDON)] for when in (-1, month("2023-01"))
    )
    assert chances(undated + paris)["fr"] > 0.5 > chances(newest + paris)["fr"]


def test_pictures_that_a_friend_abroad_posts_do_not_move_the_home() -> None:
    posted: list[Record] = [
        {"month": month(each), "episode": 7, "ip": ("FR", "residential"), "domain": "FR", "language": ("fr", "sure")}
        for each in ("2020-01", "2020-05", "2020-08")
    ]
    assert tiers(LONDON + posted[:1]) == {"uk": "erase", "fr": "keep", "it": "keep"}
    assert chances(LONDON + posted)["uk"] > 0.7
    assert tiers(LONDON + posted)["fr"] == "review"
    assert chances(LONDON[:1] + posted, SETTLED)["fr"] > 0.99
    assert tiers(LONDON[:1] + posted)["fr"] == "review"


def test_one_language_all_over_is_no_further_proof_of_a_home_where_it_is_spoken() -> None:
    polish = stay("GB", "2019-02", "2019-11", "2020-03", "2020-10", "2021-04", "2021-12", language="pl")
    for n in range(1, 7):
        assert chances(polish[:n])["uk"] > chances(polish[:n], SETTLED)["uk"] - 0.04
    assert chances(polish)["uk"] > 0.99


def switchboard(subjects: int, limit: int) -> pa.Table:
    """Evidence of some subjects that all show one number, after ids were compared."""
    evidence = make_evidence([{"subject": str(n), "phone": "GB"} for n in range(subjects)])
    position = EVIDENCE.get_field_index("phone_hash")
    evidence = evidence.set_column(position, EVIDENCE.field(position), pa.array(np.full(subjects, 5, np.uint64)))
    ids = list_ids(evidence, hash_strings(evidence["subject_id"].combine_chunks()))
    return score_subjects(apply_findings(evidence, compare_ids(ids, limit)), SHIPPED, TERRITORIES)


@pytest.mark.parametrize(("subjects", "limit", "telling"), [(2, 2, True), (2, 1, False), (30, 20, False)])
def test_a_number_on_more_subjects_than_a_household_has_says_nothing(subjects: int, limit: int, telling: bool) -> None:
    for row in switchboard(subjects, limit).to_pylist():
        contact = row["bars"][FAMILIES.index("contact")]
        assert (contact["weight_mb"] != 0) == telling
        assert contact["null_reason"] == (None if telling else NullReason.SWITCHBOARD.name.lower())
        assert row["evidence_class"] == ("rich" if telling else "none")


def test_two_people_of_one_account_are_weighed_apart() -> None:
    twins = [{**record, "subject": name} for record in LONDON for name in "ab"]
    abroad = [{**record, "subject": "b"} for record in stay("IT", "2021-01", "2021-02", "2021-03", "2021-05")]
    table = score_subjects(make_evidence(twins + abroad), SHIPPED, TERRITORIES)
    assert table.slice(0, 3)["probability"].to_pylist() == list(chances(LONDON).values())


HISTORIES = st.lists(
    st.fixed_dictionaries(
        {
            "month": st.integers(24000, 24004),
            "episode": st.integers(1, 2),
            "gps": st.sampled_from(["GB", "FR", "IT"]),
            "ip": st.sampled_from(["GB", "FR", "IT", NullReason.ABSENT]),
        }
    ),
    min_size=2,
    max_size=12,
)


@given(HISTORIES, st.sampled_from([0.005, 0.2]))
def test_the_weights_of_episodes_fade_and_still_add_up(records: list[Record], move: float) -> None:
    model = dataclasses.replace(SHIPPED, move=move)
    evidence = make_evidence(records)
    details = episode_details(evidence, model, TERRITORIES).to_pylist()
    for row in score_subjects(evidence, model, TERRITORIES).to_pylist():
        assert row["prior_mb"] + sum(bar["weight_mb"] for bar in row["bars"]) == row["score_mb"]
        for bar in row["bars"]:
            of_bar = [
                each["weight_mb"]
                for each in details
                if (each["family"], each["jurisdiction"]) == (bar["family"], row["jurisdiction"])
            ]
            assert sum(of_bar) == bar["weight_mb"]


@given(HISTORIES, st.permutations([11, 12]))
def test_the_names_of_accounts_change_nothing(records: list[Record], names: list[int]) -> None:
    renamed = [{**record, "episode": names[record["episode"] - 1]} for record in records]
    for one, other in zip(chances(records).values(), chances(renamed).values(), strict=True):
        assert one == pytest.approx(other, rel=0.01)


def test_only_the_order_of_months_counts() -> None:
    assert chances([{**record, "month": 2 * record["month"] + 7} for record in LONDON + ROME]) == chances(LONDON + ROME)


def test_the_file_of_a_model_says_who_has_two_places_and_who_moves() -> None:
    sources = dict.fromkeys(
        ["prior", "place", "speakers", "own_language", "second_place", "move", *(kind.name for kind in SIGNALS)], "test"
    )
    document = model_document(SHIPPED, sources)
    read = parse_model(document)
    assert (read.second, read.stay, read.move) == (SHIPPED.second, SHIPPED.stay, SHIPPED.move)
    del document["second_place"], document["move"]
    assert (parse_model(document).second, parse_model(document).move) == (0, 0)


class Outcome(NamedTuple):
    """What scores are worth, over all subjects and the three jurisdictions."""

    erased: int
    precision: float
    recall: float
    calibration: float
    """Expected calibration error."""
    surprise: float
    """Mean -ln of the chance given to what is true."""
    wrong: Mapping[str, int]
    """Wrongly erased, by kind of people."""


def judge(kinds: Mapping[str, float], model: ResidenceModel, loyal: float, n: int = 20_000) -> Outcome:
    world = dataclasses.replace(
        model, prior=with_residents(model, {"GB": 0.08, "FR": 0.08, "IT": 0.08}), second=0.0, stay=0.0, move=0.0
    )
    evidence, people = draw_world(world, n, kinds, np.random.default_rng(3), loyal)
    model = dataclasses.replace(model, prior=world.prior)
    scores = score_subjects(evidence, model, TERRITORIES)
    subjects = np.array(scores["subject_id"].to_pylist()[:: len(TERRITORIES)], int)
    chance = scores["probability"].to_numpy().reshape(len(subjects), -1)
    homes = np.array(COUNTRIES)[people.home[subjects]]
    truth = np.stack([np.isin(homes, codes) for codes in TERRITORIES.values()], axis=1)
    erased = chance >= 0.95
    bins = np.minimum((chance * 20).astype(int), 19)
    errors = [(bins == b).mean() * abs((chance - truth)[bins == b].mean()) for b in np.unique(bins)]
    wrong = (erased & ~truth).any(axis=1)
    return Outcome(
        int(erased.sum()),
        truth[erased].mean(),
        (erased & truth).sum() / truth.sum(),
        float(sum(errors)),
        float(-np.log(np.where(truth, chance, 1 - chance).clip(1e-12)).mean()),
        {kind: int(wrong[people.kind[subjects] == kind].sum()) for kind in kinds},
    )


def test_ordinary_people_are_scored_as_well_as_before() -> None:
    before, after = judge(ORDINARY, SETTLED, 0.0), judge(ORDINARY, SHIPPED, 0.0)
    assert after.calibration < before.calibration + 0.002
    assert after.calibration < 0.01
    assert after.precision > before.precision - 0.002
    assert after.surprise < before.surprise * 1.01
    assert after.recall > before.recall - 0.03


@pytest.mark.parametrize("loyal", [0.0, 0.8])
def test_a_world_of_movers_tourists_and_households_is_scored_better_than_before(loyal: float) -> None:
    before, after = judge(MIXED, SETTLED, loyal), judge(MIXED, SHIPPED, loyal)
    assert after.precision > before.precision + 0.01
    assert after.calibration < before.calibration
    assert after.surprise < before.surprise * 0.9
    assert after.recall > before.recall - 0.04
    assert all(after.wrong[kind] <= before.wrong[kind] + 3 for kind in MIXED)
    for kind in ("tourist", "student", "mover"):
        assert after.wrong[kind] < before.wrong[kind]
