"""What a purge leaves: exactly the file there was, without the rows of the keys, and no trace of them."""

import datetime
import decimal
import json
import os
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import InputError
from schemas.files import TEMPORARY_PREFIX
from stores import thrift
from stores.contract import Receipt, Status
from stores.keys import KeySet
from stores.parquet import ParquetStore

ROWS = 90


def ids(count: int = ROWS) -> list[str]:
    return [f"face-{row:08d}" for row in range(count)]


DOOMED = ids()[::3]


def purge(path: Path, doomed: list[str], key: str = "face_id") -> list[Receipt]:
    """Purge the store at `path`, all steps; keys and ledger lie beside it."""
    keys = KeySet.write(path.parent / "keys.arrow", [pa.array(doomed, pa.string())])
    store = ParquetStore(str(path), key)
    return [store.purge(store.locate(unit, keys), keys, path.parent / "ledger") for unit in store.units()]


def stored(folder: Path, table: pa.Table, **options: object) -> Path:
    """Write `table` as the one file of a new store."""
    (folder / "store").mkdir(exist_ok=True)
    path = folder / "store" / "faces.parquet"
    pq.write_table(table, path, **options)
    return path


def plain(table: pa.Table) -> pa.Table:
    """Dictionaries and views as plain columns, which can be filtered and compared; their types are compared apart."""

    def cast(column: pa.ChunkedArray) -> pa.ChunkedArray:
        if pa.types.is_dictionary(column.type):
            return column.cast(column.type.value_type)
        return column.cast(pa.string()) if pa.types.is_string_view(column.type) else column

    return pa.table([cast(column) for column in table.columns], table.column_names)


def assert_purged(before: pa.Table, path: Path) -> None:
    """The file at `path` reads as `before`, as it was read from the same file, without the doomed rows."""
    after = pq.read_table(path, partitioning=None)
    mask = pc.is_in(before["face_id"], value_set=pa.array(DOOMED))
    assert after.schema.equals(before.schema, check_metadata=True)
    assert plain(after).equals(plain(before).filter(pc.invert(mask)))


def chunks(path: Path, column: int = 0) -> list[pq.ColumnChunkMetaData]:
    metadata = pq.read_metadata(path)
    return [metadata.row_group(i).column(column) for i in range(metadata.num_row_groups)]


def vectors(kind: pa.DataType, nulls: bool = False) -> pa.Array:
    values = np.random.default_rng(7).standard_normal((ROWS, 8)).astype(np.float32)
    if pa.types.is_fixed_size_binary(kind):
        rows: list = [row.tobytes() for row in values]
    else:
        rows = values.tolist()
    return pa.array([None if nulls and i % 4 == 1 else row for i, row in enumerate(rows)], kind)


