from typing import NamedTuple

import pyarrow as pa
import pytest

from classifiers.tiers import assign_tiers
from schemas.job import PolicySection


class Case(NamedTuple):
    probability: float
    evidence_class: str
    review: str
    erase: str
    keep: str


TABLE = [
    Case(0.95, "rich", "erase", "erase", "erase"),
    Case(0.9499, "rich", "review", "review", "review"),
    Case(0.05, "poor", "review", "review", "review"),
    Case(0.0499, "poor", "keep", "keep", "keep"),
    Case(1.0, "poor", "erase", "erase", "erase"),
    Case(0.0, "rich", "keep", "keep", "keep"),
    Case(0.02, "none", "insufficient", "erase", "keep"),
    Case(0.99, "none", "insufficient", "erase", "keep"),
]


@pytest.mark.parametrize("decision", ["review", "erase", "keep"])
@pytest.mark.parametrize("chunked", [False, True])
def test_tiers(decision: str, chunked: bool) -> None:
    probability = pa.array([case.probability for case in TABLE])
    evidence_class = pa.array([case.evidence_class for case in TABLE])
    policy = PolicySection(insufficient_evidence=decision)
    if chunked:
        columns = pa.chunked_array([probability]), pa.chunked_array([evidence_class])
        tiers = assign_tiers(*columns, policy)
    else:
        tiers = assign_tiers(probability, evidence_class, policy)
    assert tiers.to_pylist() == [getattr(case, decision) for case in TABLE]


def test_equal_thresholds_leave_nothing_to_review() -> None:
    policy = PolicySection(erase_at=0.5, review_at=0.5)
    tiers = assign_tiers(pa.array([0.5, 0.49]), pa.array(["rich", "rich"]), policy)
    assert tiers.to_pylist() == ["erase", "keep"]


def test_nobody() -> None:
    assert len(assign_tiers(pa.array([], pa.float64()), pa.array([], pa.string()), PolicySection())) == 0
