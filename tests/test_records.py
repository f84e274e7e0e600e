"""Tolerant reading of image records."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from schemas.errors import InputError
from schemas.records import RECORD, plan_reading

WHEN = datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)


def conform(table: pa.Table, **columns: str) -> pa.RecordBatch:
    reading = plan_reading(table.schema, columns, "part.parquet")
    return reading.conform(table.select(reading.columns).combine_chunks().to_batches()[0])


def ids(n: int = 2) -> dict[str, pa.Array]:
    return {name: pa.array([f"{name}{i}" for i in range(n)]) for name in ("record_id", "face_id")}


def test_missing_optional_columns_are_null() -> None:
    batch = conform(pa.table(ids()))
    assert batch.schema == RECORD
    assert batch.column("caption").null_count == 2


@pytest.mark.parametrize(
    "text",
    [
        pa.array(["a", None]),
        pa.array(["a", None], pa.large_string()),
        pa.array(["a", None], pa.string_view()),
        pa.array(["a", None]).dictionary_encode(),
        pa.array([b"a", None], pa.binary()),
    ],
    ids=lambda array: str(array.type),
)
def test_near_text_types_are_read_as_text(text: pa.Array) -> None:
    assert conform(pa.table({**ids(), "caption": text})).column("caption").to_pylist() == ["a", None]


def test_a_slice_of_binary_text_keeps_its_rows() -> None:
    table = pa.table({**ids(4), "caption": pa.array([b"a", b"b", b"c", b"d"], pa.binary())})
    reading = plan_reading(table.schema, {}, "part.parquet")
    batch = table.select(reading.columns).combine_chunks().to_batches()[0].slice(2)
    assert reading.conform(batch).column("caption").to_pylist() == ["c", "d"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Paris"])
def test_times_of_any_unit_and_zone_are_the_same_moment(unit: str, zone: str | None) -> None:
    moment = WHEN if zone else WHEN.replace(tzinfo=None)
    times = pa.array([moment, None], pa.timestamp(unit, tz=zone))
    assert conform(pa.table({**ids(), "captured_at": times})).column("captured_at").to_pylist() == [
        WHEN,
        None,
    ]


def test_float32_and_integer_ids_are_cast() -> None:
    table = pa.table({"record_id": [1, 2], "face_id": ["a", "b"], "latitude": np.array([1.5, 2], np.float32)})
    batch = conform(table)
    assert batch.column("record_id").to_pylist() == ["1", "2"]
    assert batch.column("latitude").to_pylist() == [1.5, 2.0]


def test_other_names_are_mapped() -> None:
    table = pa.table({"id": ["r"], "face": ["f"], "text": ["hello"]})
    batch = conform(table, record_id="id", face_id="face", caption="text")
    assert batch.column("caption").to_pylist() == ["hello"]


def test_a_missing_required_column_says_what_to_write() -> None:
    with pytest.raises(
        InputError,
        match=r"record_id needs a column 'record_id'.*did you mean 'recordid'\?.*\[records.columns\]",
    ):
        plan_reading(pa.schema([("recordid", pa.string()), ("face_id", pa.string())]), {}, "part.parquet")


def test_a_mapped_column_that_is_missing_is_an_error() -> None:
    with pytest.raises(InputError, match="caption needs a column 'txt'"):
        plan_reading(pa.table(ids()).schema, {"caption": "txt"}, "part.parquet")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("latitude", pa.string()),
        ("caption", pa.list_(pa.string())),
        ("captured_at", pa.int64()),
        ("record_id", pa.float64()),
    ],
)
def test_a_type_that_cannot_be_cast_is_named(name: str, kind: pa.DataType) -> None:
    schema = pa.schema([("record_id", pa.string()), ("face_id", pa.string())])
    at = schema.get_field_index(name)
    schema = schema.set(at, pa.field(name, kind)) if at >= 0 else schema.append(pa.field(name, kind))
    with pytest.raises(InputError, match=f"column '{name}' has type"):
        plan_reading(schema, {}, "part.parquet")