COLUMNS: dict[str, pa.Array] = {
    "int8": pa.array([i - 40 for i in range(ROWS)], pa.int8()),
    "uint32": pa.array([2**32 - 1 - i for i in range(ROWS)], pa.uint32()),
    "uint64": pa.array([2**64 - 1 - i for i in range(ROWS)], pa.uint64()),
    "float16": pa.array(np.arange(ROWS, dtype=np.float16) / 8),
    "bool": pa.array([i % 3 == 0 if i % 5 else None for i in range(ROWS)]),
    "decimal128": pa.array([decimal.Decimal(i - 30) / 100 for i in range(ROWS)], pa.decimal128(9, 2)),
    "decimal256": pa.array([decimal.Decimal(-i) for i in range(ROWS)], pa.decimal256(60, 0)),
    "date": pa.array([datetime.date(1999, 1, 1)] * ROWS),
    "time64": pa.array([datetime.time(1, 2, 3, i) for i in range(ROWS)]),
    "ts_ns": pa.array([i * 10**17 + 1 for i in range(ROWS)], pa.timestamp("ns", "UTC")),
    "ts_us": pa.array([i * 10**14 for i in range(ROWS)], pa.timestamp("us", "Europe/Rome")),
    "ts_ms": pa.array([-(i * 10**11) for i in range(ROWS)], pa.timestamp("ms")),
    "duration": pa.array(range(ROWS), pa.duration("us")),
    "large_string": pa.array([f"é{i}" * (i % 4) for i in range(ROWS)], pa.large_string()),
    "string_view": pa.array([f"v{i}" for i in range(ROWS)], pa.string_view()),
    "null": pa.nulls(ROWS),
    "dictionary": pa.DictionaryArray.from_arrays(
        pa.array([i % 5 for i in range(ROWS)], pa.int8()), pa.array(list("vwxyz")), ordered=True
    ),
    "list<float>": vectors(pa.list_(pa.float32())),
    "list<float> with nulls": vectors(pa.list_(pa.float32()), nulls=True),
    "ragged list": pa.array([[float(i)] * (i % 4) if i % 7 else None for i in range(ROWS)]),
    "list with null items": pa.array([[1.0, None, float(i)] for i in range(ROWS)]),
    "large_list<double>": vectors(pa.large_list(pa.float64())),
    "fixed_size_list": vectors(pa.list_(pa.float32(), 8)),
    "fixed_size_binary": vectors(pa.binary(32)),
    "fixed_size_binary with nulls": vectors(pa.binary(32), nulls=True),
    "nested list": pa.array([[[i], [], None] if i % 5 else None for i in range(ROWS)], pa.list_(pa.list_(pa.int32()))),
    "struct": pa.array([{"a": i, "b": {"c": [str(i)]}} if i % 4 else None for i in range(ROWS)]),
    "list of struct": pa.array([[{"x": i, "y": str(i)}, None] * (i % 3) for i in range(ROWS)]),
    "map": pa.array([[("k", i)] if i % 3 else None for i in range(ROWS)], pa.map_(pa.string(), pa.int16())),
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_every_type_stays_what_it_is(tmp_path: Path, name: str) -> None:
    table = pa.table({"face_id": ids(), "column": COLUMNS[name]})
    path = stored(tmp_path, table, row_group_size=25)
    before, schema = pq.read_table(path), pq.read_metadata(path).schema
    (receipt,) = purge(path.parent, DOOMED)
    assert (receipt.status, receipt.rows_removed) == (Status.REMOVED, len(DOOMED))
    assert_purged(before, path)
    assert pq.read_metadata(path).schema.equals(schema)


def test_null_masked_fixed_size_lists(tmp_path: Path) -> None:
    """The values under a null are no part of the column: none may reach the new file."""
    values = pa.array(np.arange(ROWS * 4, dtype=np.float32))
    lists = pa.FixedSizeListArray.from_arrays(values, 4, mask=pa.array([i % 2 == 0 for i in range(ROWS)]))
    as_lists = pa.table({"face_id": ids(), "v": lists.cast(pa.list_(pa.float32()))})
    path = stored(tmp_path, as_lists, compression="none")
    before = pq.read_table(path)
    purge(path.parent, DOOMED)
    assert_purged(before, path)
    assert np.float32(4 * 2).tobytes() + np.float32(4 * 2 + 1).tobytes() not in path.read_bytes()


def test_a_table_that_was_a_slice(tmp_path: Path) -> None:
    whole = pa.table({"face_id": ids(200), "v": pa.array([[float(i), 1.0] for i in range(200)])})
    table = whole.slice(0, ROWS)
    path = stored(tmp_path, table, row_group_size=40)
    before = pq.read_table(path)
    purge(path.parent, DOOMED)
    assert_purged(before, path)


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "brotli", "lz4", "zstd"])
def test_codec_of_every_column_is_kept(tmp_path: Path, codec: str) -> None:
    table = pa.table({"face_id": ids(), "v": vectors(pa.list_(pa.float32())), "n": range(ROWS)})
    path = stored(tmp_path, table, compression={"face_id": "zstd", "v.list.element": codec, "n": "snappy"})
    before, codecs = pq.read_table(path), [chunks(path, i)[0].compression for i in range(3)]
    purge(path.parent, DOOMED)
    assert_purged(before, path)
    assert [chunks(path, i)[0].compression for i in range(3)] == codecs


