"""What is sought lies on disk, in ranges: everything listed is found in them, whatever the ranges, and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stores.audit import runs as runs_module
from stores.audit.arrays import binary_runs
from stores.audit.fingerprint_files import FingerprintFile, write_fingerprints
from stores.audit.fingerprints import Fingerprints, fingerprint
from stores.audit.needle_files import NEEDLES_AT_ONCE, write_needles
from stores.audit.needles import Needles, find_values, open_needles
from stores.audit.runs import SortedRuns
from stores.audit.scan import EXACT_ID, ID, scan, scan_values
from stores.audit.sieves import add_hashes, add_probes, coarse_shift, coarse_words, fine_words, may_hold, probe_bits

KEY = b"a key of 16 byte"
PART_OF_AN_ID = set(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-")
NOTHING = fingerprint([], KEY)

Found = set[tuple[int, bytes, int]]


def seek(folder: Path, ids: list[bytes], noted: list[Fingerprints], at_once: int) -> list[Needles]:
    # Two arrays, and every id twice: nothing depends on how ids come.
    half = len(ids) // 2
    arrays = [pa.array(some, pa.large_binary()) for some in (ids[:half], ids[half:], ids)]
    write_needles(folder, arrays, noted, KEY, at_once)
    return open_needles(folder, KEY)


def expected_ids(ids: set[bytes], data: bytes) -> Found:
    """Decision 152 in plain Python: behind its length, or with nothing beside it that may be part of an id."""
    found = set()
    for name in ids:
        for start in range(len(data) - len(name) + 1 if len(name) >= 4 else 0):
            end = start + len(name)
            if data[start:end] != name:
                continue
            beside = data[max(start - 1, 0) : start] + data[end : end + 1]
            if start >= 4 and data[start - 4 : start] == len(name).to_bytes(4, "little"):
                found.add((EXACT_ID, name, end))
            elif len(name) >= 8 and not set(beside) & PART_OF_AN_ID:
                found.add((ID, name, end))
    return found


def found_ids(ranges: list[Needles], names: dict[int, bytes], data: bytes) -> Found:
    found = set()
    for needles in ranges:
        hits = scan(np.frombuffer(data, np.uint8), needles.tables)
        found |= {(kind, names[n], end) for kind, n, end in zip(*(one.tolist() for one in hits), strict=True)}
    return found


def number_ids(ranges: list[Needles], ids: list[bytes]) -> dict[int, bytes]:
    """Which id each number stands for, having asserted that every id has one number, in one range."""
    numbers = np.stack([find_values(binary_runs(pa.array(ids, pa.large_binary())), one.tables) for one in ranges])
    assert ((numbers >= 0).sum(axis=0) == 1).all()
    names = dict(zip(numbers.max(axis=0).tolist(), ids, strict=True))
    assert sorted(names) == list(range(len(ids))) == list(range(sum(one.ids for one in ranges)))
    return names


alike = st.builds(
    lambda start, end: start + end, st.binary(max_size=6), st.sampled_from([b"_photo.jpg", b"-1234567", b""])
)
names_of_people = st.lists(st.one_of(alike, st.binary(max_size=24)), max_size=30, unique=True)


@settings(max_examples=150, deadline=None)
@given(names_of_people, st.sampled_from([4, 13, NEEDLES_AT_ONCE]), st.data())
def test_just_the_listed_ids_are_found(
    tmp_path_factory: pytest.TempPathFactory, ids: list[bytes], at_once: int, data: st.DataObject
) -> None:
    ranges = seek(tmp_path_factory.mktemp("needles"), ids, [NOTHING], at_once)
    names = number_ids(ranges, ids)
    pieces = st.one_of(
        st.sampled_from(ids or [b""]),
        st.sampled_from(ids or [b""]).map(lambda name: len(name).to_bytes(4, "little") + name),
        st.sampled_from([b", ", b"/", b"-", b"x", b"0"]),
        st.binary(max_size=8),
    )
    hay = b"".join(data.draw(st.lists(pieces, max_size=25)))
    assert found_ids(ranges, names, hay) == expected_ids(set(ids), hay)


@settings(max_examples=50, deadline=None)
@given(names_of_people, names_of_people, st.sampled_from([4, NEEDLES_AT_ONCE]))
def test_just_the_listed_ids_equal_a_value(
    tmp_path_factory: pytest.TempPathFactory, ids: list[bytes], others: list[bytes], at_once: int
) -> None:
    ranges = seek(tmp_path_factory.mktemp("needles"), ids, [NOTHING], at_once)
    values = binary_runs(pa.array([*others, *ids], pa.large_binary()))
    numbers = np.max([find_values(values, one.tables) for one in ranges], axis=0)
    assert (numbers >= 0).tolist() == [one in set(ids) for one in [*others, *ids]]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=6),
    st.sampled_from([48, 300, 1000, NEEDLES_AT_ONCE]),
    st.sets(st.integers(0, 239)),
    st.sampled_from(["<f2", "<f4", "<f8"]),
)
def test_just_the_listed_vectors_are_found(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], at_once: int, left: set[int], width: str
) -> None:
    """Vectors of several files are numbered through, and each is found in one range, in whatever width it is left."""
    folder, count = tmp_path_factory.mktemp("needles"), sum(sizes)
    vectors = np.random.default_rng(count).standard_normal((count + 20, 64)).astype("<f4")
    starts = np.cumsum([0, *sizes])
    noted = [noted_in(folder / f"{i}.arrow", vectors[starts[i] : starts[i + 1]]) for i in range(len(sizes))]
    (folder / "search").mkdir()
    ranges = seek(folder / "search", [], noted, at_once)
    assert sum(one.vectors for one in ranges) == count
    assert at_once == NEEDLES_AT_ONCE or len(ranges) == max(1, -(-sum(len(one.windows) for one in noted) // at_once))
    left = {number for number in left if number < count}
    hay = b"?".join(vectors[i].astype(width).tobytes() for i in sorted(left | set(range(count, count + 20))))
    found = [set(scan(np.frombuffer(hay, np.uint8), one.tables).numbers.tolist()) for one in ranges]
    assert set().union(*found) == left
    assert sum(map(len, found)) == len(left)


def noted_in(file: Path, vectors: np.ndarray) -> FingerprintFile:
    """The fingerprints of some vectors, written in two batches."""
    with write_fingerprints(file) as add:
        for some in np.array_split(vectors, 2):
            add(fingerprint([pa.FixedSizeListArray.from_arrays(pa.array(some.reshape(-1)), vectors.shape[1])], KEY))
    return FingerprintFile(file, len(vectors))


def test_values_and_windows_of_one_value_are_told_by_the_value(tmp_path: Path) -> None:
    ranges = seek(tmp_path, [b"somebody-0001", b"somebody-0002"], [NOTHING], 2)
    names = number_ids(ranges, [b"somebody-0001", b"somebody-0002"])
    values = binary_runs(pa.array([b"x", b"in somebody-0002, say", b"somebody-0001"], pa.large_binary()))
    found = set()
    for needles in ranges:
        hits = scan_values(values, needles.tables)
        found |= {(kind, names[n], at) for kind, n, at in zip(*(one.tolist() for one in hits), strict=True)}
    assert found == {(ID, b"somebody-0002", 1), (ID, b"somebody-0001", 2), (EXACT_ID, b"somebody-0001", 2)}


@pytest.mark.parametrize("at", [*range(14), 250, 255, 256, 257, 300, 511, 512, 1023])
def test_an_id_is_found_wherever_it_lies(tmp_path: Path, at: int) -> None:
    """The scan goes over blocks of 256 bytes; where they meet nobody may hide."""
    ranges = seek(tmp_path, [b"somebody-0001"], [NOTHING], NEEDLES_AT_ONCE)
    for after in (0, 1, 1000):
        assert found_ids(ranges, {0: b"somebody-0001"}, b" " * at + b"somebody-0001" + b" " * after)


def test_nothing_listed_is_nothing_found(tmp_path: Path) -> None:
    (needles,) = seek(tmp_path, [], [], NEEDLES_AT_ONCE)
    assert (needles.ids, needles.vectors) == (0, 0)
    assert not len(scan(np.frombuffer(np.random.default_rng(0).bytes(100_000), np.uint8), needles.tables).numbers)


@pytest.mark.parametrize("needles", [1, 2_000, 100_000])
def test_the_sieves_pass_what_they_hold_and_little_else(needles: int) -> None:
    """What decision 234 says: up to 0.2 % and 0.003 %, each within twice that."""
    random = np.random.default_rng(needles)
    coarse, fine = np.zeros(coarse_words(needles), np.uint64), np.zeros(fine_words(needles), np.uint64)
    probes = random.integers(0, 2**32, needles, dtype=np.uint32)
    hashes = random.integers(0, 2**64, needles, dtype=np.uint64)
    add_probes(coarse, coarse_shift(coarse), probes)
    add_hashes(fine, hashes)
    assert all(passes(coarse, probe) for probe in probes[:2000].tolist())
    assert all(may_hold(fine, one) for one in hashes[:2000])
    others = random.integers(0, 2**32, 20_000).tolist()
    assert sum(passes(coarse, probe) for probe in others) <= 0.004 * len(others)
    assert sum(may_hold(fine, one) for one in random.integers(0, 2**64, 200_000, dtype=np.uint64)) <= 12


def passes(coarse: np.ndarray, probe: int) -> bool:
    with np.errstate(over="ignore"):
        bits = probe_bits.py_func(np.uint64(probe))
    return bool(coarse[np.uint64(probe) >> coarse_shift(coarse)] & bits == bits)


@pytest.fixture
def short_runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(runs_module, "RUN_ROWS", 64)
    yield


@pytest.mark.parametrize(("rows", "of"), [(0, 1), (1, 3), (64, 1), (1000, 1), (1000, 7)])
def test_many_runs_are_one_order(short_runs: None, tmp_path: Path, rows: int, of: int) -> None:
    """Whatever the runs and intervals, all different rows come once, ascending."""
    schema = pa.schema([("hash", pa.uint64()), ("what", pa.uint32())])
    random = np.random.default_rng(rows)
    hashes = random.integers(0, 2**64, rows, dtype=np.uint64)[random.integers(0, max(rows, 1), rows)]
    whats = random.integers(0, 2, rows, dtype=np.uint32)
    tables = [pa.table([hashes[i::3], whats[i::3]], schema=schema) for i in range(3)]
    runs = SortedRuns.write(tmp_path / "runs", schema, tables, distinct=True)
    batches = [batch for part in range(of) for batch in runs.merged(part, of, distinct=True)]
    assert sum(runs.count(part, of) for part in range(of)) == runs.rows
    merged = pa.Table.from_batches(batches, schema)
    assert np.all(np.diff(merged.column("hash").to_numpy().astype(object)) >= 0) if rows else not len(merged)
    wanted = set(zip(hashes.tolist(), whats.tolist(), strict=True))
    assert sorted(zip(*merged.to_pydict().values(), strict=True)) == sorted(wanted)
    assert all(len(batch) < 4 * 64 for batch in batches)


def test_needles_of_many_runs_are_all_found(short_runs: None, tmp_path: Path) -> None:
    ids = [f"face-{number:06d}".encode() for number in range(1500)]
    ranges = seek(tmp_path, ids, [NOTHING], 700)
    names = number_ids(ranges, ids)
    hay = b" ".join(ids[::2])
    assert {name for _, name, _ in found_ids(ranges, names, hay)} == set(ids[::2])
