"""The digest of rows: the same for the same rows in any layout, another for any other rows."""

import decimal
import io
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stores.audit.rows import RowDigest, digest_rows, hash_rows, read_batches, schema_fingerprint

KEY = b"k" * 16

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("number", pa.int32()),
        ("vector", pa.list_(pa.float32())),
        ("fixed", pa.binary(4)),
        ("money", pa.decimal128(12, 2)),
        ("when", pa.timestamp("us", "UTC")),
        ("place", pa.struct([("city", pa.string()), ("seen", pa.bool_())])),
        ("tags", pa.map_(pa.string(), pa.int64())),
        ("texts", pa.list_(pa.string())),
    ]
)
ROWS = st.fixed_dictionaries(
    {
        "id": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
        "number": st.none() | st.integers(-(2**31), 2**31 - 1),
        "vector": st.none() | st.lists(st.none() | st.floats(width=32), max_size=4),
        "fixed": st.none() | st.binary(min_size=4, max_size=4),
        "money": st.none() | st.decimals(-100, 100, places=2),
        "when": st.none() | st.integers(-(2**40), 2**40),
        "place": st.none()
        | st.fixed_dictionaries({"city": st.none() | st.text("ab", max_size=2), "seen": st.none() | st.booleans()}),
        "tags": st.none() | st.lists(st.tuples(st.text("xyz", max_size=2), st.none() | st.integers(0, 9)), max_size=2),
        "texts": st.none() | st.lists(st.none() | st.text("ab", max_size=2), max_size=3),
    }
)


def batch_of(rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def digest_table(table: pa.Table) -> RowDigest:
    return sum((digest_rows(batch, KEY) for batch in table.to_batches()), RowDigest())


def digest_file(content: bytes) -> RowDigest:
    return sum((digest_rows(batch, KEY) for batch in read_batches(pq.ParquetFile(io.BytesIO(content)))), RowDigest())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(ROWS, max_size=12),
    st.randoms(),
    st.integers(1, 5),
    st.sampled_from(["none", "zstd", "snappy"]),
    st.booleans(),
)
def test_neither_order_nor_layout_matters(
    rows: list[dict[str, Any]], random: Random, chunk: int, codec: str, dictionary: bool
) -> None:
    expected = digest_rows(batch_of(rows), KEY)
    shuffled = list(rows)
    random.shuffle(shuffled)
    table = pa.Table.from_batches([batch_of(shuffled[i : i + chunk]) for i in range(0, len(rows), chunk)], SCHEMA)
    assert digest_table(table) == expected
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=chunk, compression=codec, use_dictionary=dictionary)
    assert digest_file(file.getvalue()) == expected
    # A slice has the buffers of the whole; and so has a row of a nested column.
    whole = batch_of([*rows, *rows])
    assert digest_rows(whole.slice(len(rows)), KEY) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(ROWS, min_size=2, max_size=6, unique_by=repr))
def test_every_row_counts(rows: list[dict[str, Any]]) -> None:
    everything = digest_rows(batch_of(rows), KEY)
    assert digest_rows(batch_of(rows[1:]), KEY).lanes != everything.lanes
    assert digest_rows(batch_of([rows[0], *rows]), KEY).lanes != everything.lanes
    keep = np.arange(len(rows)) > 0
    assert digest_rows(batch_of(rows), KEY, keep) == digest_rows(batch_of(rows[1:]), KEY)
    assert digest_rows(batch_of(rows), KEY, keep) + digest_rows(batch_of(rows), KEY, ~keep) == everything


def full_row() -> dict[str, Any]:
    return {
        "id": "a",
        "number": 1,
        "vector": [0.5, None, 0.25],
        "fixed": b"abcd",
        "money": decimal.Decimal("1.50"),
        "when": 10,
        "place": {"city": "x", "seen": True},
        "tags": [("k", 1)],
        "texts": ["a", None],
    }


