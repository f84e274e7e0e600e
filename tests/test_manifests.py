"""Leaves of a manifest: every field counts, and no two different entries look alike."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.manifests import ENTRIES, entry_leaves
from schemas.merkle import tree_hash

BAR = {
    "family": "device",
    "evidence": "GB x1",
    "weight_mb": 1200,
    "n_records": 3,
    "n_episodes": 1,
    "null_reason": None,
    "rival": "IE",
}
ENTRY: dict[str, Any] = {
    "entry_id": "uk-1",
    "jurisdiction": "uk",
    "order": "Order of 2022",
    "subject_id": "s",
    "record_id": "r",
    "face_id": "f",
    "tier": "erase",
    "probability": 0.97,
    "score_mb": 5015,
    "bars": [BAR, {**BAR, "family": "network"}],
    "reason": "Likely resident.",
    "model_digest": "sha256:00",
}


def table(*entries: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(entries), schema=ENTRIES)


def part_root(entries: pa.Table) -> bytes:
    return tree_hash(leaf for batch in entries.to_batches() for leaf in entry_leaves(batch))


def leaf(entry: dict[str, Any]) -> bytes:
    return entry_leaves(table(entry).to_batches()[0])[0]


@pytest.mark.parametrize("field", list(ENTRY))
def test_every_field_moves_the_leaf(field: str) -> None:
    other: dict[str, Any] = {"probability": 0.9700000000000001, "score_mb": 5016, "bars": [BAR]}
    assert leaf({**ENTRY, field: other.get(field, str(ENTRY[field]) + "x")}) != leaf(ENTRY)


@pytest.mark.parametrize("field", list(BAR))
def test_every_field_of_a_bar_moves_the_leaf(field: str) -> None:
    value = BAR[field]
    changed = {**BAR, field: value + 1 if isinstance(value, int) else "x" if value is None else value + "x"}
    assert leaf({**ENTRY, "bars": [changed, BAR]}) != leaf({**ENTRY, "bars": [BAR, BAR]})


def test_an_absent_rival_is_not_a_rival_called_nothing() -> None:
    assert leaf({**ENTRY, "bars": [{**BAR, "rival": None}]}) != leaf({**ENTRY, "bars": [{**BAR, "rival": ""}]})
    assert leaf({**ENTRY, "bars": [{**BAR, "rival": None}]}) != leaf({**ENTRY, "bars": [{**BAR, "rival": "-"}]})


@given(st.text(max_size=6), st.text(max_size=6), st.text(max_size=6), st.text(max_size=6))
def test_content_cannot_move_from_one_field_to_the_next(a: str, b: str, c: str, d: str) -> None:
    same = (a, b) == (c, d)
    assert (leaf({**ENTRY, "record_id": a, "face_id": b}) == leaf({**ENTRY, "record_id": c, "face_id": d})) == same


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(0, 12))
def test_chunks_and_slices_do_not_matter(bars: list[int], cut: int) -> None:
    entries = table(*({**ENTRY, "record_id": str(i), "bars": [BAR] * n} for i, n in enumerate(bars)))
    pieces = pa.concat_tables([entries.slice(0, cut), entries.slice(cut)])
    assert part_root(pieces) == part_root(entries.combine_chunks())
