"""What a scan looks for, laid out for speed: two sieves over everything, then exact tables, all mapped from files."""

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stores.audit.arrays import Runs
from stores.audit.fingerprints import Noted, probe_factor
from stores.audit.needle_files import ARRAYS, COUNTS, map_array, write_needles
from stores.audit.sieves import coarse_shift, may_hold
from stores.audit.siphash import Bytes, Offsets, Words, hash_run, key_lanes

FREE_ID = 8
"""Ids of fewer bytes count in raw bytes only behind their length, as Parquet's PLAIN writes them."""


class Tables(NamedTuple):
    """Arrays the kernels read; see `needle_files`. Ids and vectors are numbered from the first of each."""

    coarse: Words
    shift: np.uint64
    fine: Words
    factor: np.uint64
    key: Words
    tail_key: Words
    window_hashes: Words
    window_vectors: npt.NDArray[np.uint32]
    id_hashes: Words
    id_offsets: Offsets
    id_data: Bytes
    tails: Words
    tail_lengths: npt.NDArray[np.uint32]
    first_id: int
    first_vector: int
    has_tiny_ids: bool


class Needles(NamedTuple):
    """So many listed ids and vectors, ready to be sought."""

    tables: Tables
    ids: int
    vectors: int


def make_needles(ids: pa.Array, fingerprints: Noted, key: bytes) -> Needles:
    """Prepare listed `ids` (strings or bytes) and `fingerprints` made with `key`, few enough to be sought at once."""
    with tempfile.TemporaryDirectory() as folder:
        write_needles(Path(folder), [ids], [fingerprints], key)
        (needles,) = open_needles(Path(folder), key)
        return needles  # what is mapped stays, though its name goes


def open_needles(folder: Path, key: bytes) -> list[Needles]:
    """Map what `write_needles` wrote with the same `key`: one set of needles for each range, to be sought in turn."""
    return [_map(part, key) for part in sorted(folder.glob("range-*"))]


def _map(folder: Path, key: bytes) -> Needles:
    arrays = {name: map_array(folder / name, dtype) for name, dtype in ARRAYS.items()}
    counts: dict[str, Any] = json.loads((folder / COUNTS).read_bytes())
    tables = Tables(
        **arrays,
        shift=coarse_shift(arrays["coarse"]),
        factor=probe_factor(key),
        key=key_lanes(key, b"windows"),
        tail_key=key_lanes(key, b"tails"),
        first_id=counts["first_id"],
        first_vector=counts["first_vector"],
        has_tiny_ids=counts["has_tiny_ids"],
    )
    return Needles(tables, len(tables.id_hashes), counts["vectors"])


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
    if not may_hold(tables.fine, wanted):
        return -1
    place = np.searchsorted(tables.id_hashes, wanted)
    while place < len(tables.id_hashes) and tables.id_hashes[place] == wanted:
        at = tables.id_offsets[place]
        if tables.id_offsets[place + 1] - at == stop - start and np.all(
            tables.id_data[at : at + stop - start] == data[start:stop]
        ):
            return int(tables.first_id + place)
        place += 1
    return -1