@pytest.mark.parametrize(
    ("column", "other"),
    [
        ("id", ""),
        ("id", None),
        ("number", 0),
        ("number", None),
        ("vector", [0.25, None, 0.5]),
        ("vector", [0.5, 0.25, None]),
        ("vector", [0.5, 0.0, 0.25]),
        ("vector", [0.5, 0.25]),
        ("vector", [float(np.nextafter(np.float32(0.5), np.float32(1))), None, 0.25]),
        ("vector", []),
        ("vector", None),
        ("fixed", b"abce"),
        ("money", decimal.Decimal("1.51")),
        ("when", 11),
        ("place", None),
        ("place", {"city": None, "seen": True}),
        ("place", {"city": "x", "seen": None}),
        ("tags", []),
        ("tags", [("k", None)]),
        ("texts", [None, "a"]),
        ("texts", ["", None]),
    ],
)
def test_every_value_counts(column: str, other: object) -> None:
    changed = full_row() | {column: other}
    assert digest_rows(batch_of([changed]), KEY) != digest_rows(batch_of([full_row()]), KEY)


def test_the_sign_of_zero_and_the_bits_of_nan_count() -> None:
    values = np.array([0, 0x80000000, 0x7FC00000, 0x7FC00001], np.uint32).view(np.float32)
    hashes = hash_rows(pa.record_batch({"v": pa.array(values)}), KEY)
    assert len(np.unique(hashes[:, 0])) == 4


def test_two_rows_that_swap_a_value_are_seen() -> None:
    one = pa.record_batch({"a": ["x", "y"], "b": ["1", "2"]})
    other = pa.record_batch({"a": ["x", "y"], "b": ["2", "1"]})
    assert digest_rows(one, KEY) != digest_rows(other, KEY)


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.int32(), pa.large_string()),
    ],
)
def test_how_strings_are_held_does_not_matter(kind: pa.DataType) -> None:
    values = pa.array(["a", None, "", "long enough to be out of line in a view"])
    assert digest_rows(pa.record_batch({"s": values.cast(kind)}), KEY) == digest_rows(
        pa.record_batch({"s": values}), KEY
    )


@pytest.mark.parametrize("kind", [pa.large_list(pa.float32()), pa.list_view(pa.float32()), pa.list_(pa.float32(), 2)])
def test_how_lists_are_held_does_not_matter(kind: pa.DataType) -> None:
    values = pa.array([[1.0, 2.0], None, [None, 3.0]], pa.list_(pa.float32()))
    held = pa.array(values.to_pylist(), kind)
    assert digest_rows(pa.record_batch({"v": held}), KEY) == digest_rows(pa.record_batch({"v": values}), KEY)


def test_a_null_and_what_stands_under_it() -> None:
    data = pa.py_buffer(np.array([1, 2, 3], np.int32))
    other = pa.py_buffer(np.array([1, 9, 3], np.int32))
    valid = pa.py_buffer(bytes([0b101]))
    one, same = (pa.Array.from_buffers(pa.int32(), 3, [valid, buffer]) for buffer in (data, other))
    assert digest_rows(pa.record_batch({"n": one}), KEY) == digest_rows(pa.record_batch({"n": same}), KEY)


def test_the_key_and_the_column_names_count() -> None:
    batch = pa.record_batch({"a": ["x"]})
    assert digest_rows(batch, KEY) != digest_rows(batch, b"j" * 16)
    assert digest_rows(batch, KEY) != digest_rows(batch.rename_columns(["b"]), KEY)
    with pytest.raises(ValueError, match="16 bytes"):
        digest_rows(batch, b"short")


def fingerprint_of(schema: pa.Schema, **settings: object) -> str:
    file = io.BytesIO()
    pq.write_table(schema.empty_table(), file, **settings)
    return schema_fingerprint(pq.ParquetFile(file))


def test_schema_fingerprint_sees_types_nullability_and_metadata_and_no_layout() -> None:
    schema = pa.schema([("a", pa.string()), ("v", pa.list_(pa.float32()))], metadata={"made": "by us"})
    usual = fingerprint_of(schema)
    assert fingerprint_of(schema, compression="zstd", use_dictionary=False) == usual
    others = [
        schema.with_metadata({"made": "by them"}),
        schema.remove_metadata(),
        schema.set(0, pa.field("a", pa.string(), nullable=False)),
        schema.set(0, pa.field("a", pa.large_string())),
        schema.set(0, pa.field("a", pa.string(), metadata={"note": "x"})),
        schema.set(1, pa.field("v", pa.list_(pa.float64()))),
    ]
    assert len({usual, *(fingerprint_of(other) for other in others)}) == len(others) + 1
