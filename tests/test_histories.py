import dataclasses
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.episodes import find_episodes
from classifiers.histories import HISTORIES, count_histories, merge_histories, read_histories
from classifiers.model import load_model
from classifiers.residence import group_countries
from classifiers.weights import weigh_histories
from schemas.countries import NONE
from tests.residence_world import TERRITORIES, Record, make_evidence

TRUST = load_model().trust

RECORDS = st.lists(
    st.fixed_dictionaries(
        {"subject": st.sampled_from("abcdef"), "month": st.integers(24000, 24003)},
        optional={
            "gps": st.sampled_from(["FR", "GB"]),
            "ip": st.tuples(st.sampled_from(["FR", "US"]), st.sampled_from(["mobile", "hosting"])),
            "language": st.sampled_from(["fr", "en"]),
        },
    ),
    min_size=1,
    max_size=25,
)


def count(records: list[Record], home: int = NONE) -> pa.Table:
    episodes = find_episodes(make_evidence(records), TRUST)
    subjects = len(episodes.subject_ids)
    return count_histories(episodes, np.full(subjects, home, np.int16), np.ones(subjects, np.bool_))


def test_subjects_who_show_the_same_are_counted_together_whatever_the_month() -> None:
    ours = [{"subject": "a", "gps": "FR", "month": 24000}, {"subject": "a", "ip": "GB", "month": 24001}]
    theirs = [{"subject": "b", "gps": "FR", "month": 24007}, {"subject": "b", "ip": "GB", "month": 24009}]
    table = count(ours + theirs + [{"subject": "c"}])
    assert sorted(table["subjects"].to_pylist()) == [1, 2]
    assert table.schema == HISTORIES
    data = read_histories(table)
    assert data.subjects.tolist() == [2]
    assert data.histories.lengths.tolist() == [2]
    assert data.episodes.tolist() == [2, 2]


def test_a_history_knows_where_months_begin() -> None:
    apart = [{"gps": "FR", "month": 24000, "episode": 1}, {"gps": "FR", "month": 24001, "episode": 1}]
    together = [{**record, "month": 24000, "episode": i} for i, record in enumerate(apart)]
    (later, same) = (read_histories(count(records)).histories.items.tolist() for records in (apart, together))
    assert (later, same) == ([0, ~0], [0, 0])


@given(RECORDS)
def test_histories_weigh_as_their_subjects_do(records: list[Record]) -> None:
    episodes = find_episodes(make_evidence(records), TRUST)
    model, group = dataclasses.replace(load_model(), second=0.1, stay=0.3, move=0.01), group_countries(TERRITORIES)
    of_subject, histories = episodes.histories()
    data = read_histories(count(records))
    ours = weigh_histories(data.histories, data.patterns, model, group).gains.sum(axis=1)
    theirs = weigh_histories(histories, episodes.patterns, model, group).gains.sum(axis=1)[of_subject]
    told = np.bincount(episodes.subject[episodes.telling], minlength=len(of_subject)) > 0
    assert np.repeat(ours, data.subjects, axis=0).sum(axis=0) == pytest.approx(theirs[told].sum(axis=0), abs=1e-6)


def test_a_known_home_counts_even_without_evidence() -> None:
    data = read_histories(count([{"subject": "a"}], home=3))
    assert (data.home.tolist(), data.subjects.tolist(), data.histories.lengths.tolist()) == ([3], [1], [0])


def test_nobody_at_all() -> None:
    data = read_histories(merge_histories([]))
    assert len(data.subjects) == len(data.patterns.lengths) == 0


@given(RECORDS, st.randoms(use_true_random=False))
def test_shards_merged_in_any_order_are_the_whole(records: list[Record], random: Random) -> None:
    whole = count(records)
    shards = [count(part) for s in "abcdef" if (part := [r for r in records if r["subject"] == s])]
    random.shuffle(shards)
    cut = random.randint(0, len(shards))
    parts = [merge_histories(shards[:cut]), merge_histories(shards[cut:])]
    assert merge_histories(parts).equals(whole)


@given(RECORDS)
def test_nothing_is_lost(records: list[Record]) -> None:
    episodes = find_episodes(make_evidence(records), TRUST)
    table = count(records)
    data = read_histories(table)
    assert sum(table["subjects"].to_pylist()) == len(episodes.subject_ids)
    assert data.episodes.sum() == episodes.telling.sum()
    assert (data.episodes * data.patterns.lengths).sum() == episodes.patterns.lengths[episodes.pattern].sum()
