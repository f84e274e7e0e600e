"""Whatever a purge leaves behind, wherever in a file, is found; and survivors are never taken for it."""

import base64
import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import InputError
from stores.audit.baseline import take_baseline
from stores.audit.check import FileCheck, check_file
from stores.audit.containers import Format
from stores.audit.needles import make_needles
from stores.audit.pages import read_layout
from stores.audit.rows import read_rows
from tests.audit_store import DIMENSIONS, KEY, LISTED, faces, is_listed, listed_vector, make_store, survivors

LAYOUTS: dict[str, dict[str, Any]] = {
    "zstd": {},
    "plain": {"compression": "none"},
    "snappy with dictionaries": {"compression": "snappy", "use_dictionary": True},
    "gzip": {"compression": "gzip"},
    "lz4": {"compression": "lz4"},
    "brotli": {"compression": "brotli"},
    "byte stream split": {"use_byte_stream_split": ["vector.list.element"]},
    "delta": {"column_encoding": {"face_id": "DELTA_BYTE_ARRAY"}},
    "delta length": {"column_encoding": {"face_id": "DELTA_LENGTH_BYTE_ARRAY"}},
    "pages v2": {"data_page_version": "2.0"},
    "page index and filter": {"write_page_index": True, "bloom_filter_options": {"face_id": {"ndv": 400}}},
    "many pages": {"data_page_size": 500},
}


def found(check: FileCheck) -> set[tuple[str, str]]:
    return {(one.what, one.where) for one in check.findings}


def sought(check: FileCheck, what: str) -> int:
    return max((one.count for one in check.findings if one.what == what), default=0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_right_purge_is_clean_and_none_at_all_is_not(tmp_path: Path, layout: str) -> None:
    store = make_store(tmp_path, **LAYOUTS[layout])
    after = store.check()
    assert (after.findings, after.problems, after.format) == ((), (), Format.PARQUET)
    assert after.rows == store.baselines[0].survivors
    assert after.schema == store.baselines[0].schema
    assert store.control().passed
    store.write(store.before, row_group_size=400)
    check = store.check()
    assert sought(check, "id") == len(LISTED)
    assert sought(check, "vector") == len(LISTED)


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float16()),
        pa.list_(pa.float64()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float32(), DIMENSIONS),
        pa.binary(4 * DIMENSIONS),
    ],
)
@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_every_kind_of_vector_column(tmp_path: Path, kind: pa.DataType, codec: str) -> None:
    store = make_store(tmp_path, faces(kind), compression=codec, write_statistics=False)
    assert store.check().findings == ()
    assert store.control().passed
    one_left = pa.concat_tables([survivors(store.before), store.before.slice(16, 1)])
    store.write(one_left)
    assert sought(store.check(), "vector") == 1


