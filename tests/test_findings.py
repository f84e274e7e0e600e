"""Ids compared over all records, against a plain Python comparison."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipelines.findings import FINDINGS, IDS, Finding, IdKind, apply_findings, compare_ids, list_ids
from schemas.countries import NONE
from schemas.evidence import EVIDENCE, NullReason
from schemas.hashing import hash_strings
from schemas.quarantine import Fault

record = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from("fgh"),
    st.sampled_from("st"),
    st.integers(0, 2),
    st.sampled_from([0, 0, 2]),
)
records = st.lists(record, max_size=12)


def evidence(rows: list[tuple[str, str, str, int, int]]) -> pa.Table:
    n = len(rows)
    known = {
        "row": np.arange(n),
        "record_id": [row[0] for row in rows],
        "face_id": [row[1] for row in rows],
        "subject_id": [row[2] for row in rows],
        "phone_hash": np.array([row[3] for row in rows], np.uint64),
        "phone_value": np.array([row[3] - 1 for row in rows], np.int16),
        "fault": np.array([row[4] for row in rows], np.uint8),
    }
    return pa.table({f.name: pa.array(known.get(f.name, np.zeros(n)), f.type) for f in EVIDENCE}, schema=EVIDENCE)


def found(table: pa.Table, limit: int = 1) -> dict[int, set[int]]:
    subjects = hash_strings(table.column("subject_id").combine_chunks())
    findings = compare_ids(list_ids(table, subjects), limit)
    assert findings.schema == FINDINGS
    by_finding: dict[int, set[int]] = defaultdict(set)
    for finding in findings.to_pylist():
        by_finding[finding["finding"]].add(finding["row"])
    return by_finding


@given(records)
def test_what_is_found_is_what_a_plain_comparison_finds(rows: list[tuple[str, str, str, int, int]]) -> None:
    usable = [(i, row) for i, row in enumerate(rows) if not row[4]]
    seen: set[str] = set()
    duplicates = {i for i, row in usable if row[0] in seen or seen.add(row[0])}  # type: ignore[func-returns-value]
    subjects: dict[str, set[str]] = defaultdict(set)
    numbers: dict[int, set[str]] = defaultdict(set)
    for _, row in usable:
        subjects[row[1]].add(row[2])
        numbers[row[3]].add(row[2])

    by_finding = found(evidence(rows))
    assert by_finding[Finding.DUPLICATE_RECORD_ID] == duplicates
    assert by_finding[Finding.FACE_OF_SEVERAL_SUBJECTS] == {i for i, row in usable if len(subjects[row[1]]) > 1}
    assert by_finding[Finding.SWITCHBOARD] == {i for i, row in usable if row[3] and len(numbers[row[3]]) > 1}


@given(records, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(rows: list[tuple[str, str, str, int, int]], shuffle: object) -> None:
    table = evidence(rows)
    ids = list_ids(table, hash_strings(table.column("subject_id").combine_chunks()))
    order = list(range(len(ids)))
    shuffle.shuffle(order)  # type: ignore[attr-defined]
    assert compare_ids(ids.take(pa.array(order, pa.int64())), 1).equals(compare_ids(ids, 1))


def test_findings_reach_their_records() -> None:
    table = evidence([("a", "f", "s", 1, 0), ("a", "g", "s", 2, 0), ("b", "h", "s", 2, 0)])
    findings = pa.table(
        {
            "unit": [0, 0],
            "row": [1, 2],
            "finding": [Finding.DUPLICATE_RECORD_ID, Finding.SWITCHBOARD],
            "subject": [0, 0],
        },
        schema=FINDINGS,
    )
    after = apply_findings(table, findings)
    assert after.column("fault").to_pylist() == [0, Fault.DUPLICATE_RECORD_ID, 0]
    assert after.column("phone_value").to_pylist() == [0, 1, NONE]
    assert after.column("phone_reason").to_pylist() == [0, 0, NullReason.SWITCHBOARD]


def test_an_empty_shard_finds_nothing() -> None:
    assert len(compare_ids(IDS.empty_table(), 1)) == 0
    assert [kind.name for kind in IdKind] == ["RECORD", "FACE", "PHONE"]
