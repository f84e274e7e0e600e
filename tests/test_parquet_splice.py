"""What the splice leaves: the same file without the rows, whatever the layout, and proof that it is so."""

import datetime
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stores import parquet_assemble, parquet_shape, parquet_splice, thrift
from stores.audit.pages import payloads, read_layout
from stores.contract import Receipt, Status
from stores.file_store import RewriteError
from stores.keys import KeySet
from stores.parquet import ParquetStore
from stores.parquet_levels import is_regular, list_levels, unpack, varint
from stores.parquet_locate import locate
from stores.parquet_rewrite import write_survivors

DIMENSIONS = 48


def ids(count: int) -> list[str]:
    return [f"face-{row:08d}" for row in range(count)]


def numbers(rows: int, dimensions: int = DIMENSIONS) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((rows, dimensions)).astype(np.float32)


def lists(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Rows of numbers as a column of `kind`."""
    rows, width = values.shape
    if pa.types.is_fixed_size_binary(kind):
        return pa.array([row.tobytes()[: kind.byte_width] for row in values], kind)
    flat = pa.array((values * 100).ravel()).cast(kind.value_type, safe=False)
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(flat, type=kind)
    offsets = pa.array(np.arange(rows + 1) * width, pa.int64() if pa.types.is_large_list(kind) else pa.int32())
    return (pa.LargeListArray if pa.types.is_large_list(kind) else pa.ListArray).from_arrays(offsets, flat, type=kind)


def stored(folder: Path, table: pa.Table, **options: object) -> Path:
    (folder / "store").mkdir(exist_ok=True)
    path = folder / "store" / "faces.parquet"
    pq.write_table(table, path, **options)
    return path


def purge(path: Path, doomed: list[str]) -> Receipt:
    keys = KeySet.write(path.parent.parent / "keys", [pa.array(doomed, pa.string())])
    store = ParquetStore(str(path), "face_id")
    return store.purge(store.locate(str(path), keys), keys, path.parent.parent / "ledger")


def survivors(path: Path, doomed: list[str], compression: str = "keep") -> Path:
    """Write the survivors of `path` beside it, which stays as it is."""
    keys = KeySet.write(path.parent.parent / "keys", [pa.array(doomed, pa.string())])
    aside = path.with_name(f"aside-{compression}-{len(list(path.parent.iterdir()))}.parquet")
    write_survivors(locate(path, "face_id", keys), "face_id", keys, aside, compression)
    return aside


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, tuple[int, ...]]]]:
    """Row group and top-level fields of all that pyarrow encoded anew."""
    seen: list[tuple[int, tuple[int, ...]]] = []
    encode = parquet_assemble.encode_rows

    def record(*arguments: object) -> object:
        seen.append(arguments[4:6])
        return encode(*arguments)

    monkeypatch.setattr(parquet_assemble, "encode_rows", record)
    yield seen


def all_bytes(path: Path) -> bytes:
    """The file, and behind it every page of it decompressed."""
    content = np.frombuffer(path.read_bytes(), np.uint8)
    layout = read_layout(content)
    assert not layout.problems
    problems: list[str] = []
    pages = [bytes(page) for _, page in payloads(content, layout.pages, problems)]
    assert not problems
    return b"".join([content.tobytes(), *pages])


def dense(rows: int) -> list[str]:
    return ids(rows)[::3]


# --- any layout at all ---------------------------------------------------------------------------------------------

KINDS = {
    "list<float>": pa.list_(pa.float32()),
    "list<float> not null": pa.list_(pa.field("element", pa.float32(), nullable=False)),
    "large_list<double>": pa.large_list(pa.float64()),
    "list<int8>": pa.list_(pa.int8()),
    "list<int64>": pa.list_(pa.int64()),
    "fixed_size_list": pa.list_(pa.float32(), DIMENSIONS),
    "fixed_size_binary": pa.binary(DIMENSIONS * 4),
}


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(sorted(KINDS)),
    rows=st.integers(1, 150),
    group=st.integers(10, 80),
    hits=st.sampled_from(["one", "scattered", "most", "first group", "all of a group"]),
    values=st.sampled_from(["PLAIN", "BYTE_STREAM_SPLIT", "dictionary"]),
    nullable=st.booleans(),
    seed=st.integers(0, 2**16),
    options=st.fixed_dictionaries(
        {
            "compression": st.sampled_from(["none", "snappy", "zstd", "gzip", "lz4", "brotli"]),
            "data_page_version": st.sampled_from(["1.0", "2.0"]),
            "data_page_size": st.sampled_from([500, 3000, 20_000, 1 << 20]),
            "write_batch_size": st.sampled_from([7, 100, 1024]),
            "write_page_checksum": st.booleans(),
            "write_page_index": st.booleans(),
            "write_statistics": st.booleans(),
        }
    ),
    dictionary_bytes=st.sampled_from([200, 5000, 1 << 20]),
    compression=st.sampled_from(["keep", "none"]),
)
def test_every_layout_leaves_just_the_rows_that_stay(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, kind: str, rows: int, group: int,
    hits: str, values: str, nullable: bool, seed: int, options: dict, dictionary_bytes: int, compression: str,
) -> None:  # fmt: skip
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((rows, DIMENSIONS)).astype(np.float32)
    schema = pa.schema([("face_id", pa.string()), pa.field("v", KINDS[kind], nullable=nullable), ("n", pa.int32())])
    table = pa.table([ids(rows), lists(vectors, KINDS[kind]), list(range(rows))], schema=schema)
    leaf = "v" if kind == "fixed_size_binary" else "v.list.element"
    encoding = {leaf: values} if values != "dictionary" else None
    path = stored(
        tmp_path_factory.mktemp("any"), table, row_group_size=group, column_encoding=encoding,
        use_dictionary=[leaf] if values == "dictionary" else False, dictionary_pagesize_limit=dictionary_bytes,
        **options,
    )  # fmt: skip
    gone = {
        "one": np.arange(rows) == random.integers(rows),
        "scattered": random.random(rows) < 0.1,
        "most": random.random(rows) < 0.9,
        "first group": (np.arange(rows) < group) & (np.arange(rows) % 2 == 0),
        "all of a group": np.arange(rows) < group,
    }[hits]
    if not gone.any():
        gone[0] = True
    doomed = [face for face, goes in zip(ids(rows), gone, strict=True) if goes]
    new = survivors(path, doomed, compression)

    rest = pq.read_table(path).filter(pa.array(~gone))
    read = pq.read_table(new, page_checksum_verification=options["write_page_checksum"])
    assert read.equals(rest)
    assert read.schema.equals(rest.schema, check_metadata=True)
    assert rest.equals(pq.read_table(new, memory_map=True, filters=pa.compute.field("n") >= 0))
    assert duckdb.sql(f"select n from '{new}'").fetchall() == [(n,) for n in rest["n"].to_pylist()]
    assert pl.read_parquet(new, columns=["n"])["n"].to_list() == rest["n"].to_pylist()
    content = all_bytes(new)
    assert not any(face.encode() in content for face in doomed)
    if values == "PLAIN":
        width = KINDS[kind].byte_width if kind == "fixed_size_binary" else None
        leaving = table["v"].filter(pa.array(gone)).combine_chunks()
        raw = leaving if width else leaving.flatten()
        if kind != "list<int8>":  # which is stored in 32 bits
            size = width or DIMENSIONS * raw.type.bit_width // 8
            flat = bytes(raw.buffers()[1])[raw.offset * (size if width else raw.type.bit_width // 8) :]
            for row in range(len(leaving)):
                assert flat[row * size : (row + 1) * size] not in content

    with monkeypatch.context() as patch:
        patch.setattr(parquet_shape, "WIDE", 1 << 30)
        ordinary = survivors(path, doomed)
    assert pq.read_table(ordinary).equals(rest)
    counts = [[pq.read_metadata(file).row_group(i).num_rows for i in range(pq.read_metadata(file).num_row_groups)]
              for file in (new, ordinary)]  # fmt: skip
    assert counts[0] == counts[1]


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("values", ["PLAIN", "BYTE_STREAM_SPLIT"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_vectors_are_cut_and_not_encoded(
    tmp_path: Path, encoded: list, kind: str, values: str, version: str
) -> None:  # fmt: skip
    table = pa.table({"face_id": ids(90), "v": lists(numbers(90), KINDS[kind]), "n": range(90)})
    leaf = "v" if kind == "fixed_size_binary" else "v.list.element"
    path = stored(
        tmp_path, table, row_group_size=30, use_dictionary=False, column_encoding={leaf: values},
        data_page_version=version, data_page_size=1000, compression="zstd",
    )  # fmt: skip
    chunk = pq.read_metadata(path).row_group(0).column(1)
    assert purge(path, dense(90)).status is Status.REMOVED
    assert encoded == [(0, (0,)), (0, (2,)), (1, (0,)), (1, (2,)), (2, (0,)), (2, (2,))]
    after = pq.read_metadata(path).row_group(0).column(1)
    assert (after.compression, after.encodings) == (chunk.compression, chunk.encodings)


def test_rows_that_cross_pages(tmp_path: Path, encoded: list) -> None:
    """pyarrow ends a page of version 1 after any value: 768 floats do not divide its batches."""
    table = pa.table({"face_id": ids(600), "v": lists(numbers(600, 768), pa.list_(pa.float32()))})
    path = stored(tmp_path, table, use_dictionary=False, compression="none")
    purge(path, dense(600))
    assert encoded == [(0, (0,))]
    assert pq.read_table(path).equals(table.filter(pa.array([i % 3 != 0 for i in range(600)])))


def test_a_dictionary_that_was_given_up_is_left_out(tmp_path: Path, encoded: list) -> None:
    """By default pyarrow begins every column with a dictionary, floats as well, until it is too large."""
    table = pa.table({"face_id": ids(3000), "v": lists(numbers(3000, 256), pa.list_(pa.float32()))})
    path = stored(tmp_path, table)
    assert pq.read_metadata(path).row_group(0).column(1).has_dictionary_page
    receipt = purge(path, dense(3000))
    assert encoded == [(0, (0,))]
    assert pq.read_table(path).equals(table.filter(pa.array([i % 3 != 0 for i in range(3000)])))
    assert "encoding DICTIONARY of v.list.element, now PLAIN" in receipt.dropped


def test_vectors_that_live_by_their_dictionary_keep_it(tmp_path: Path, encoded: list) -> None:
    few = np.random.default_rng(1).integers(0, 8, (90, DIMENSIONS)).astype(np.float32)
    path = stored(tmp_path, pa.table({"face_id": ids(90), "v": lists(few, pa.list_(pa.float32()))}))
    assert purge(path, dense(90)).dropped == ("statistics of v.list.element",)
    assert sorted(root for _, roots in encoded for root in roots) == [0, 1]
    assert pq.read_metadata(path).row_group(0).column(1).has_dictionary_page


@pytest.mark.parametrize("trouble", ["null rows", "null items", "ragged", "nested", "short"])
def test_what_is_not_of_one_width_is_encoded(tmp_path: Path, encoded: list, trouble: str) -> None:
    rows: list = numbers(90).tolist()
    if trouble == "null rows":
        rows[5] = None
    elif trouble == "null items":
        rows[5][3] = None
    elif trouble == "ragged":
        rows[5], rows[6] = rows[5] + rows[6][:4], rows[6][4:]  # as many values as before
    elif trouble == "nested":
        rows = [[row] for row in rows]
    else:
        rows = [row[:3] for row in rows]
    table = pa.table({"face_id": ids(90), "v": rows})
    path = stored(tmp_path, table, use_dictionary=False)
    assert purge(path, dense(90)).status is Status.REMOVED
    assert sorted(root for _, roots in encoded for root in roots) == [0, 1]
    assert pq.read_table(path).equals(table.filter(pa.array([i % 3 != 0 for i in range(90)])))


def test_several_vectors_also_within_a_struct(tmp_path: Path, encoded: list) -> None:
    one = lists(numbers(90), pa.list_(pa.float32()))
    pair = pa.StructArray.from_arrays([one, lists(numbers(90) + 1, pa.binary(192))], ["face", "print"])
    table = pa.table(
        {"v": one, "face_id": ids(90), "both": pair, "w": lists(numbers(90) + 2, pa.large_list(pa.float64()))}
    )
    path = stored(tmp_path, table, use_dictionary=False, row_group_size=50)
    assert purge(path, dense(90)).status is Status.REMOVED
    assert encoded == [(0, (1,)), (1, (1,))]
    assert pq.read_table(path).equals(table.filter(pa.array([i % 3 != 0 for i in range(90)])))


def test_uncompressed_on_request(tmp_path: Path) -> None:
    """The codec belongs to the column chunk: only the chunks that are cut lose theirs, and the receipt says so."""
    table = pa.table({"face_id": ids(90), "v": lists(numbers(90), pa.list_(pa.float32()))})
    path = stored(tmp_path, table, compression="zstd", row_group_size=30, use_dictionary=False)
    new = survivors(path, ids(45)[::3], "none")
    codecs = [[pq.read_metadata(new).row_group(g).column(c).compression for c in (0, 1)] for g in range(3)]
    assert codecs == [["ZSTD", "UNCOMPRESSED"], ["ZSTD", "UNCOMPRESSED"], ["ZSTD", "ZSTD"]]
    again = survivors(new, ids(90)[1::7])
    assert pq.read_table(again).equals(
        table.filter(pa.array([not (i % 3 == 0 and i < 45) and i % 7 != 1 for i in range(90)]))
    )


# --- runs of levels and indices ------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    bits=st.integers(1, 20),
    runs=st.lists(st.tuples(st.booleans(), st.integers(1, 5), st.integers(0, 2**20 - 1)), min_size=1, max_size=8),
    spare=st.integers(0, 7),
    seed=st.integers(0, 2**16),
)
def test_runs_are_read_as_they_were_written(bits: int, runs: list, spare: int, seed: int) -> None:
    """Against the definition: a run is packed groups of eight, or one value and how often."""
    random, data, values = np.random.default_rng(seed), b"", []
    for packed, size, value in runs:
        if packed:
            group = [int(one) for one in random.integers(0, 1 << bits, size * 8)]
            number = sum(one << (i * bits) for i, one in enumerate(group))
            data += varint(size << 1 | 1) + number.to_bytes(size * bits, "little")
            values += group
        else:
            data += varint(size << 1) + (value % (1 << bits)).to_bytes((bits + 7) // 8, "little")
            values += [value % (1 << bits)] * size
    count = max(len(values) - spare, 1)
    content, out = np.frombuffer(data, np.uint8), np.empty(count, np.int32)
    assert unpack(content, bits, out)
    assert out.tolist() == values[:count]
    assert not unpack(content, bits, np.empty(len(values) + 1, np.int32))
    assert not unpack(content[: len(content) // 2], bits, np.empty(len(values), np.int32))
    for phase, period, first, rest in ((0, 1, values[0], values[0]), (2, 3, values[0], values[-1]), (1, 2, 0, 1)):
        expected = [first if (phase + i) % period == 0 else rest for i in range(count)]
        assert is_regular(content, bits, count, phase, period, first, rest) == (values[:count] == expected)


@pytest.mark.parametrize(("head", "rows", "tail", "width"), [(0, 3, 0, 48), (5, 2, 7, 9), (0, 4, 0, 1), (3, 0, 0, 8)])
def test_levels_of_lists_are_those_of_whole_rows(head: int, rows: int, tail: int, width: int) -> None:
    levels = np.frombuffer(list_levels(head, rows, tail, width), np.uint8)
    count = head + rows * width + tail
    assert is_regular(levels, 1, count, -head % width, width, 0, 1)
    assert not is_regular(levels, 1, count, -head % width + 1, width, 0, 1) or width == 1
    assert not is_regular(levels, 1, count + 1, -head % width, width, 0, 1)


# --- row groups without a hit --------------------------------------------------------------------------------------


def test_row_groups_without_a_hit_keep_their_bytes(tmp_path: Path, encoded: list) -> None:
    table = pa.table({"face_id": ids(120), "v": lists(numbers(120), pa.binary(192)), "n": range(120)})
    path = stored(
        tmp_path, table, row_group_size=40, write_page_index=True, compression="zstd", use_dictionary=["n"],
        bloom_filter_options={"face_id": {"ndv": 40}},
    )  # fmt: skip
    before, content = pq.read_metadata(path), path.read_bytes()
    purge(path, ids(80)[40::3])
    assert {group for group, _ in encoded} == {1}
    after, new = pq.read_metadata(path), path.read_bytes()
    for group in (0, 2):
        for column in range(3):
            old_chunk, chunk = before.row_group(group).column(column), after.row_group(group).column(column)
            start = old_chunk.dictionary_page_offset or old_chunk.data_page_offset
            moved = chunk.dictionary_page_offset or chunk.data_page_offset
            size = old_chunk.total_compressed_size
            assert new[moved : moved + size] == content[start : start + size]
            assert chunk.has_column_index
            assert chunk.has_offset_index
            assert chunk.is_stats_set == old_chunk.is_stats_set
    assert all(after.row_group(group).column(0).bloom_filter_offset for group in range(3))
    assert not after.row_group(1).column(1).has_column_index
    assert after.row_group(1).column(1).has_offset_index
    for face, found in ((ids(120)[2], 1), (ids(120)[43], 0), (ids(120)[44], 1), (ids(120)[119], 1)):
        assert duckdb.sql(f"select count(*) from '{path}' where face_id = '{face}'").fetchall() == [(found,)]
        assert pq.read_table(path, filters=[("face_id", "==", face)]).num_rows == found


def test_a_dictionary_with_names_that_no_row_has_is_not_copied(tmp_path: Path) -> None:
    """pyarrow writes the dictionary of the whole table into every row group."""
    names = pa.array([f"name of {face}" for face in ids(90)]).dictionary_encode()
    column = pa.array([None if i % 7 == 0 else i for i in range(90)], pa.int32())
    table = pa.table({"face_id": ids(90), "name": pa.DictionaryArray.from_arrays(column, names.dictionary)})
    path = stored(tmp_path, table, row_group_size=30)
    purge(path, ids(30)[1:9])
    content = all_bytes(path)
    assert not any(b"name of " + face.encode() in content for face in ids(30)[1:9])
    assert pq.read_table(path)["name"].to_pylist() == [table["name"][i].as_py() for i in range(90) if not 0 < i < 9]


# --- fidelity ------------------------------------------------------------------------------------------------------


def without_dictionaries(table: pa.Table) -> pa.Table:
    """Arrow compares the dictionaries, too, which do and must differ."""
    names = [name for name in table.column_names if pa.types.is_dictionary(table[name].type)]
    for name in names:
        table = table.set_column(table.column_names.index(name), name, table[name].cast(pa.string()))
    return table


def test_all_who_stay_are_the_same_to_every_reader(tmp_path: Path) -> None:
    """Ten types, nested lists, dictionaries, sorting, field ids, metadata: read by pyarrow, DuckDB and Polars."""
    rows = 300
    columns = {
        "face_id": pa.array(ids(rows)),
        "v": lists(numbers(rows), pa.list_(pa.float32())),
        "print": lists(numbers(rows), pa.binary(192)),
        "word": pa.array([f"w{i % 7}" for i in range(rows)]).dictionary_encode(),
        "nested": pa.array([[[i], [], None, [i, None]] if i % 5 else None for i in range(rows)]),
        "record": pa.array([{"a": i, "b": [str(i)]} if i % 4 else None for i in range(rows)]),
        "when": pa.array([i * 10**12 for i in range(rows)], pa.timestamp("us", "Europe/Rome")),
        "day": pa.array([datetime.date(2000, 1, 1) + datetime.timedelta(i) for i in range(rows)]),
        "amount": pa.array([i for i in range(rows)]).cast(pa.decimal128(20)).cast(pa.decimal128(20, 2)),
        "flag": pa.array([i % 2 == 0 if i % 3 else None for i in range(rows)]),
        "pairs": pa.array([[("k", i)] for i in range(rows)], pa.map_(pa.string(), pa.int32())),
        "n": pa.array(range(rows), pa.uint16()),
    }
    fields = [
        pa.field(name, column.type, metadata={"PARQUET:field_id": str(number), "note": name})
        for number, (name, column) in enumerate(columns.items(), start=10)
    ]
    schema = pa.schema(fields, {"owner": "city", "licence": "by"})
    path = stored(
        tmp_path, pa.table(list(columns.values()), schema=schema), row_group_size=80,
        compression={"v.list.element": "zstd", "print": "none", "n": "gzip"}, write_page_index=True,
        sorting_columns=[pq.SortingColumn(0)], use_dictionary=["word"],
    )  # fmt: skip
    readers: list[Callable[[], object]] = [
        lambda: pq.read_table(path),
        lambda: duckdb.sql(f"select * from '{path}'").to_arrow_table(),
        lambda: pl.read_parquet(path),
    ]
    before, described = [read() for read in readers], pq.read_metadata(path)
    sql = f"select * exclude (file_name) from parquet_schema('{path}')"
    parquet_schema = duckdb.sql(sql).fetchall()
    gone = np.zeros(rows, bool)
    gone[[1, 2, 3, 79, 80, 170, 299]] = True
    receipt = purge(path, [face for face, goes in zip(ids(rows), gone, strict=True) if goes])
    assert receipt.status is Status.REMOVED, receipt.detail
    for read, table in zip(readers, before, strict=True):
        if isinstance(table, pl.DataFrame):
            assert read().equals(table.filter(pl.Series(~gone)))
        else:
            assert without_dictionaries(read()).equals(without_dictionaries(table).filter(pa.array(~gone)))
    assert pq.read_table(path).schema.equals(before[0].schema, check_metadata=True)
    assert duckdb.sql(sql).fetchall() == parquet_schema
    new = pq.read_metadata(path)
    assert (new.metadata, new.created_by, new.format_version) == (
        described.metadata, described.created_by, described.format_version
    )  # fmt: skip
    for group in range(new.num_row_groups):
        old_group, new_group = described.row_group(group), new.row_group(group)
        assert new_group.sorting_columns == old_group.sorting_columns
        for column in range(new_group.num_columns):
            one, other = old_group.column(column), new_group.column(column)
            assert (one.compression, set(one.encodings)) == (other.compression, set(other.encodings))


def test_vectors_of_polars_and_duckdb(tmp_path: Path, encoded: list) -> None:
    values = numbers(500, 128)
    frame = pl.DataFrame(
        {"face_id": ids(500), "v": values.tolist(), "a": pl.Series(values.tolist(), dtype=pl.Array(pl.Float32, 128))},
        schema_overrides={"v": pl.List(pl.Float32)},
    )
    (tmp_path / "store").mkdir()
    path = tmp_path / "store" / "polars.parquet"
    frame.write_parquet(path, row_group_size=200, use_pyarrow=False)
    other = tmp_path / "store" / "duck.parquet"
    duckdb.sql(f"copy (select face_id, v, a::float[128] a from '{path}') to '{other}' (row_group_size 200)")
    before = {file: duckdb.sql(f"select * from '{file}'").to_arrow_table() for file in (path, other)}
    for file, table in before.items():
        receipt = purge(file, dense(500))
        assert receipt.status is Status.REMOVED, receipt.detail
        keep = pa.array([i % 3 != 0 for i in range(500)])
        assert duckdb.sql(f"select * from '{file}'").to_arrow_table().equals(table.filter(keep))
    assert pl.read_parquet(path).equals(frame.filter(~pl.col("face_id").is_in(dense(500))))
    assert all(roots == (0,) for _, roots in encoded)


def test_metadata_of_a_column_stays_unless_it_names_somebody(tmp_path: Path) -> None:
    path = stored(tmp_path, pa.table({"face_id": ids(90), "v": lists(numbers(90), pa.binary(192))}), row_group_size=45)
    content = path.read_bytes()
    size = int.from_bytes(content[-8:-4], "little")
    footer = thrift.decode(content[-8 - size : -8])
    notes = [(b"unit", b"cm"), (b"seen", ids(90)[3].encode())]
    for group in footer.structs(4):
        meta = group.structs(1)[1].struct(3)
        assert meta is not None
        pairs = [thrift.Struct({1: (thrift.BINARY, key), 2: (thrift.BINARY, value)}) for key, value in notes]
        meta.put(8, thrift.LIST, thrift.Sequence(thrift.STRUCT, [*pairs]))
    changed = thrift.encode(footer)
    path.write_bytes(content[: -8 - size] + changed + len(changed).to_bytes(4, "little") + b"PAR1")
    receipt = purge(path, [ids(90)[3]])
    assert "key/value metadata seen of column v" in receipt.dropped
    assert ids(90)[3].encode() not in all_bytes(path)
    assert [pq.read_metadata(path).row_group(group).column(1).metadata for group in (0, 1)] == [{b"unit": b"cm"}] * 2


# --- damage and faults ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["none", "zstd"])
@pytest.mark.parametrize("damage", ["truncated", "checksum", "header"])
def test_a_damaged_page_leaves_the_file_as_it_was(tmp_path: Path, codec: str, damage: str) -> None:
    table = pa.table({"face_id": ids(90), "v": lists(numbers(90), pa.list_(pa.float32()))})
    path = stored(tmp_path, table, compression=codec, use_dictionary=False, write_page_checksum=damage == "checksum")
    content = bytearray(path.read_bytes())
    chunk = pq.read_metadata(path).row_group(0).column(1)
    end = chunk.data_page_offset + chunk.total_compressed_size
    if damage == "truncated":
        del content[end - 500 : end]
    elif damage == "checksum":
        content[end - 5] ^= 1
    else:
        content[chunk.data_page_offset : chunk.data_page_offset + 8] = b"\xff" * 8
    path.write_bytes(content)
    receipt = purge(path, dense(90))
    assert receipt.status is Status.FAILED
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def spoil_gather(monkeypatch: pytest.MonkeyPatch, spoil: Callable[[np.ndarray], None]) -> None:
    gather = parquet_splice.gather

    def wrong(source: object, starts: object, stops: object, planes: int, out: np.ndarray) -> None:
        gather(source, starts, stops, planes, out)
        spoil(out)

    monkeypatch.setattr(parquet_splice, "gather", wrong)


def flip_a_bit(out: np.ndarray) -> None:
    out[-1] ^= 1


def swap_two_rows(out: np.ndarray) -> None:
    out[:192], out[192:384] = out[192:384].copy(), out[:192].copy()


@pytest.mark.parametrize(
    "fault", ["bit", "swap", "levels", "wrong rows", "copy", "encoded", "left over", "statistics", "page lost"]
)
def test_the_proof_finds_a_fault_of_the_splice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    values = lists(numbers(90), pa.list_(pa.float32()))
    table = pa.table({"face_id": ids(90), "v": values, "n": np.arange(90) / 7})
    path = stored(tmp_path, table, use_dictionary=False, row_group_size=45, data_page_size=4000, compression="snappy")
    content = path.read_bytes()
    if fault in ("bit", "swap"):
        spoil_gather(monkeypatch, flip_a_bit if fault == "bit" else swap_two_rows)
    elif fault == "levels":
        monkeypatch.setattr(parquet_splice, "list_levels", lambda head, rows, tail, width: b"\x02\x00" * rows * width)
    elif fault == "wrong rows":
        real = parquet_shape.Runs.of
        monkeypatch.setattr(parquet_shape.Runs, "of", lambda stays, length: real(np.roll(stays, 1), length))
    elif fault == "copy":
        copy = parquet_assemble.Sink.copy
        monkeypatch.setattr(parquet_assemble.Sink, "copy", lambda self, file, at, size: copy(self, file, at + 1, size))
    elif fault == "encoded":
        encode = parquet_assemble.encode_rows

        def of_other_rows(*arguments: object) -> object:
            *same, stays = arguments
            return encode(*same, np.roll(stays, 1) if arguments[5] == (2,) else stays)

        monkeypatch.setattr(parquet_assemble, "encode_rows", of_other_rows)
    elif fault == "left over":
        finish = parquet_assemble.Assembly.finish
        monkeypatch.setattr(
            parquet_assemble.Assembly, "finish", lambda self, pairs: (self._sink.write(b"face"), finish(self, pairs))
        )
    elif fault == "statistics":
        monkeypatch.setattr(parquet_splice, "V1_STATISTICS", 99)
    else:
        cut = parquet_splice._Knife.cut_page
        monkeypatch.setattr(
            parquet_splice._Knife, "cut_page", lambda self, page, first, keep: first and cut(self, page, first, keep)
        )
    doomed = [face for face in ids(45) if face.endswith(("3", "7"))]
    receipt = purge(path, doomed)
    assert receipt.status is Status.FAILED, fault
    assert path.read_bytes() == content
    assert not any(face in json.dumps(receipt.to_json()) for face in ids(90))


def test_rows_located_with_another_set_are_refused(tmp_path: Path) -> None:
    path = stored(tmp_path, pa.table({"face_id": ids(90), "v": lists(numbers(90), pa.binary(192))}))
    keys = KeySet.write(tmp_path / "keys", [pa.array(ids(10))])
    others = KeySet.write(tmp_path / "others", [pa.array(ids(11))])
    with pytest.raises(RewriteError, match="locate the file again"):
        write_survivors(locate(path, "face_id", keys), "face_id", others, tmp_path / "aside")