def test_encodings_and_dictionaries_are_kept(tmp_path: Path) -> None:
    table = pa.table(
        {
            "face_id": ids(),
            "word": pa.array(["a", "b", "c"] * (ROWS // 3)),
            "plain": pa.array(["a", "b", "c"] * (ROWS // 3)),
            "delta": range(ROWS),
            "front": ids(),
            "length": ids(),
            "split": np.arange(ROWS, dtype=np.float32),
            "bits": pa.array([True, False] * (ROWS // 2)),
        }
    )
    encodings = {
        "face_id": "PLAIN",
        "plain": "PLAIN",
        "delta": "DELTA_BINARY_PACKED",
        "front": "DELTA_BYTE_ARRAY",
        "length": "DELTA_LENGTH_BYTE_ARRAY",
        "split": "BYTE_STREAM_SPLIT",
        "bits": "RLE",
    }
    path = stored(tmp_path, table, use_dictionary=["word"], column_encoding=encodings)
    before = [set(chunks(path, i)[0].encodings) for i in range(8)]
    (receipt,) = purge(path.parent, DOOMED)
    assert_purged(table, path)
    assert [set(chunks(path, i)[0].encodings) for i in range(8)] == before
    assert receipt.dropped == ()


@pytest.mark.parametrize("version", ["1.0", "2.4", "2.6"])
@pytest.mark.parametrize("page_version", ["1.0", "2.0"])
def test_format_and_page_versions_are_kept(tmp_path: Path, version: str, page_version: str) -> None:
    table = pa.table(
        {
            "face_id": ids(),
            "u": pa.array(range(ROWS), pa.uint32()),
            "t": pa.array(range(0, ROWS * 1000, 1000), pa.timestamp("ns")),
        }
    )
    path = stored(tmp_path, table, version=version, data_page_version=page_version, row_group_size=40)
    before = pq.read_table(path)
    metadata = pq.read_metadata(path)
    encodings = [chunks(path, i)[0].encodings for i in range(3)]
    purge(path.parent, DOOMED)
    assert_purged(before, path)
    assert pq.read_metadata(path).format_version == metadata.format_version
    assert [chunks(path, i)[0].encodings for i in range(3)] == encodings
    # The type of the first page: 0 for version 1, 3 for version 2, zigzag coded, after the header of field 1.
    at = chunks(path, 1)[0].data_page_offset
    assert path.read_bytes()[at : at + 2] == (b"\x15\x06" if page_version == "2.0" else b"\x15\x00")


def test_page_index_checksums_bloom_filter_and_sorting(tmp_path: Path) -> None:
    table = pa.table({"face_id": ids(), "v": vectors(pa.binary(32)), "n": range(ROWS)})
    path = stored(
        tmp_path,
        table,
        row_group_size=30,
        write_page_index=True,
        write_page_checksum=True,
        sorting_columns=[pq.SortingColumn(2, descending=False)],
        bloom_filter_options={"face_id": {"ndv": ROWS}},
    )
    (receipt,) = purge(path.parent, DOOMED)
    metadata = pq.read_metadata(path)
    assert all(metadata.row_group(i).sorting_columns == (pq.SortingColumn(2),) for i in range(3))
    assert all(chunk.has_column_index and chunk.has_offset_index for chunk in chunks(path, 0))
    assert all(chunk.bloom_filter_offset for chunk in chunks(path, 0))
    assert not any(chunk.has_column_index for chunk in chunks(path, 1))
    assert "statistics of v" in receipt.dropped
    assert not any("bloom" in lost for lost in receipt.dropped)
    assert pq.read_table(path, filters=[("n", ">", 80)], page_checksum_verification=True).num_rows == 6
    hit = duckdb.sql(f"select count(*) from '{path}' where face_id = '{ids()[1]}'").fetchall()
    gone = duckdb.sql(f"select count(*) from '{path}' where face_id = '{DOOMED[1]}'").fetchall()
    assert (hit, gone) == ([(1,)], [(0,)])


def test_row_groups_lose_rows_and_empty_ones_vanish(tmp_path: Path) -> None:
    table = pa.table({"face_id": ids(), "v": vectors(pa.list_(pa.float32()))})
    path = stored(tmp_path, table, row_group_size=30)
    (receipt,) = purge(path.parent, [*ids()[30:60], ids()[0]])
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [29, 30]
    assert (receipt.before.rows, receipt.rows_removed) == (90, 31)
    assert receipt.after is not None
    assert receipt.after.rows == 59


def test_a_file_that_loses_all_rows_keeps_its_schema(tmp_path: Path) -> None:
    table = pa.table({"face_id": ids(), "d": COLUMNS["dictionary"]}).replace_schema_metadata({"owner": "x"})
    path = stored(tmp_path, table)
    (receipt,) = purge(path.parent, ids())
    assert receipt.rows_removed == ROWS
    assert pq.read_table(path).equals(table.slice(0, 0), check_metadata=True)
    assert b"face-0" not in path.read_bytes()
    assert purge(path.parent, ids())[0] == receipt


def test_row_groups_without_rows(tmp_path: Path) -> None:
    table = pa.table({"face_id": ids(), "n": range(ROWS)})
    path = stored(tmp_path, table)
    with pq.ParquetWriter(path, table.schema) as writer:
        for part in (table.slice(0, 0), table.slice(0, 50), table.slice(0, 0), table.slice(50)):
            writer.write_table(part)
    purge(path.parent, DOOMED)
    assert_purged(table, path)


def test_duplicate_keys_all_go_and_null_keys_stay(tmp_path: Path) -> None:
    table = pa.table({"face_id": pa.array(["a", "b", None, "a", None, "c", "a"]), "n": range(7)})
    path = stored(tmp_path, table, row_group_size=2)
    (receipt,) = purge(path.parent, ["a", "never there"])
    assert receipt.rows_removed == 3
    assert pq.read_table(path)["n"].to_pylist() == [1, 2, 4, 5]


def test_integer_and_nested_keys(tmp_path: Path) -> None:
    table = pa.table({"face": pa.array([{"id": i, "v": 1.0} if i % 5 else None for i in range(20)])})
    path = stored(tmp_path, table)
    (receipt,) = purge(path.parent, ["3", "5", "7"], key="face.id")
    assert receipt.rows_removed == 2
    assert pq.read_table(path).equals(table.filter(pa.array([i not in (3, 7) for i in range(20)])))


# --- what must not stay behind ------------------------------------------------------------------------------------


def test_dictionary_columns_forget_the_removed_values(tmp_path: Path) -> None:
    names = pa.array([f"name of {face}" for face in ids()])
    table = pa.table({"face_id": ids(), "name": names.dictionary_encode()})
    path = stored(tmp_path, table, compression="none")
    assert b"name of face-00000003" in path.read_bytes()
    purge(path.parent, DOOMED)
    content = path.read_bytes()
    assert not any(b"name of " + face.encode() in content for face in DOOMED)
    assert b"name of face-00000001" in content
    assert_purged(table, path)


def test_dictionary_type_keeps_index_type_and_order(tmp_path: Path) -> None:
    path = stored(tmp_path, pa.table({"face_id": ids(), "d": COLUMNS["dictionary"]}))
    kind = pq.read_schema(path).field("d").type
    purge(path.parent, DOOMED)
    assert pq.read_schema(path).field("d").type.equals(kind)
    assert kind.ordered


def test_statistics_hold_no_vectors(tmp_path: Path) -> None:
    """By default the statistics of fixed-size binaries are two whole vectors, of people who stay as well."""
    table = pa.table({"face_id": ids(), "v": vectors(pa.binary(32)), "n": range(ROWS)})
    path = stored(tmp_path, table, compression="none", use_dictionary=False, write_page_index=True)
    purge(path.parent, DOOMED)
    assert not any(chunk.is_stats_set for chunk in chunks(path, 1))
    assert all(chunk.is_stats_set for i in (0, 2) for chunk in chunks(path, i))
    content = path.read_bytes()
    for row, vector in enumerate(table["v"].to_pylist()):
        assert content.count(vector) == (row % 3 != 0)


def test_statistics_are_those_of_the_survivors(tmp_path: Path) -> None:
    columns = {"d": COLUMNS["decimal128"], "u": COLUMNS["uint64"], "t": COLUMNS["ts_us"], "f": COLUMNS["float16"]}
    table = pa.table({"face_id": ids(), **columns})
    path = stored(tmp_path, table)
    purge(path.parent, DOOMED)
    assert chunks(path, 0)[0].statistics.min == ids()[1]
    for number, name in enumerate(columns, start=1):
        values = pq.read_table(path)[name].to_pylist()
        statistics = chunks(path, number)[0].statistics
        bounds = [
            np.frombuffer(bound, np.float16)[0] if name == "f" else bound for bound in (statistics.min, statistics.max)
        ]
        assert bounds == [min(values), max(values)], name


def test_metadata_with_a_purged_id_goes_and_is_named(tmp_path: Path) -> None:
    field = pa.field("n", pa.int64(), metadata={"sample": f"like {DOOMED[2]}", "unit": "mm"})
    schema = pa.schema([pa.field("face_id", pa.string()), field])
    metadata = {"first": DOOMED[0], "list": json.dumps({"seen": ids()}), "owner": "city", DOOMED[4]: "1"}
    table = pa.table([ids(), list(range(ROWS))], schema=schema).replace_schema_metadata(metadata)
    path = stored(tmp_path, table, compression="none")
    (receipt,) = purge(path.parent, DOOMED)
    after = pq.read_schema(path)
    assert after.metadata == {b"owner": b"city"}
    assert after.field("n").metadata == {b"unit": b"mm"} | {
        key: value for key, value in after.field("n").metadata.items() if key == b"PARQUET:field_id"
    }
    assert {"key/value metadata first", "key/value metadata list"} <= set(receipt.dropped)
    assert not any(face in json.dumps(receipt.to_json()) for face in ids())
    raw = pq.read_metadata(path).metadata
    assert not any(face.encode() in path.read_bytes() for face in DOOMED)
    assert set(raw) == {b"owner", b"ARROW:schema"}


def test_short_ids_in_metadata_count_as_whole_words_only(tmp_path: Path) -> None:
    metadata = {"a": "rows 512", "b": "subject 12 asked", "c": "v12"}
    path = stored(tmp_path, pa.table({"face_id": ["12", "13"]}).replace_schema_metadata(metadata))
    purge(path.parent, ["12"])
    assert set(pq.read_schema(path).metadata) == {b"a", b"c"}


def test_pandas_metadata_stays_unless_the_users_part_holds_an_id(tmp_path: Path) -> None:
    """Its structural part is full of bare numbers, such as where a range index stops, that are no ids."""
    structure = {
        "index_columns": [{"kind": "range", "name": None, "start": 0, "stop": 90, "step": 1}],
        "columns": [{"name": "kind", "pandas_type": "categorical", "metadata": {"num_categories": 3, "ordered": True}}],
        "attributes": {},
        "pandas_version": "3.0.0",
    }
    for attributes, stays in (({"note": "clean"}, True), ({"bad rows": [4]}, False)):
        metadata = {"pandas": json.dumps(structure | {"attributes": attributes})}
        table = pa.table({"face_id": range(90), "kind": COLUMNS["dictionary"]}).replace_schema_metadata(metadata)
        path = stored(tmp_path, table)
        (receipt,) = purge(path.parent, ["3", "4", "90"])
        assert receipt.rows_removed == 2
        assert (b"pandas" in (pq.read_schema(path).metadata or {})) == stays
        assert any(name.endswith("pandas") for name in receipt.dropped) != stays


# --- files of other writers ---------------------------------------------------------------------------------------


def footer_of(path: Path) -> thrift.Struct:
    """The footer, without the Arrow schema that no other writer would have left in it."""
    content = path.read_bytes()
    footer = thrift.decode(content[-8 - int.from_bytes(content[-8:-4], "little") : -8])
    footer.drop(5)
    return footer


def replace_footer(path: Path, footer: thrift.Struct) -> None:
    content, changed = path.read_bytes(), thrift.encode(footer)
    pages = content[: -8 - int.from_bytes(content[-8:-4], "little")]
    path.write_bytes(pages + changed + len(changed).to_bytes(4, "little") + b"PAR1")


def test_decimals_in_more_bytes_than_needed(tmp_path: Path) -> None:
    """Their order is not that of bare bytes: better no minimum and maximum than wrong ones."""
    numbers = [row - 40 for row in range(ROWS)]
    content = pa.array([number.to_bytes(16, "big", signed=True) for number in numbers], pa.binary(16))
    path = stored(tmp_path, pa.table({"face_id": ids(), "d": content}))
    footer = footer_of(path)
    for field, value in ((6, 5), (7, 2), (8, 9)):  # converted type DECIMAL, scale, precision
        footer.structs(2)[2].put(field, thrift.I32, value)
    replace_footer(path, footer)
    before = pq.read_table(path)
    assert before["d"].to_pylist() == [decimal.Decimal(number) / 100 for number in numbers]
    (receipt,) = purge(path.parent, DOOMED)
    assert_purged(before, path)
    assert not chunks(path, 1)[0].is_stats_set
    assert receipt.dropped == ("statistics of d",)


def test_int96_stays_int96_whatever_its_range(tmp_path: Path) -> None:
    """Spark's 9999-12-31 does not fit into nanoseconds, and nobody needs to interpret it."""
    table = pa.table({"face_id": ids(), "t": pa.array([2**61 - i for i in range(ROWS)], pa.timestamp("ns"))})
    path = stored(tmp_path, table, use_deprecated_int96_timestamps=True, use_dictionary=False, compression="none")
    far = (123).to_bytes(8, "little") + (5_373_484).to_bytes(4, "little")  # nanoseconds, and the Julian day

    def last_value() -> slice:
        chunk = chunks(path, 1)[0]
        end = chunk.data_page_offset + chunk.total_compressed_size
        return slice(end - 12, end)

    content = bytearray(path.read_bytes())
    content[last_value()] = far
    path.write_bytes(content)
    purge(path.parent, DOOMED)
    assert pq.read_metadata(path).schema.column(1).physical_type == "INT96"
    assert path.read_bytes()[last_value()] == far
    assert pq.read_table(path)["t"][0].value == 2**61 - 1


@pytest.mark.parametrize("shape", ["bag", "two levels", "bare repeated"])
def test_lists_in_the_ways_of_older_writers(tmp_path: Path, shape: str) -> None:
    """Hive's `bag` of `array_element`, two-level lists, and protobuf's repeated field without any annotation."""
    kind = pa.list_(pa.field("element", pa.int32(), nullable=shape == "bag"))
    field = pa.field("v", kind, nullable=shape != "bare repeated")
    values = [[row, -row][: row % 3] for row in range(ROWS)]
    path = stored(tmp_path, pa.table([ids(), values], schema=pa.schema([pa.field("face_id", pa.string()), field])))
    footer = footer_of(path)
    _, schema = footer.fields[2]
    assert isinstance(schema, thrift.Sequence)
    root, key, outer, middle, element = footer.structs(2)
    if shape == "bag":
        middle.put(4, thrift.BINARY, b"bag")
        element.put(4, thrift.BINARY, b"array_element")
        names: list = [b"v", b"bag", b"array_element"]
    else:
        element.put(3, thrift.I32, 2)  # repeated
        names = [b"v", b"array"] if shape == "two levels" else [b"v"]
        element.put(4, thrift.BINARY, names[-1])
        schema.items = [root, key, outer, element] if shape == "two levels" else [root, key, element]
    for group in footer.structs(4):
        meta = group.structs(1)[1].struct(3)
        assert meta is not None
        meta.put(3, thrift.LIST, thrift.Sequence(thrift.BINARY, names))
    replace_footer(path, footer)
    before, schema_before = pq.read_table(path), pq.read_metadata(path).schema
    assert before["v"].to_pylist() == values
    (receipt,) = purge(path.parent, DOOMED)
    assert receipt.status is Status.REMOVED, receipt.detail
    assert_purged(before, path)
    assert pq.read_metadata(path).schema.equals(schema_before)
    assert chunks(path, 1)[0].path_in_schema == b".".join(names).decode()


def test_a_row_group_of_more_than_a_million_rows(tmp_path: Path) -> None:
    """Longer than the row groups pyarrow writes by default."""
    rows = (1 << 20) + 5
    table = pa.table({"face_id": pa.array(range(rows)), "n": pa.array(np.zeros(rows, np.int8))})
    path = stored(tmp_path, table, row_group_size=rows, use_dictionary=False)
    purge(path.parent, ["7"])
    assert [pq.read_metadata(path).row_group(i).num_rows for i in range(pq.read_metadata(path).num_row_groups)] == [
        rows - 1
    ]


def test_decimals_stored_as_integers(tmp_path: Path) -> None:
    table = pa.table({"face_id": ids(), "d": COLUMNS["decimal128"]})
    path = stored(tmp_path, table, store_decimal_as_integer=True)
    schema = pq.read_metadata(path).schema
    purge(path.parent, DOOMED)
    assert_purged(table, path)
    assert pq.read_metadata(path).schema.equals(schema)
    assert chunks(path, 1)[0].physical_type == "INT32"


def test_field_ids_and_nullability(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            pa.field("face_id", pa.string(), nullable=False, metadata={"PARQUET:field_id": "7"}),
            pa.field("v", pa.list_(pa.field("x", pa.float32(), nullable=False)), nullable=False),
        ]
    )
    table = pa.table([ids(), [[1.0, 2.0]] * ROWS], schema=schema)
    path = stored(tmp_path, table, use_compliant_nested_type=False)
    before, parquet_schema = pq.read_table(path), pq.read_metadata(path).schema
    purge(path.parent, DOOMED)
    assert_purged(before, path)
    assert pq.read_metadata(path).schema.equals(parquet_schema)
    assert [chunk.path_in_schema for chunk in chunks(path, 1)] == ["v.list.x"]


def test_files_of_polars_and_duckdb(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "face_id": ids(),
            "v": [[1.0, None, float(i)] for i in range(ROWS)],
            "a": pl.Series([[1.0, 2.0]] * ROWS, dtype=pl.Array(pl.Float32, 2)),
            "c": pl.Series(["x", "y", None] * 30, dtype=pl.Categorical),
            "t": [datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)] * ROWS,
        }
    )
    (tmp_path / "store").mkdir()
    path = tmp_path / "store" / "polars.parquet"
    frame.write_parquet(path, row_group_size=40)
    other = tmp_path / "store" / "duck.parquet"
    duckdb.sql(
        f"copy (select face_id, v, t, {{'k': c}} s, map {{'k': 1}} m, uuid() u, face_id::blob b, 1::hugeint h, "
        f"interval 3 day i, '{{}}'::json j, 1.5::decimal(4, 1) d from '{path}') to '{other}' (row_group_size 40)"
    )
    before = {file: duckdb.sql(f"select * from '{file}'").to_arrow_table() for file in (path, other)}
    described = {
        file: duckdb.sql(f"select * exclude (file_name) from parquet_schema('{file}')").fetchall() for file in before
    }
    receipts = purge(path.parent, DOOMED)
    assert {receipt.status for receipt in receipts} == {Status.REMOVED}, [receipt.detail for receipt in receipts]
    for file, table in before.items():
        keep = [face not in set(DOOMED) for face in table["face_id"].to_pylist()]
        after = duckdb.sql(f"select * from '{file}'").to_arrow_table()
        assert after.equals(table.filter(pa.array(keep)))
        assert duckdb.sql(f"select * exclude (file_name) from parquet_schema('{file}')").fetchall() == described[file]
    assert pl.read_parquet(path).equals(frame.filter(~pl.col("face_id").is_in(DOOMED)))


# --- the store ----------------------------------------------------------------------------------------------------


def test_only_files_with_a_match_are_touched(tmp_path: Path) -> None:
    table = pa.table({"face_id": ids(), "n": range(ROWS)})
    path = stored(tmp_path, table)
    other = path.with_name("other.parquet")
    pq.write_table(pa.table({"face_id": ["someone else"]}), other)
    stat = other.stat()
    first, second = purge(path.parent, DOOMED)
    assert (first.status, second.status) == (Status.REMOVED, Status.UNCHANGED)
    assert (other.stat().st_mtime_ns, other.stat().st_ino) == (stat.st_mtime_ns, stat.st_ino)
    receipts = sorted((tmp_path / "ledger").iterdir())
    again = purge(path.parent, DOOMED)
    assert again == [first, second]
    assert sorted((tmp_path / "ledger").iterdir()) == receipts
    assert {Receipt.from_json(json.loads(file.read_text())) for file in receipts} == {first, second}


def test_a_file_changed_since_it_was_located_is_a_conflict(tmp_path: Path) -> None:
    table = pa.table({"face_id": ids(), "n": range(ROWS)})
    path = stored(tmp_path, table)
    keys = KeySet.write(tmp_path / "keys", [pa.array(DOOMED)])
    store = ParquetStore(str(path), "face_id")
    match = store.locate(store.units()[0], keys)
    pq.write_table(table.slice(1), path)
    content = path.read_bytes()
    receipt = store.purge(match, keys, tmp_path / "ledger")
    assert receipt.status is Status.CONFLICT
    assert "locate it again" in (receipt.detail or "")
    assert path.read_bytes() == content
    path.unlink()
    assert store.purge(match, keys, tmp_path / "ledger").status is Status.CONFLICT
    pq.write_table(table, path)
    receipt = store.purge(store.locate(str(path), keys), keys, tmp_path / "ledger")
    assert receipt.status is Status.REMOVED
    assert len(list((tmp_path / "ledger").iterdir())) == 1


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "footer", "pages", "encrypted"])
def test_a_damaged_file_is_reported_and_left(tmp_path: Path, damage: str) -> None:
    path = stored(tmp_path, pa.table({"face_id": ids(), "n": range(ROWS)}), compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    if damage == "pages":
        content[4:400] = b"\xff" * 396
    elif damage == "footer":
        content[-60:-8] = b"\xff" * 52
    content = {"cut": content[:500], "empty": b"", "text": b"no Parquet", "encrypted": content[:-4] + b"PARE"}.get(
        damage, content
    )
    path.write_bytes(content)
    pq.write_table(pa.table({"face_id": ids()}), path.with_name("good.parquet"))
    bad, good = purge(path.parent, DOOMED)
    assert (bad.status, good.status) == (Status.UNREADABLE, Status.REMOVED)
    assert bad.detail
    assert bad.after is None
    assert path.read_bytes() == content


def test_a_damaged_column_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = stored(tmp_path, pa.table({"face_id": ids(), "n": ids()}), compression="zstd", use_dictionary=False)
    content = bytearray(path.read_bytes())
    chunk = chunks(path, 1)[0]
    content[chunk.data_page_offset : chunk.data_page_offset + chunk.total_compressed_size] = (
        b"\xff" * chunk.total_compressed_size
    )
    path.write_bytes(content)
    (receipt,) = purge(path.parent, DOOMED)
    assert receipt.status is Status.FAILED
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("key", "message"),
    [("id", "is not there; found face_id"), ("v.list.element", "is a list"), ("x", "double"), ("t", "timestamp")],
)
def test_a_key_column_that_cannot_be_used(tmp_path: Path, key: str, message: str) -> None:
    columns = {"face_id": ids(), "v": vectors(pa.list_(pa.float32())), "x": [1.5] * ROWS, "t": COLUMNS["ts_us"]}
    path = stored(tmp_path, pa.table(columns))
    with pytest.raises(InputError, match=message):
        purge(path.parent, DOOMED, key=key)


def test_owner_permissions_and_attributes_are_kept(tmp_path: Path) -> None:
    path = stored(tmp_path, pa.table({"face_id": ids()}))
    path.chmod(0o640)
    if os.getuid() == 0:
        os.chown(path, 1234, 4321)
    attributes = {}
    try:
        os.setxattr(path, "user.label", b"restricted")
        attributes = {"user.label": b"restricted"}
    except OSError:
        pass  # a file system without extended attributes
    before = path.stat()
    purge(path.parent, DOOMED)
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert {name: os.getxattr(path, name) for name in attributes} == attributes
    assert after.st_mtime_ns > before.st_mtime_ns


def test_folders_files_globs_and_links(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "real.parquet"
    for path in (tmp_path / "s/b/2.parquet", tmp_path / "s/a/1.parquet", tmp_path / "s/3.PARQUET", elsewhere):
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"face_id": ids()}), path)
    for ignored in (".hidden.parquet", f"{TEMPORARY_PREFIX}1", "readme.txt", ".trash/x.parquet"):
        (tmp_path / "s" / ignored).parent.mkdir(exist_ok=True)
        (tmp_path / "s" / ignored).write_bytes(b"")
    (tmp_path / "s/link.parquet").symlink_to(elsewhere)
    (tmp_path / "s/a/loop").symlink_to(tmp_path / "s")

    def names(path: str) -> list[str]:
        return [Path(unit).name for unit in ParquetStore(str(tmp_path / path), "face_id").units()]

    assert names("s") == ["real.parquet", "3.PARQUET", "1.parquet", "2.parquet"]
    assert names("s/*/*.parquet") == ["1.parquet", "2.parquet"]
    assert names("s/a/1.parquet") == ["1.parquet"]
    description = ParquetStore(str(tmp_path / "s"), "face_id").describe()
    assert (description.units, description.size) == (4, 4 * elsewhere.stat().st_size)
    purge(tmp_path / "s", DOOMED)
    assert (tmp_path / "s/link.parquet").is_symlink()
    assert pq.read_metadata(elsewhere).num_rows == ROWS - len(DOOMED)


