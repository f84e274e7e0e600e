"""Filters of one signal, read off bars: capitals are countries, the rest languages; what is cut off is not made up."""

from typing import Any

import pyarrow as pa
import pytest

from classifiers.filters import FILTERS, apply_filters
from schemas.countries import COUNTRIES, LANGUAGES
from schemas.evidence import FAMILIES
from schemas.jurisdictions import find_jurisdiction, known_jurisdictions
from schemas.scores import BARS


def bars(**evidence: str) -> list[dict[str, Any]]:
    silent = {"weight_mb": 0, "n_records": 0, "n_episodes": 0, "null_reason": None, "rival": None}
    return [{"family": family, "evidence": evidence.get(family, ""), **silent} for family in FAMILIES]


@pytest.mark.parametrize(
    ("jurisdiction", "evidence", "flagged", "cut_short"),
    [
        ("it", {"network": "IT x1"}, {"ip", "any"}, set()),
        ("it", {"network": "FR x9, IT x1"}, {"ip", "any"}, set()),
        ("it", {"publication": "IT x2, en x1"}, {"domain", "any"}, set()),
        ("it", {"publication": "it x2"}, {"any"}, set()),
        ("it", {"device": "IT x1"}, {"any"}, set()),
        ("it", {"contact": "IT x1"}, {"any"}, set()),
        ("it", {"network": "FR x1", "publication": "fr x1"}, set(), set()),
        ("fr", {"network": "RE x1"}, {"ip", "any"}, set()),
        ("uk", {"publication": "en x1"}, {"any"}, set()),
        ("uk", {"device": "GBX x1, XGB x1"}, set(), set()),
        ("it", {"publication": "en x3, FR x2, de x1, …"}, set(), {"domain", "any"}),
        ("it", {"publication": "en x3, FR x2, de x1, …", "network": "IT x1"}, {"ip", "any"}, {"domain"}),
        ("it", {"publication": "en x3, IT x2, de x1, …"}, {"domain", "any"}, set()),
        ("it", {}, set(), set()),
    ],
)
def test_one_sign_is_enough_for_a_filter(
    jurisdiction: str, evidence: dict[str, str], flagged: set[str], cut_short: set[str]
) -> None:
    found = apply_filters(pa.array([bars(), bars(**evidence), bars()], BARS), find_jurisdiction(jurisdiction))
    assert tuple(found) == FILTERS
    assert {name for name, each in found.items() if each.flagged[1]} == flagged
    assert {name for name, each in found.items() if each.cut_short[1]} == cut_short
    assert not any(each.flagged[[0, 2]].any() or each.cut_short[[0, 2]].any() for each in found.values())


def test_no_rows_are_no_trouble() -> None:
    found = apply_filters(pa.array([], BARS), find_jurisdiction("it"))
    assert all(len(each.flagged) == len(each.cut_short) == 0 for each in found.values())


def test_codes_and_languages_of_jurisdictions_are_those_that_bars_name() -> None:
    for jurisdiction in known_jurisdictions().values():
        assert jurisdiction.languages
        assert set(jurisdiction.languages) <= set(LANGUAGES)
    assert not set(COUNTRIES) & set(LANGUAGES)
