"""What a scan looks for, laid out for speed: one Bloom filter over the last eight bytes of everything, then tables."""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stores.audit.arrays import Runs, binary_runs
from stores.audit.fingerprints import TAIL, Fingerprints, probe_factor, probe_word
from stores.audit.siphash import Bytes, Offsets, Words, hash_run, hash_runs, key_lanes

SHORTEST_ID = 4
"""Ids of fewer bytes are compared with decoded values only."""
FREE_ID = 8
"""Ids of fewer bytes count in raw bytes only behind their length, as Parquet's PLAIN writes them."""


class Tables(NamedTuple):
    """Arrays the kernel reads. `ids` are the n listed ids as bytes; sought ones also stand in `tails`, sorted."""

    bloom: Words
    shift: np.uint64
    factor: np.uint64
    key: Words
    window_hashes: Words
    window_vectors: npt.NDArray[np.uint32]
    id_hashes: Words
    id_order: Offsets
    id_data: Bytes
    id_offsets: Offsets
    tails: Words
    tail_lengths: Offsets
    has_tiny_ids: bool


class Needles(NamedTuple):
    """Listed ids and vectors, ready to be sought. `untraceable` vectors have no fingerprint; see Fingerprints."""

    tables: Tables
    ids: int
    vectors: int
    untraceable: int


def make_needles(ids: pa.Array, fingerprints: Fingerprints, key: bytes) -> Needles:
    """Prepare the listed `ids` (strings or bytes) and `fingerprints` made with `key` for scanning, without nulls."""
    data, offsets = binary_runs(ids.cast(pa.large_binary()).unique().drop_null())
    data = data if len(data) else np.zeros(1, np.uint8)
    lanes, factor = key_lanes(key, b"windows"), probe_factor(key)
    id_hashes = hash_runs(data, offsets, lanes)[:, 0]
    id_order = np.argsort(id_hashes, kind="stable")
    tails, lengths = _tails(data, offsets)
    pairs = np.unique(np.rec.fromarrays([tails, lengths])) if len(tails) else np.rec.fromarrays([tails, lengths])
    windows = fingerprints.windows
    hashes = windows["hash"].to_numpy()
    order = np.argsort(hashes, kind="stable")
    probes = np.concatenate([windows["probe"].to_numpy(), _probes(tails, factor)])
    bloom, shift = _fill_bloom(probes)
    tables = Tables(
        bloom=bloom,
        shift=shift,
        factor=factor,
        key=lanes,
        window_hashes=hashes[order],
        window_vectors=windows["vector"].to_numpy()[order],
        id_hashes=id_hashes[id_order],
        id_order=id_order,
        id_data=data,
        id_offsets=np.ascontiguousarray(offsets),
        tails=np.ascontiguousarray(pairs["f0"]),
        tail_lengths=np.ascontiguousarray(pairs["f1"]),
        has_tiny_ids=bool((np.diff(offsets) < SHORTEST_ID).any()),
    )
    return Needles(tables, len(offsets) - 1, fingerprints.vectors, fingerprints.bare)


def find_values(values: Runs, tables: Tables) -> Offsets:
    """Which listed id each value is, or -1; shape `(n,)`."""
    numbers: Offsets = _find_values(values.data, values.offsets, tables)
    return numbers


@numba.njit(nogil=True, cache=True)
def _find_values(data: Bytes, offsets: Offsets, tables: Tables) -> Offsets:
    out = np.empty(len(offsets) - 1, np.int64)
    for i in range(len(out)):
        out[i] = find_id(data, offsets[i], offsets[i + 1], tables)
    return out


@numba.njit(nogil=True, cache=True)
def find_id(data: Bytes, start: int, stop: int, tables: Tables) -> int:
    """The number of the listed id that `data[start:stop]` is, or -1."""
    wanted = hash_run(data, start, stop, tables.key[0], tables.key[1])[0]
    place = np.searchsorted(tables.id_hashes, wanted)
    while place < len(tables.id_hashes) and tables.id_hashes[place] == wanted:
        number = int(tables.id_order[place])
        at = tables.id_offsets[number]
        if tables.id_offsets[number + 1] - at == stop - start and np.all(
            tables.id_data[at : at + stop - start] == data[start:stop]
        ):
            return number
        place += 1
    return -1


@numba.njit(nogil=True, cache=True)
def _tails(data: Bytes, offsets: Offsets) -> tuple[Words, Offsets]:
    """The last eight bytes of every id that is sought in raw bytes, its length before it if it is short."""
    tails, lengths = np.empty(len(offsets) - 1, np.uint64), np.empty(len(offsets) - 1, np.int64)
    count = 0
    for i in range(len(offsets) - 1):
        start, stop = offsets[i], offsets[i + 1]
        if stop - start < SHORTEST_ID:
            continue
        word = np.uint64(0)
        for back in range(TAIL):
            at = stop - 1 - back
            byte = data[at] if at >= start else ((stop - start) >> (8 * (4 - (start - at)))) & 255
            word = (word << np.uint64(8)) | np.uint64(byte)
        tails[count], lengths[count] = word, stop - start
        count += 1
    return tails[:count], lengths[:count]


@numba.njit(nogil=True, cache=True)
def _probes(words: Words, factor: np.uint64) -> npt.NDArray[np.uint32]:
    out = np.empty(len(words), np.uint32)
    for i in range(len(words)):
        out[i] = probe_word(words[i], factor)
    return out


def _fill_bloom(probes: npt.NDArray[np.uint32]) -> tuple[Words, np.uint64]:
    """A Bloom filter whose every entry sets three bits of one word, so that a look-up costs one load.

    One to two words per entry: about 0.02 % of random words pass, and 50,000 windows fit a second-level cache.
    """
    bits = min(max(len(probes) - 1, 1 << 10).bit_length(), 28)
    shift = np.uint64(32 - bits)
    bloom = np.zeros(1 << bits, np.uint64)
    np.bitwise_or.at(bloom, probes >> np.uint32(shift), _bloom_bits(probes))
    return bloom, shift


def _bloom_bits(probes: npt.NDArray[np.uint32]) -> Words:
    wide = probes.astype(np.uint64)
    one = np.uint64(1)
    bits = [one << (wide >> np.uint64(at) & np.uint64(63)) for at in (0, 6, 12)]
    return np.asarray(bits[0] | bits[1] | bits[2], np.uint64)
