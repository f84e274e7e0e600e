"""Needles on disk: everything listed, sorted and sieved out of core, so that a search of any size costs no memory.

    range-00000/  coarse, fine                      the sieves; see `sieves`
                  window_hashes, window_vectors     of every window its hash, ascending, and whose it is
                  id_hashes, id_offsets, id_data    of every id its hash, ascending, and its bytes
                  tails, tail_lengths               of the last eight bytes of ids a hash, ascending, and their lengths
                  counts.json                       what the first id and vector are numbered, and how many there are

All arrays are the plain values. The sieves of one range should fit memory, so one range holds some needles only: the
ids of one interval of hashes, and as many vectors as come next, each with all its windows, so that nobody is in two.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stores.audit.arrays import binary_runs
from stores.audit.fingerprints import FINGERPRINTS, TAIL, Noted, probe_factor, probe_word
from stores.audit.runs import RUN_ROWS, SortedRuns
from stores.audit.sieves import add_hashes, add_probes, coarse_shift, coarse_words, fine_words
from stores.audit.siphash import Bytes, Offsets, Words, hash_runs, key_lanes

SHORTEST_ID = 4
"""Ids of fewer bytes are compared with decoded values only."""

NEEDLES_AT_ONCE = 1 << 27
"""Windows, ids and their ends in one range: its sieves take 1 GiB, and it holds some five million vectors and ids."""

Probes = npt.NDArray[np.uint32]

ARRAYS: dict[str, npt.DTypeLike] = {
    "coarse": np.uint64,
    "fine": np.uint64,
    "window_hashes": np.uint64,
    "window_vectors": np.uint32,
    "id_hashes": np.uint64,
    "id_offsets": np.int64,
    "id_data": np.uint8,
    "tails": np.uint64,
    "tail_lengths": np.uint32,
}
COUNTS = "counts.json"

_IDS = pa.schema([("hash", pa.uint64()), ("id", pa.large_binary())])
_TAILS = pa.schema([("hash", pa.uint64()), ("probe", pa.uint32()), ("length", pa.uint32())])


def write_needles(
    folder: Path,
    ids: Iterable[pa.Array],
    fingerprints: Sequence[Noted],
    key: bytes,
    at_once: int = NEEDLES_AT_ONCE,
) -> None:
    """Write listed `ids` (strings or bytes, nulls left out) and `fingerprints` made with `key` into an empty `folder`.

    Memory holds one run of `RUN_ROWS` of either, whatever there is; `at_once` is about how many needles a range has.
    """
    listed = SortedRuns.write(folder / "runs", _IDS, _hashed(ids, key), distinct=True)
    (folder / "runs").unlink()  # what is mapped stays, though its name goes; so below
    windows = np.cumsum([0, *(len(one.windows) for one in fingerprints)])
    vectors = np.cumsum([0, *(one.vectors for one in fingerprints)])
    ranges = max(1, -(-int(windows[-1] + 2 * listed.rows) // at_once))
    # Vectors are cut where the windows are cut evenly, as if they were spread evenly over those of a file.
    inner = np.interp(np.arange(1, ranges) * (windows[-1] / ranges), windows, vectors).astype(np.int64)
    edges = [0, *inner.tolist(), int(vectors[-1])]
    first_id = 0
    for number, (first, stop) in enumerate(pairwise(edges)):
        part = folder / f"range-{number:05d}"
        part.mkdir()
        sought = SortedRuns.write(part / "runs", FINGERPRINTS, _windows_between(fingerprints, first, stop))
        (part / "runs").unlink()
        needles = sought.rows + 2 * listed.count(number, ranges)
        sieves = _Sieves.make(part, needles)
        _write_windows(part, sought, sieves)
        count, has_tiny_ids = _write_ids(part, listed.merged(number, ranges, distinct=True), sieves)
        _write_tails(part, sieves, key)
        counts = {"first_id": first_id, "first_vector": first, "vectors": stop - first, "has_tiny_ids": has_tiny_ids}
        (part / COUNTS).write_text(json.dumps(counts), encoding="utf-8")
        first_id += count


def map_array(file: Path, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """The values in a file, mapped; read-only also when there are none, so that kernels are compiled once."""
    if file.stat().st_size:
        return np.asarray(np.memmap(file, dtype, "r"))
    return np.frombuffer(b"", dtype)


class _Sieves(NamedTuple):
    """Both sieves of one range, mapped from their files."""

    coarse: Words
    fine: Words

    @classmethod
    def make(cls, folder: Path, needles: int) -> "_Sieves":
        sizes = {"coarse": coarse_words(needles), "fine": fine_words(needles)}
        return cls(*(np.asarray(np.memmap(folder / name, np.uint64, "w+", shape=(n,))) for name, n in sizes.items()))

    def add(self, probes: Probes, hashes: Words) -> None:
        add_probes(self.coarse, coarse_shift(self.coarse), probes)
        add_hashes(self.fine, hashes)


def _hashed(ids: Iterable[pa.Array], key: bytes) -> Iterator[pa.Table]:
    lanes = key_lanes(key, b"windows")
    for array in ids:
        present = array.cast(pa.large_binary()).drop_null()
        for start in range(0, len(present), RUN_ROWS):
            some = present.slice(start, RUN_ROWS)
            hashes = np.ascontiguousarray(hash_runs(*binary_runs(some), lanes)[:, 0])
            yield pa.table([hashes, some], schema=_IDS)


def _windows_between(fingerprints: Iterable[Noted], first: int, stop: int) -> Iterator[pa.Table]:
    """The windows of the vectors numbered `first` to `stop` over all files, which are numbered from 0 here."""
    base = -first
    for one in fingerprints:
        if base < stop - first and base + one.vectors > 0:
            for batch in one.windows.to_batches(max_chunksize=RUN_ROWS):
                numbers = batch.column("vector").to_numpy().astype(np.int64) + base
                inside = (numbers >= 0) & (numbers < stop - first)
                columns = (batch.column("probe").to_numpy(), batch.column("hash").to_numpy(), numbers.astype(np.uint32))
                yield pa.table([column[inside] for column in columns], schema=FINGERPRINTS)
        base += one.vectors


def _write_windows(folder: Path, windows: SortedRuns, sieves: _Sieves) -> None:
    with (folder / "window_hashes").open("wb") as hashes, (folder / "window_vectors").open("wb") as vectors:
        for batch in windows.merged():
            probe, hashed, vector = (column.to_numpy() for column in batch.columns)
            sieves.add(probe, hashed)
            hashed.tofile(hashes)
            vector.tofile(vectors)


def _write_ids(folder: Path, batches: Iterable[pa.RecordBatch], sieves: _Sieves) -> tuple[int, bool]:
    """Write the ids; returns how many there are, and whether one is too short to be sought in raw bytes."""
    count, end, has_tiny = 0, 0, False
    with ExitStack() as files:
        hashes, offsets, content = (
            files.enter_context((folder / name).open("wb")) for name in ("id_hashes", "id_offsets", "id_data")
        )
        np.zeros(1, np.int64).tofile(offsets)
        for batch in batches:
            hashed = batch.column("hash").to_numpy()
            data, at = binary_runs(batch.column("id"))
            add_hashes(sieves.fine, hashed)
            hashed.tofile(hashes)
            (at[1:] - at[0] + end).tofile(offsets)
            data[at[0] : at[-1]].tofile(content)
            count, end = count + len(batch), end + int(at[-1] - at[0])
            has_tiny |= bool((np.diff(at) < SHORTEST_ID).any())
    return count, has_tiny


def _write_tails(folder: Path, sieves: _Sieves, key: bytes) -> None:
    data, offsets = (map_array(folder / name, ARRAYS[name]) for name in ("id_data", "id_offsets"))
    slices = (offsets[start : start + RUN_ROWS + 1] for start in range(0, len(offsets) - 1, RUN_ROWS))
    tails = (
        pa.table(_tails(data, some, probe_factor(key), key_lanes(key, b"tails")), schema=_TAILS) for some in slices
    )
    runs = SortedRuns.write(folder / "runs", _TAILS, tails, distinct=True)
    (folder / "runs").unlink()
    with (folder / "tails").open("wb") as hashes, (folder / "tail_lengths").open("wb") as lengths:
        for batch in runs.merged(distinct=True):
            hashed, probe, length = (column.to_numpy() for column in batch.columns)
            sieves.add(probe, hashed)
            hashed.tofile(hashes)
            length.tofile(lengths)


@numba.njit(nogil=True, cache=True)
def _tails(data: Bytes, offsets: Offsets, factor: np.uint64, key: Words) -> tuple[Words, Probes, Probes]:
    """Hash, probe and length of every id that is sought in raw bytes, by its last eight ones.

    Before a shorter id stands its length, as it does where such an id counts.
    """
    hashes = np.empty(len(offsets) - 1, np.uint64)
    probes, lengths = np.empty(len(hashes), np.uint32), np.empty(len(hashes), np.uint32)
    count = 0
    for i in range(len(hashes)):
        start, stop = offsets[i], offsets[i + 1]
        if stop - start < SHORTEST_ID:
            continue
        word = np.uint64(0)
        for back in range(TAIL):
            at = stop - 1 - back
            byte = data[at] if at >= start else ((stop - start) >> (8 * (4 - (start - at)))) & 255
            word = (word << np.uint64(8)) | np.uint64(byte)
        hashes[count], probes[count], lengths[count] = hash_tail(word, key), probe_word(word, factor), stop - start
        count += 1
    return hashes[:count], probes[:count], lengths[:count]


@numba.njit(nogil=True, cache=True, inline="always")
def hash_tail(word: np.uint64, key: Words) -> np.uint64:
    """64 keyed bits of eight bytes, other ones for every other eight. Source: the finaliser of MurmurHash3."""
    word = (word ^ key[0] ^ (word ^ key[0]) >> np.uint64(33)) * np.uint64(0xFF51AFD7ED558CCD)
    word = (word ^ word >> np.uint64(33)) * np.uint64(0xC4CEB9FE1A85EC53)
    return word ^ word >> np.uint64(33)
