"""The physical side of Parquet: no byte unaccounted for, no stale filter, no struct that cannot be told."""

import io
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stores.audit.bloom import xxh64
from stores.audit.check import check_file
from stores.audit.compact import Binary, BrokenStructError, binaries, read_struct
from stores.audit.pages import read_layout
from tests.audit_store import KEY, LISTED, make_store, survivors

FILTER: dict[str, Any] = {"bloom_filter_options": {"face_id": {"ndv": 400, "fpp": 0.01}}}


def test_every_byte_of_a_file_belongs_to_something() -> None:
    table = pa.table({"a": ["x", "y", None] * 500, "v": [[1.0, 2.0], None, []] * 500})
    for settings_ in ({}, {"data_page_version": "2.0"}, {"write_page_index": True}, {"data_page_size": 100}):
        file = io.BytesIO()
        pq.write_table(table, file, row_group_size=400, **settings_)
        layout = read_layout(np.frombuffer(file.getvalue(), np.uint8))
        assert layout.problems == []
        covered = sorted((region.start, region.stop) for region in layout.regions)
        assert covered[0][0] == 0 and covered[-1][1] == len(file.getvalue())
        assert all(
            before[1] == after[0] for before, after in zip(covered, covered[1:], strict=False) if after[0] != after[1]
        )


def test_pages_that_nothing_points_at_any_more_are_a_problem(tmp_path: Path) -> None:
    """A file purged by a new footer alone: the old pages are still in it."""
    store = make_store(tmp_path)
    path = store.write(store.before)
    whole = path.read_bytes()
    old_footer = int.from_bytes(whole[-8:-4], "little")
    rest = store.write(survivors(store.before)).read_bytes()
    shifted = whole[: -8 - old_footer] + rest[4:]
    path.write_bytes(shifted)
    assert store.check().problems, "offsets of the new footer point into the old pages"
    gap = rest[: -8 - int.from_bytes(rest[-8:-4], "little")]
    footer = rest[len(gap) :]
    path.write_bytes(gap + whole[4 : -8 - old_footer] + footer)
    assert any("belong to no page" in problem for problem in store.check().problems)
    path.write_bytes(gap + bytes(64) + footer)
    assert store.check().problems == (), "zeros are padding"


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_a_filter_that_still_remembers_is_residue(tmp_path: Path, codec: str) -> None:
    store = make_store(tmp_path, compression=codec, row_group_size=400, use_dictionary=False, **FILTER)
    clean = store.check()
    assert (clean.findings, clean.problems) == ((), ())
    path = store.root / "a.parquet"
    new, old = path.read_bytes(), store.write(store.before).read_bytes()
    filters = {
        name: next(r for r in read_layout(np.frombuffer(c, np.uint8)).regions if r.place.what == "bloom filter")
        for name, c in (("new", new), ("old", old))
    }
    at, was = filters["new"], filters["old"]
    assert at.stop - at.start == was.stop - was.start
    path.write_bytes(new[: at.start] + old[was.start : was.stop] + new[at.stop :])
    assert [one.where for one in store.check().findings] == ["bloom filter"]
    path.write_bytes(new[: at.start] + bytes(at.stop - at.start) + new[at.stop :])
    assert any("Bloom filter" in problem for problem in store.check().problems)


def test_filters_written_by_duckdb_are_understood(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    rest = survivors(store.before)  # noqa: F841
    duckdb.sql(f"COPY (SELECT face_id, subject, score FROM rest) TO '{store.root}/b.parquet' (FORMAT parquet)")
    layout = read_layout(np.fromfile(store.root / "b.parquet", np.uint8))
    assert any(region.place.what == "bloom filter" for region in layout.regions)
    check = store.check("b.parquet")
    assert (check.findings, check.problems) == ((), ())


def test_a_summary_file_describes_others(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    collected: list[pq.FileMetaData] = []
    pq.write_table(store.before, store.root / "whole.parquet", metadata_collector=collected)
    collected[0].set_file_path("whole.parquet")
    collected[0].write_metadata_file(str(store.root / "_metadata"))
    check = store.check("_metadata")
    assert check.rows is None and check.problems == ()
    assert {(one.what, one.where) for one in check.findings} == {("id", "statistics")}


def test_an_unknown_codec_is_a_problem(tmp_path: Path) -> None:
    table = pa.table({"face_id": LISTED})
    pq.write_table(table, tmp_path / "a", compression="zstd", use_dictionary=False, store_schema=False)
    content = bytearray((tmp_path / "a").read_bytes())
    layout = read_layout(np.frombuffer(bytes(content), np.uint8))
    store = make_store(tmp_path)
    # In ColumnMetaData the codec is one byte behind the path: 0x15, then zigzag(6).
    at = (
        content.rindex(b"\x18\x07face_id", 0, len(content))
        if b"\x18\x07face_id" in content
        else content.rindex(b"\x07face_id")
    )
    codec = content.index(b"\x15\x0c", at)
    content[codec + 1] = 2 * 3
    (tmp_path / "a").write_bytes(content)
    assert layout.pages[0].codec == 6
    check = check_file(tmp_path, "a", store.needles, KEY, "face_id")
    assert any("codec 3 is not known" in problem for problem in check.problems)


def test_structs_are_read_without_their_definition() -> None:
    raw = (
        bytes([0x15, 0x02, 0x18, 0x02])
        + b"hi"
        + bytes([0x19, 0x2C, 0x11, 0x00, 0x18, 0x01])
        + b"x"
        + bytes([0x00, 0x00])
    )
    value, end = read_struct(memoryview(raw + b"rest"), 0)
    assert value == {1: 1, 2: b"hi", 3: [{1: True}, {1: b"x"}]}
    assert end == len(raw)
    assert list(binaries(value)) == [Binary((2,), b"hi"), Binary((3, 1, 1), b"x")]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_struct_or_refused(raw: bytes) -> None:
    try:
        _, end = read_struct(memoryview(raw), 0)
        assert 0 < end <= len(raw)
    except BrokenStructError:
        pass


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_xxh64_gives_the_published_values(text: bytes, expected: int) -> None:
    assert int(xxh64(np.frombuffer(text, np.uint8), 0, len(text))) == expected