@pytest.mark.parametrize("path", ["", "nowhere", "nothing-*.parquet"])
def test_a_store_without_files_is_an_input_error(tmp_path: Path, path: str) -> None:
    with pytest.raises(InputError, match="give a folder"):
        ParquetStore(str(tmp_path / path), "face_id").units()


@pytest.mark.parametrize(
    ("mark", "inside", "remedy"),
    [
        ("_delta_log/0.json", "part.parquet", 'write kind = "delta"'),
        ("metadata/v1.metadata.json", "data/part.parquet", 'write kind = "iceberg"'),
        ("_versions/1.manifest", "data/x.parquet", 'write kind = "lance"'),
        ("faces.lance/data/1", "part.parquet", 'write kind = "lance"'),
        (".hoodie/hoodie.properties", "2020/part.parquet", "delete through Hudi itself"),
    ],
)
def test_tables_with_a_log_are_refused(tmp_path: Path, mark: str, inside: str, remedy: str) -> None:
    for name in (mark, inside):
        (tmp_path / "table" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "table" / name).write_bytes(b"")
    for root in (tmp_path, tmp_path / "table", tmp_path / "table" / inside):
        with pytest.raises(InputError, match=f"raw rewrite refused.*{remedy}"):
            ParquetStore(str(root), "face_id").units()


