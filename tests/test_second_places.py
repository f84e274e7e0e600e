import dataclasses

import numpy as np
import pytest

from classifiers.episodes import find_episodes
from classifiers.histories import Histories, count_histories, read_histories
from classifiers.model import load_model
from classifiers.second_places import fit_second_places
from schemas.countries import NONE
from tests.estimate_world import recast
from tests.mover_world import ORDINARY, draw_world

START = dataclasses.replace(recast(load_model()), tau=0.12, second=0.1, stay=0.4)


def histories(kinds: dict[str, float], subjects: int = 6_000) -> Histories:
    evidence, _ = draw_world(START, subjects, kinds, np.random.default_rng(4))
    episodes = find_episodes(evidence, START.trust)
    n = len(episodes.subject_ids)
    return read_histories(count_histories(episodes, np.full(n, NONE, np.int16), np.ones(n, np.bool_)))


def test_where_nobody_has_a_second_place_hardly_any_is_found() -> None:
    assert fit_second_places(histories(dict(ORDINARY)), START).second < 0.04


def test_more_people_with_a_second_place_are_more_that_are_found() -> None:
    found = [
        fit_second_places(histories({"ordinary": 1 - share, "second_home": share}), START).second
        for share in (0.1, 0.3, 0.6)
    ]
    assert found[0] < found[1] < found[2]
    assert found[2] > 0.15


def test_a_model_without_second_places_stays_without() -> None:
    start = dataclasses.replace(START, second=0.0)
    assert fit_second_places(histories(dict(ORDINARY), 200), start) is start


def test_hardly_any_evidence_leaves_what_was_assumed() -> None:
    assert fit_second_places(histories(dict(ORDINARY), 5), START).second == pytest.approx(0.1, abs=0.02)
