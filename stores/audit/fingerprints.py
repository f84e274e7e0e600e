"""Keyed fingerprints of vectors that must be gone: enough to find them, too little to rebuild them.

From every vector a few windows of 32 bytes are taken, evenly spread from its first byte to its last, and only the
keyed hash of each is kept. With n windows on a vector of L bytes, any `guaranteed_fragment(L)` consecutive bytes of it
hold at least one whole window and are found, at any offset: 319 of 2048 bytes with 8 windows.

A vector is sought in the width it is stored in and, when its elements are floats, in the other two IEEE widths as
well, since databases keep such copies (DeepFace: float64). Values of 16 to 31 bytes, such as hashes, have one window of
16 bytes. Windows of few distinct bytes (zeros, constants) would match everywhere: the next one that is not so is
taken within the same stretch, or none; a vector with no window at all is counted, never forgotten. Byte strings of
any length may be pictures, which open with a header common to many: only their second half is fingerprinted.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stores.audit.arrays import (
    Runs,
    binary_runs,
    byte_width,
    every,
    fixed_bytes,
    is_binary,
    is_list,
    is_text,
    list_runs,
    simplify,
    validity,
)
from stores.audit.siphash import Bytes, Offsets, Words, hash_run, key_lanes, load_word

WINDOW, SHORT_WINDOW, TAIL = 32, 16, 8
WINDOWS_PER_VECTOR = 8
SHORTEST_VECTOR = 16
"""Lists of fewer numbers are boxes, landmarks and angles, which two people may share; they are not vectors."""

FINGERPRINTS = pa.schema([("probe", pa.uint32()), ("hash", pa.uint64()), ("vector", pa.uint32())])
"""probe: keyed, of a window's last 8 bytes; hash: keyed, of all of it; vector: a number within the same table."""

_FLOATS = (np.dtype("<f2"), np.dtype("<f4"), np.dtype("<f8"))


class Vectors(NamedTuple):
    """n vectors in every width they may have been copied to, as stored first; n runs in each of `forms`."""

    forms: list[Runs]
    may_have_header: bool = False


class Fingerprints(NamedTuple):
    """The windows of some vectors, as a table of schema FINGERPRINTS, and how many vectors there were.

    `bare` of the `vectors` are too short or too uniform to have a window: no scan can find them by value.
    """

    windows: pa.Table
    vectors: int
    bare: int


class Noted(Protocol):
    """Fingerprints in memory or on disk."""

    @property
    def windows(self) -> pa.Table:
        """Their windows, of schema FINGERPRINTS; `vector` is below `vectors`."""

    @property
    def vectors(self) -> int:
        """How many vectors there were."""