def test_the_janitor_removes_what_a_crash_left(tmp_path: Path) -> None:
    path = stored(tmp_path, pa.table({"face_id": ids()}))
    below = path.parent / "deep" / "er"
    below.mkdir(parents=True)
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    left = [folder / f"{TEMPORARY_PREFIX}abc" for folder in (path.parent, below, ledger)]
    for file in left:
        file.write_bytes(b"personal")
    assert ParquetStore(str(path.parent), "face_id").janitor(ledger) == sorted(left)
    assert not any(file.exists() for file in left)
    assert path.exists()


def test_a_hard_link_that_keeps_the_old_file_is_named(tmp_path: Path) -> None:
    path = stored(tmp_path, pa.table({"face_id": ids()}))
    os.link(path, tmp_path / "backup")
    (receipt,) = purge(path.parent, DOOMED)
    assert "hard link" in (receipt.detail or "")


# --- any table at all ---------------------------------------------------------------------------------------------

scalars = st.sampled_from(
    [pa.int32(), pa.uint8(), pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.large_binary(), pa.date32(),
     pa.timestamp("ms"), pa.timestamp("ns", "UTC"), pa.decimal128(20, 3), pa.binary(5), pa.float16()]
)  # fmt: skip
kinds = st.recursive(
    scalars,
    lambda inner: st.one_of(
        inner.map(pa.list_),
        inner.map(pa.large_list),
        inner.map(lambda kind: pa.map_(pa.string(), kind)),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda some: pa.struct([pa.field(f"f{i}", kind) for i, kind in enumerate(some)])
        ),
    ),
    max_leaves=4,
)


