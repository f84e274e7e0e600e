import numpy as np
import pyarrow as pa
import pytest

from classifiers.agreement import UNLABELLED, Reading, cohens_kappa, label_codes, read_codes
from schemas.countries import NONE, country_index
from schemas.labels import LABELS

SUBJECTS = pa.array(["a", "b", "c", "d", "e", "f"], pa.large_string())
FR = ("FR", "RE")


def labels(*rows: tuple[str, str | None, str]) -> pa.Table:
    names = ("subject_id", "country", "annotator")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema=LABELS)


TWO = labels(
    ("a", "FR", "ann"),
    ("a", "RE", "bob"),
    ("b", "US", "ann"),
    ("b", "IE", "bob"),
    ("c", "FR", "bob"),
    ("c", "BE", "ann"),
    ("d", None, "ann"),
    ("e", "FR", "ann"),
    ("e", None, "bob"),
)


def test_one_reading_a_subject() -> None:
    """Two places in the territory agree, and so do two abroad; a doubt is no agreement."""
    readings = read_codes(label_codes(SUBJECTS, TWO), FR)
    assert [Reading(each).name for each in readings] == [
        "RESIDENT",
        "ELSEWHERE",
        "DISAGREE",
        "CANNOT_TELL",
        "DISAGREE",
        "UNLABELLED",
    ]
    assert read_codes(label_codes(SUBJECTS, TWO), ("IE",))[1] == Reading.DISAGREE


def test_the_order_of_labels_and_annotators_changes_nothing() -> None:
    backwards = TWO.take(pa.array(range(len(TWO) - 1, -1, -1)))
    first, second = (label_codes(SUBJECTS, table) for table in (TWO, backwards))
    assert [codes.tolist() for codes in first] == [codes.tolist() for codes in second]
    assert read_codes(first[::-1], FR).tolist() == read_codes(first, FR).tolist()


def test_one_annotator() -> None:
    (codes,) = label_codes(SUBJECTS, labels(("b", "GB", ""), ("f", None, "")))
    assert codes.tolist() == [UNLABELLED, country_index("GB"), UNLABELLED, UNLABELLED, UNLABELLED, NONE]


def test_kappa_by_hand() -> None:
    """Cohen's own shape: 20 of 25 and 15 of 25 agree, so p_o = .7, p_e = .5, kappa = .4."""
    gb, ie = country_index("GB"), country_index("IE")
    first = np.array([gb] * 25 + [ie] * 25 + [UNLABELLED])
    second = np.array([gb] * 20 + [ie] * 5 + [gb] * 10 + [ie] * 15 + [gb])
    found = cohens_kappa(first, second)
    assert found is not None
    assert found == (50, pytest.approx(0.7), pytest.approx(0.4))


def test_kappa_where_there_is_nothing_to_compare() -> None:
    gb = np.array([country_index("GB")] * 3)
    assert cohens_kappa(gb, np.full(3, UNLABELLED)) is None
    assert cohens_kappa(gb, gb) == (3, 1.0, None)
    with pytest.raises(ValueError, match="nobody"):
        read_codes([], FR)