def guaranteed_fragment(length: int, windows: int = WINDOWS_PER_VECTOR) -> int:
    """The fewest consecutive bytes of a vector of `length` bytes (of random content) that are always found."""
    if length < WINDOW:
        return length
    return -(-(length - WINDOW) // max(windows - 1, 1)) + WINDOW - 1 if length > WINDOW else WINDOW


def is_vector_column(kind: pa.DataType) -> bool:
    """Whether a column of this type holds vectors, or hashes of them, at any depth.

    These are lists of floats or 8-bit integers, and byte strings (not text). A value of less than 16 bytes is none: a
    perceptual hash of 8 may be shared with a row that stays, so finding it would prove nothing; its row is what must
    go.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return is_vector_column(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return is_vector_column(kind.value_type)
    if pa.types.is_struct(kind):
        return any(is_vector_column(field.type) for field in kind)
    if is_list(kind):
        inner = kind.value_type
        eight_bits = pa.types.is_int8(inner) or pa.types.is_uint8(inner)
        return pa.types.is_floating(inner) or eight_bits or is_vector_column(inner)
    if pa.types.is_fixed_size_binary(kind):
        return bool(kind.byte_width >= SHORT_WINDOW)
    return bool(is_binary(kind) and not is_text(kind))


def fingerprint(columns: Iterable[pa.Array], key: bytes, windows: int = WINDOWS_PER_VECTOR) -> Fingerprints:
    """Fingerprint every vector in `columns`, each of a type for which `is_vector_column` is true."""
    tables, vectors, bare = [FINGERPRINTS.empty_table()], 0, 0
    for column in columns:
        for forms, may_have_header in _vectors(column):
            count = len(forms[0].offsets) - 1
            has_window = np.zeros(count, np.bool_)
            for data, offsets in forms:
                chosen, starts, lengths = _choose_windows(data, offsets, windows, may_have_header)
                has_window[chosen] = True
                probes, hashes = _hash_windows(data, starts, lengths, key_lanes(key, b"windows"), probe_factor(key))
                ordinals = (chosen + vectors).astype(np.uint32)
                tables.append(pa.table([probes, hashes, ordinals], schema=FINGERPRINTS))
            vectors += count
            bare += count - int(has_window.sum())
    return Fingerprints(pa.concat_tables(tables).combine_chunks(), vectors, bare)


def renumber(windows: pa.Table, first: int) -> pa.Table:
    """The same windows, their vectors numbered from `first`."""
    numbers = windows.column("vector").to_numpy() + np.uint32(first)
    return windows.set_column(2, FINGERPRINTS.field(2), pa.array(numbers, pa.uint32()))


def join(parts: Iterable[Fingerprints]) -> Fingerprints:
    """The fingerprints of several files as one, made with the same key; their vectors are numbered through."""
    tables, vectors, bare = [FINGERPRINTS.empty_table()], 0, 0
    for part in parts:
        tables.append(renumber(part.windows, vectors))
        vectors += part.vectors
        bare += part.bare
    return Fingerprints(pa.concat_tables(tables).combine_chunks(), vectors, bare)


def probe_factor(key: bytes) -> np.uint64:
    """The odd factor that turns eight bytes into a 32-bit probe."""
    return np.uint64(key_lanes(key, b"probes")[0] | np.uint64(1))


def _vectors(array: pa.Array) -> Iterator[Vectors]:
    array = simplify(array.drop_null())
    kind = array.type
    if pa.types.is_dictionary(kind):
        yield from _vectors(array.dictionary_decode())
    elif pa.types.is_struct(kind):
        for field, inner in zip(kind, array.flatten(), strict=True):
            if is_vector_column(field.type):
                yield from _vectors(inner)
    elif is_list(kind):
        width = byte_width(kind.value_type)
        if width is None or pa.types.is_fixed_size_binary(kind.value_type):
            yield from _vectors(list_runs(array)[0])
        else:
            long_enough = array.filter(pc.greater_equal(pc.list_value_length(array), SHORTEST_VECTOR))
            elements, offsets = list_runs(long_enough)
            yield Vectors(_forms(*_without_nulls(elements, offsets)))
    elif pa.types.is_fixed_size_binary(kind):
        width = kind.byte_width
        runs = Runs(fixed_bytes(array, width), every(width, len(array)))
        # The layout lethe recommends is float32 vectors as fixed_size_binary; shorter ones are hashes.
        floats = width % 4 == 0 and width > WINDOW
        yield Vectors(_forms(runs.data.view("<f4"), runs.offsets // 4) if floats else [runs])
    elif len(array):
        yield Vectors([binary_runs(array)], may_have_header=True)


def _without_nulls(elements: pa.Array, offsets: Offsets) -> tuple[npt.NDArray[np.generic], Offsets]:
    """The elements as numpy values, nulls left out, as Parquet's PLAIN encoding leaves them out."""
    if elements.null_count:
        kept = np.concatenate([np.zeros(1, np.int64), np.cumsum(validity(elements), dtype=np.int64)])
        elements, offsets = elements.drop_null(), kept[offsets]
    return np.asarray(elements.to_numpy(zero_copy_only=False)), offsets


def _forms(elements: npt.NDArray[np.generic], offsets: Offsets) -> list[Runs]:
    widths = [elements.dtype]
    if elements.dtype in _FLOATS:
        widths += [dtype for dtype in _FLOATS if dtype != elements.dtype]
    else:
        widths.append(np.dtype("<i4"))  # Parquet's PLAIN keeps 8-bit integers in 32 bits
    with np.errstate(over="ignore", invalid="ignore"):
        return [
            Runs(
                np.ascontiguousarray(elements.astype(dtype, copy=False)).view(np.uint8),
                offsets * dtype.itemsize,
            )
            for dtype in widths
        ]


@numba.njit(nogil=True, cache=True)
def _choose_windows(
    data: Bytes, offsets: Offsets, wanted: int, may_have_header: bool
) -> tuple[Offsets, Offsets, Offsets]:
    """For every window: the run it is of, its start in `data` and its length."""
    size = (len(offsets) - 1) * wanted
    runs, starts, lengths = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)
    count = 0
    for run in range(len(offsets) - 1):
        start, total = offsets[run], offsets[run + 1] - offsets[run]
        length = WINDOW if total >= WINDOW else SHORT_WINDOW
        if total < length:
            continue
        if may_have_header:
            skipped = min(total // 2, total - length)
            start, total = start + skipped, total - skipped
        room = total - length
        here = min(wanted, 1 + room // TAIL)
        for i in range(here):
            at = start + (room * i // (here - 1) if here > 1 else 0)
            limit = start + (room * (i + 1) // (here - 1) if i + 1 < here else room + 1)
            while at < limit and not _is_distinct(data, at, length):
                at += 4
            if at < limit and at <= start + room:
                runs[count], starts[count], lengths[count] = run, at, length
                count += 1
    return runs[:count], starts[:count], lengths[:count]


@numba.njit(nogil=True, cache=True)
def _is_distinct(data: Bytes, start: int, length: int) -> bool:
    """Whether a window says enough: a third of its bytes differ, and four of the last eight, its probe."""
    enough: bool = _count_distinct(data, start, start + length) * 3 >= length
    return enough and _count_distinct(data, start + length - TAIL, start + length) >= 4


@numba.njit(nogil=True, cache=True)
def _count_distinct(data: Bytes, start: int, stop: int) -> int:
    seen = np.zeros(4, np.uint64)
    count = 0
    for at in range(start, stop):
        word, bit = data[at] >> 6, np.uint64(1) << np.uint64(data[at] & 63)
        if not seen[word] & bit:
            seen[word] |= bit
            count += 1
    return count


@numba.njit(nogil=True, cache=True)
def _hash_windows(
    data: Bytes, starts: Offsets, lengths: Offsets, key: Words, factor: np.uint64
) -> tuple[npt.NDArray[np.uint32], Words]:
    probes, hashes = np.empty(len(starts), np.uint32), np.empty(len(starts), np.uint64)
    for i in range(len(starts)):
        stop = starts[i] + lengths[i]
        probes[i] = probe_word(load_word(data, np.uint64(stop - TAIL)), factor)
        hashes[i] = hash_run(data, starts[i], stop, key[0], key[1])[0]
    return probes, hashes


@numba.njit(nogil=True, cache=True, inline="always")
def probe_word(word: np.uint64, factor: np.uint64) -> np.uint64:
    """32 keyed bits of eight bytes; each of them depends on early and late bytes."""
    return ((word ^ (word >> np.uint64(29))) * factor) >> np.uint64(32)