def random_value(kind: pa.DataType, random: np.random.Generator, nullable: bool = True) -> object:
    if nullable and random.random() < 0.2:
        return None
    if pa.types.is_map(kind):
        return [(f"k{i}", random_value(kind.item_type, random)) for i in range(random.integers(3))]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [random_value(kind.value_type, random) for _ in range(random.integers(4))]
    if pa.types.is_struct(kind):
        return {field.name: random_value(field.type, random) for field in kind}
    number = int(random.integers(100))
    if pa.types.is_string(kind):
        return f"é{number}"
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return number.to_bytes(5, "big")
    if pa.types.is_float16(kind):
        return np.float16(number)
    if pa.types.is_decimal(kind):
        return decimal.Decimal(number)
    if pa.types.is_date(kind):
        return datetime.date(2000, 1, 1) + datetime.timedelta(number)
    return bool(number % 2) if pa.types.is_boolean(kind) else number


@settings(max_examples=60, deadline=None)
@given(
    columns=st.lists(kinds, max_size=4),
    rows=st.integers(0, 40),
    group=st.integers(1, 15),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 2**32 - 1),
    options=st.fixed_dictionaries(
        {},
        optional={
            "compression": st.sampled_from(["none", "zstd", "snappy"]),
            "use_dictionary": st.booleans(),
            "data_page_version": st.sampled_from(["1.0", "2.0"]),
            "write_page_index": st.booleans(),
            "write_statistics": st.booleans(),
            "use_compliant_nested_type": st.booleans(),
            "store_decimal_as_integer": st.booleans(),
            "store_schema": st.booleans(),
        },
    ),
    metadata=st.dictionaries(st.text("xyz", min_size=1, max_size=3), st.text("uvw", max_size=5), max_size=2),
)
def test_a_purged_file_reads_as_the_filtered_original(
    tmp_path_factory: pytest.TempPathFactory, columns: list, rows: int, group: int, share: float, seed: int,
    options: dict, metadata: dict,
) -> None:  # fmt: skip
    random = np.random.default_rng(seed)
    arrays = {
        f"c{i}": pa.array([random_value(kind, random) for _ in range(rows)], kind) for i, kind in enumerate(columns)
    }
    table = pa.table({"face_id": pa.array(ids(rows), pa.string()), **arrays}).replace_schema_metadata(metadata or None)
    path = stored(tmp_path_factory.mktemp("any"), table, row_group_size=group, **options)
    before, parquet_schema = pq.read_table(path), pq.read_metadata(path).schema
    key_values = pq.read_metadata(path).metadata
    doomed = random.random(rows) < share
    (receipt,) = purge(path.parent, [face for face, gone in zip(ids(rows), doomed, strict=True) if gone])
    assert receipt.status is (Status.REMOVED if doomed.any() else Status.UNCHANGED), receipt.detail
    assert receipt.rows_removed == doomed.sum()
    after = pq.read_table(path)
    assert after.schema.equals(before.schema, check_metadata=True)
    assert after.equals(before.filter(pa.array(~doomed)))
    assert pq.read_metadata(path).schema.equals(parquet_schema)
    assert pq.read_metadata(path).metadata == key_values