def test_a_value_left_in_a_dictionary(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    coded = store.before.set_column(0, "face_id", store.before["face_id"].combine_chunks().dictionary_encode())
    store.write(survivors(coded), use_dictionary=True)
    check = store.check()
    assert ("id", "dictionary page") in found(check)
    assert sought(check, "id") == len(LISTED)
    assert "vector" not in {what for what, _ in found(check)}


def test_a_tiny_id_left_in_a_dictionary(tmp_path: Path) -> None:
    keys = pa.array(["a", "b", "c"]).dictionary_encode()
    table = pa.table({"face_id": keys}).filter(pa.array([True, False, True]))
    pq.write_table(table, tmp_path / "a.parquet")
    none = take_baseline("a.parquet", read_rows(tmp_path / "a.parquet"), None, is_listed, KEY)[1]
    check = check_file(tmp_path, "a.parquet", make_needles(pa.array(["b"]), none, KEY), KEY, "face_id")
    assert found(check) == {("id", "dictionary page")}


def test_a_vector_left_in_statistics_alone(tmp_path: Path) -> None:
    store = make_store(tmp_path, faces(pa.binary(4 * DIMENSIONS)), compression="none", use_dictionary=False)
    smallest = min((store.before["vector"][i].as_py(), i) for i in range(0, 400, 8))[0]
    table = survivors(store.before).set_column(
        2, "vector", pa.array([smallest] + [b"\xff" * 512] * 349, pa.binary(512))
    )
    path = store.write(table)
    content = bytearray(path.read_bytes())
    for page in read_layout(np.frombuffer(bytes(content), np.uint8)).pages:
        content[page.start : page.stop] = content[page.start : page.stop].replace(smallest, b"\xff" * 512)
    path.write_bytes(content)
    assert found(store.check()) == {("vector", "statistics")}


@pytest.mark.parametrize("name", [".lethe-tmp-1", "part-7.inprogress", ".spark/hidden/x", "notes"])
def test_an_unlisted_file_with_one_vector(tmp_path: Path, name: str) -> None:
    store = make_store(tmp_path)
    path = store.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x00odd" + listed_vector(store.before))
    check = store.check(name)
    assert found(check) == {("vector", "raw bytes")}
    assert check.problems
    store.write(store.before.slice(24, 1).select(["vector"]), name)
    check = store.check(name)
    assert ("vector", "page") in found(check) or ("vector", "values") in found(check)
    store.write(store.before.slice(24, 1).select(["vector"]), name, compression="snappy", use_dictionary=False)
    assert found(store.check(name)) == {("vector", "page")}


def test_half_a_vector_at_an_odd_offset(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    half = listed_vector(store.before)[101 : 101 + 2 * DIMENSIONS]
    (store.root / "swap").write_bytes(np.random.default_rng(0).bytes(1001) + half)
    assert found(store.check("swap")) == {("vector", "raw bytes")}


@pytest.mark.parametrize("width", ["<f2", "<f8"])
def test_a_copy_in_another_width(tmp_path: Path, width: str) -> None:
    store = make_store(tmp_path)
    copy = np.frombuffer(listed_vector(store.before), "<f4").astype(width)
    np.save(store.root / "cache.npy", copy)
    check = store.check("cache.npy")
    assert (found(check), check.format) == ({("vector", "raw bytes")}, Format.NUMPY)


def plain(table: pa.Table, notes: dict[str, str]) -> bytes:
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(notes), file, compression="zstd", use_dictionary=False)
    return file.getvalue()


@pytest.mark.parametrize("hidden", ["schema", "field"])
def test_an_id_in_metadata(tmp_path: Path, hidden: str) -> None:
    store = make_store(tmp_path)
    table = survivors(store.before)
    if hidden == "schema":
        table = table.replace_schema_metadata({"last": LISTED[2].as_py()})
    else:
        field = table.schema.field("score").with_metadata({"seen": f"for {LISTED[2].as_py()} only"})
        table = table.cast(table.schema.set(3, field))
    store.write(table)
    assert found(store.check()) == {("id", "metadata")}


def test_an_id_of_any_length_in_metadata_is_told_from_its_neighbours(tmp_path: Path) -> None:
    """The length before a Thrift string, and the field after it, may look like letters."""
    none = take_baseline("a.parquet", read_rows(make_store(tmp_path).root / "a.parquet"), None, is_listed, KEY)[1]
    for length in range(8, 125):
        name = ("n" * length)[:length]
        (tmp_path / "f").write_bytes(plain(pa.table({"x": [1]}), {"who": name}))
        check = check_file(tmp_path, "f", make_needles(pa.array([name]), none, KEY), KEY)
        assert found(check) == {("id", "metadata")}, length


def pack_zip(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner", content)
    return file.getvalue()


def pack_lz4(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "lz4") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


PACKERS: list[Callable[[bytes], bytes]] = [
    gzip.compress,
    bz2.compress,
    lzma.compress,
    zstandard.compress,
    pack_lz4,
    pack_zip,
    lambda content: gzip.compress(zstandard.compress(content)),
]


@pytest.mark.parametrize("pack", PACKERS)
def test_packed_files_are_unpacked(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    store = make_store(tmp_path)
    (store.root / "old").write_bytes(pack(b"-" + listed_vector(store.before)))
    assert ("vector", "raw bytes") in found(store.check("old"))
    (store.root / "old").write_bytes(pack((store.root / "a.parquet").read_bytes()))
    check = store.check("old")
    assert (check.findings, check.problems, check.rows) == ((), (), None)
    one = io.BytesIO()
    pq.write_table(store.before.slice(0, 1), one, compression="zstd")
    (store.root / "old").write_bytes(pack(one.getvalue()))
    assert {what for what, _ in found(store.check("old"))} == {"id", "vector"}
    packed = pack(np.random.default_rng(0).bytes(100_000) + listed_vector(store.before))
    (store.root / "old").write_bytes(packed[: len(packed) // 2])
    assert store.check("old").problems


@pytest.mark.parametrize("codec", [None, "zstd", "lz4"])
@pytest.mark.parametrize("stream", [True, False])
def test_arrow_files(tmp_path: Path, codec: str | None, stream: bool) -> None:
    store = make_store(tmp_path)
    options = pa.ipc.IpcWriteOptions(compression=codec)
    open_writer = pa.ipc.new_stream if stream else pa.ipc.new_file
    for table, expected in ((survivors(store.before), set()), (store.before, {"id", "vector"})):
        with open_writer(str(store.root / "spill"), table.schema, options=options) as writer:
            writer.write_table(table)
        check = store.check("spill")
        assert {what for what, _ in found(check)} == expected
        assert (check.format, check.problems) == (Format.ARROW, ())


def test_text_is_searched_for_ids_and_for_vectors_in_decimal(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    path = store.root / "export.json"
    path.write_text(json.dumps({"id": "face_000001", "vector": store.before["vector"][1].as_py()}))
    check = store.check("export.json")
    assert (check.findings, check.problems, check.format) == ((), (), Format.TEXT)
    path.write_text(json.dumps({"id": LISTED[0].as_py(), "vector": store.before["vector"][0].as_py()}))
    assert found(store.check("export.json")) == {("id", "raw bytes"), ("vector", "decimal numbers")}
    path.write_text(",\n".join(str(x) for x in np.frombuffer(listed_vector(store.before), "<f4")))
    assert found(store.check("export.json")) == {("vector", "decimal numbers")}


@pytest.mark.parametrize("name", ["face_id=face_000008/x.bin", "thumb-face_000008.txt", "face_000008"])
def test_an_id_in_a_file_name(tmp_path: Path, name: str) -> None:
    store = make_store(tmp_path)
    (store.root / name).parent.mkdir(exist_ok=True)
    (store.root / name).write_text("hello")
    hit = ("id", "file name") in found(store.check(name))
    assert hit == ("-face" not in name), "a hyphen may be part of an id"


def test_what_cannot_be_read_is_a_problem_and_its_bytes_are_scanned(tmp_path: Path) -> None:
    store = make_store(tmp_path, compression="none")
    whole = store.write(store.before).read_bytes()
    (store.root / "cut").write_bytes(whole[: len(whole) // 2])
    (store.root / "headless").write_bytes(b"????" + whole[4:])
    (store.root / "secret").write_bytes(b"PARE" + bytes(100) + b"PARE")
    (store.root / "short").write_bytes(b"PAR1")
    (store.root / "wild").write_bytes(whole[:-8] + b"\xff\xff\xff\x7fPAR1")
    (store.root / "blob").write_bytes(b"\x00\x01\x02\x03")
    for name in ("cut", "headless", "secret", "short", "wild", "blob"):
        assert store.check(name).problems, name
        assert store.check(name).rows is None
    assert ("vector", "raw bytes") in found(store.check("cut"))
    (store.root / "empty").touch()
    assert store.check("empty").problems == ()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_damage_crashes_the_verifier(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("damage")
    store = make_store(folder, compression="none" if data.draw(st.booleans()) else "zstd")
    content = bytearray((store.root / "a.parquet").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        near_end = data.draw(st.booleans())
        at = (
            len(content) - 1 - data.draw(st.integers(0, 3000))
            if near_end
            else data.draw(st.integers(0, len(content) - 1))
        )
        content[at] = data.draw(st.integers(0, 255))
    (store.root / "a.parquet").write_bytes(bytes(content))
    check = store.check()
    assert check.rows is not None or check.problems, "what cannot be read is never passed over"


def test_encrypted_columns_are_a_problem(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    (store.root / "b").write_bytes((store.root / "a.parquet").read_bytes().replace(b"PAR1", b"PARE"))
    assert store.check("b").problems


def test_ids_inside_other_ids_are_sought_as_whole_values(tmp_path: Path) -> None:
    keys = ["alice@example", "alice@example.org", "x/alice@example", "bob@example.org"]
    before = pa.table({"face_id": keys, "vector": faces()["vector"].slice(0, 4)})
    listed = pa.array(keys[:1])
    for codec, dictionary in (("none", False), ("zstd", False), ("snappy", True)):
        pq.write_table(before, tmp_path / "a.parquet", compression=codec, use_dictionary=dictionary)
        _, prints = take_baseline(
            "a.parquet",
            read_rows(tmp_path / "a.parquet"),
            "face_id",
            lambda k: np.array([x == keys[0] for x in k.to_pylist()]),
            KEY,
        )
        needles = make_needles(listed, prints, KEY)
        assert ("id", "values") in found(check_file(tmp_path, "a.parquet", needles, KEY, "face_id"))
        pq.write_table(before.slice(1), tmp_path / "a.parquet", compression=codec, use_dictionary=dictionary)
        check = check_file(tmp_path, "a.parquet", needles, KEY, "face_id")
        assert (check.findings, check.ambiguous_ids) == ((), 1)


OF_THE_FILE = {"schema", "face_id", "vector", "list", "element", "item", "score", "name"}
"""Names that stand in a Parquet file whoever is in it: an id that is one of them is found, and rightly so."""

KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda key: key not in OF_THE_FILE)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(KEYS, min_size=2, max_size=20, unique=True),
    st.data(),
    st.sampled_from(["none", "zstd", "snappy"]),
    st.booleans(),
    st.integers(1, 9),
)
def test_survivors_are_never_taken_for_the_listed(
    tmp_path: Path, keys: list[str], data: st.DataObject, codec: str, dictionary: bool, group: int
) -> None:
    gone = data.draw(st.sets(st.sampled_from(keys), min_size=1))
    vectors = np.random.default_rng(len(keys)).standard_normal((len(keys), 24)).astype("<f4")
    before = pa.table({"face_id": keys, "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 24)})
    options: dict[str, Any] = {"compression": codec, "use_dictionary": dictionary, "row_group_size": group}
    pq.write_table(before, tmp_path / "a.parquet", **options)
    mask = np.array([name in gone for name in keys])
    baseline, prints = take_baseline(
        "a.parquet",
        read_rows(tmp_path / "a.parquet"),
        "face_id",
        lambda k: np.array([x in gone for x in k.to_pylist()]),
        KEY,
    )
    needles = make_needles(pa.array(sorted(gone)), prints, KEY)
    dirty = check_file(tmp_path, "a.parquet", needles, KEY, "face_id")
    counted = {what: {one.count for one in dirty.findings if one.what == what} for what in ("id", "vector")}
    assert max(counted["id"]) == len(gone)
    assert counted["vector"]
    pq.write_table(before.filter(pa.array(~mask)), tmp_path / "a.parquet", **options)
    check = check_file(tmp_path, "a.parquet", needles, KEY, "face_id")
    assert (check.findings, check.problems, check.rows) == ((), (), baseline.survivors)


def test_integer_keys_are_compared_as_numbers(tmp_path: Path) -> None:
    keys = pa.array(range(1000, 1100), pa.int64())
    before = pa.table({"face_id": keys, "vector": faces()["vector"].slice(0, 100)})
    listed = pa.array(["1004", "1050"])
    pq.write_table(before, tmp_path / "a.parquet")
    baseline, prints = take_baseline(
        "a.parquet",
        read_rows(tmp_path / "a.parquet"),
        "face_id",
        lambda k: np.array([str(x) in {"1004", "1050"} for x in k.to_pylist()]),
        KEY,
    )
    assert baseline.listed == 2
    needles = make_needles(listed, prints, KEY)
    assert ("id", "values") in found(check_file(tmp_path, "a.parquet", needles, KEY, "face_id"))
    pq.write_table(before.filter(pa.array([x.as_py() not in (1004, 1050) for x in keys])), tmp_path / "a.parquet")
    assert check_file(tmp_path, "a.parquet", needles, KEY, "face_id").findings == ()


def test_nothing_that_is_returned_holds_an_id_or_a_vector(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.write(store.before)
    said = repr(store.check()) + repr(store.baselines)
    assert not any(name in said for name in LISTED.to_pylist())
    assert base64.b64encode(listed_vector(store.before))[:16].decode() not in said


def test_a_file_without_the_key_column_is_refused_with_what_it_has(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    with pytest.raises(InputError, match="no column 'person'.*face_id, subject"):
        take_baseline("a.parquet", read_rows(store.root / "a.parquet"), "person", is_listed, KEY)
    (store.root / "x").write_text("no parquet")
    with pytest.raises(InputError, match="x cannot be read as Parquet"):
        take_baseline("x", read_rows(store.root / "x"), "face_id", is_listed, KEY)
    baseline, prints = take_baseline("a.parquet", read_rows(store.root / "a.parquet"), None, is_listed, KEY)
    assert (baseline.listed, baseline.survivors.rows, prints.vectors) == (0, baseline.rows, 0)
