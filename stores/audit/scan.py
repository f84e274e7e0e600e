"""Find listed ids and vectors in bytes, whatever these are.

One pass probes the eight bytes before every offset; what passes both sieves is looked up exactly. A vector's
window counts when all of its 32 (or 16) bytes have a listed 64-bit hash: in 10^12 bytes against 10^6 windows one false
hit is expected in 18 scans. An id counts when its bytes stand alone, that is

- behind their own length in four little-endian bytes, as Parquet's PLAIN encoding writes them, or
- with no letter, digit, `_` or `-` on either side, so that `face_12` is not found inside `face_123`;
  ids under 8 bytes count only behind their length, since a number such as 1024 is everywhere.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from stores.audit.arrays import Runs
from stores.audit.fingerprints import SHORT_WINDOW, TAIL, WINDOW, probe_word
from stores.audit.needle_files import hash_tail
from stores.audit.needles import FREE_ID, Tables, find_id
from stores.audit.sieves import may_hold, probe_bits
from stores.audit.siphash import Bytes, Offsets, Words, hash_run

VECTOR, ID, EXACT_ID = 0, 1, 2

_BLOCK = 256


class Hits(NamedTuple):
    """m hits, each array of shape `(m,)`: what (VECTOR, ID or EXACT_ID), which, and the offset behind its last byte.

    An EXACT_ID stood behind its own length, so it is a whole value and not part of another.
    """

    kinds: npt.NDArray[np.int8]
    numbers: Offsets
    ends: Offsets


def scan(data: Bytes, tables: Tables, *, packed: bool = False) -> Hits:
    """Every listed id and vector window in `data`. Releases the GIL; about 0.8 GB a second.

    In `packed` data values stand side by side with nothing between them, so ids count whatever is beside them.
    """
    scratch = _scratch()
    count = _scan(data, tables, packed, scratch, *_room(0))
    room = _room(count)
    if count:
        _scan(data, tables, packed, scratch, *room)
    return Hits(*room)


def scan_values(values: Runs, tables: Tables, *, packed: bool = False) -> Hits:
    """Every listed id and vector window in each value by itself; its end is replaced by the number of the value."""
    scratch = _scratch()
    count = _scan_values(values.data, values.offsets, tables, packed, scratch, *_room(0))
    room = _room(count)
    if count:
        _scan_values(values.data, values.offsets, tables, packed, scratch, *room)
    return Hits(*room)


class _Scratch(NamedTuple):
    """Where a block is worked on, each of shape `(_BLOCK,)`."""

    probes: Words
    wanting: Words
    ends: Offsets
    tails: Words
    wides: Words
    shorts: Words


def _scratch() -> _Scratch:
    words = np.empty((5, _BLOCK), np.uint64)
    return _Scratch(words[0], words[1], np.empty(_BLOCK, np.int64), words[2], words[3], words[4])


def _room(hits: int) -> tuple[npt.NDArray[np.int8], Offsets, Offsets]:
    return np.zeros(hits, np.int8), np.zeros(hits, np.int64), np.zeros(hits, np.int64)


@numba.njit(nogil=True, cache=True)
def _scan_values(
    data: Bytes,
    offsets: Offsets,
    tables: Tables,
    packed: bool,
    scratch: _Scratch,
    kinds: npt.NDArray[np.int8],
    numbers: Offsets,
    ends: Offsets,
) -> int:
    total = 0
    for i in range(len(offsets) - 1):
        value = data[offsets[i] : offsets[i + 1]]
        found = _scan(value, tables, packed, scratch, kinds[total:], numbers[total:], ends[total:])
        whole = find_id(value, 0, len(value), tables)
        if whole >= 0:
            if total + found < len(ends):
                kinds[total + found], numbers[total + found] = EXACT_ID, whole
            found += 1
        ends[total : total + found] = i
        total += found
    return total


@numba.njit(nogil=True, cache=True)
def _scan(
    data: Bytes,
    tables: Tables,
    packed: bool,
    scratch: _Scratch,
    kinds: npt.NDArray[np.int8],
    numbers: Offsets,
    ends: Offsets,
) -> int:
    """Count the hits, and write as many as there is room for: called once to count, and once more if there are any.

    A block goes through each step before the next begins: loops without a branch, which the processor runs side by
    side, and loads that do not wait for each other. Most of its ends fail the coarse sieve, nearly all others the fine.
    """
    coarse, shift, factor, fine = tables.coarse, tables.shift, tables.factor, tables.fine
    probes, wanting, ends_left, tails, wides, shorts = scratch
    total = 0
    word = np.uint64(0)
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK]
        for i in range(len(block)):
            word = (word >> np.uint64(8)) | (np.uint64(block[i]) << np.uint64(56))
            probes[i] = probe_word(word, factor)
        for i in range(len(block)):
            wanting[i] = coarse[probes[i] >> shift]
        some_pass = False
        for i in range(len(block)):
            wanting[i] = ~wanting[i] & probe_bits(probes[i])
            some_pass |= wanting[i] == np.uint64(0)
        if not some_pass:
            continue
        left = 0
        for i in range(len(block)):
            ends_left[left] = start + i + 1
            left += wanting[i] == np.uint64(0)
        for i in range(left):
            tails[i], wides[i], shorts[i] = _hash_end(data, ends_left[i], tables.key, tables.tail_key)
        for i in range(left):
            if may_hold(fine, tails[i]) | may_hold(fine, wides[i]) | may_hold(fine, shorts[i]):
                end = ends_left[i]
                total += _look_up(data, end, tables, packed, kinds[total:], numbers[total:], ends[total:])
    return total


@numba.njit(nogil=True, cache=True)
def _hash_end(data: Bytes, end: int, key: Words, tail_key: Words) -> tuple[np.uint64, np.uint64, np.uint64]:
    """The hashes of what may end at `end`: the tail of an id, a window and a short one, as long as there are bytes."""
    return (
        hash_tail(_last_word(data, end), tail_key),
        hash_run(data, max(end - WINDOW, 0), end, key[0], key[1])[0],
        hash_run(data, max(end - SHORT_WINDOW, 0), end, key[0], key[1])[0],
    )


@numba.njit(nogil=True, cache=True, inline="always")
def _last_word(data: Bytes, end: int) -> np.uint64:
    """The eight bytes before `end`, as many as there are."""
    word = np.uint64(0)
    for at in range(max(end - TAIL, 0), end):
        word = (word >> np.uint64(8)) | (np.uint64(data[at]) << np.uint64(56))
    return word


@numba.njit(nogil=True, cache=True)
def _look_up(
    data: Bytes,
    end: int,
    tables: Tables,
    packed: bool,
    kinds: npt.NDArray[np.int8],
    numbers: Offsets,
    ends: Offsets,
) -> int:
    """The hits that end at `end`."""
    total = 0
    for length in (WINDOW, SHORT_WINDOW):
        if end >= length and len(tables.window_hashes):
            wanted = hash_run(data, end - length, end, tables.key[0], tables.key[1])[0]
            place = np.searchsorted(tables.window_hashes, wanted)
            while place < len(tables.window_hashes) and tables.window_hashes[place] == wanted:
                if total < len(ends):
                    kinds[total], ends[total] = VECTOR, end
                    numbers[total] = tables.first_vector + np.int64(tables.window_vectors[place])
                total += 1
                place += 1
    tail = hash_tail(_last_word(data, end), tables.tail_key)
    place = np.searchsorted(tables.tails, tail)
    while place < len(tables.tails) and tables.tails[place] == tail:
        start = end - np.int64(tables.tail_lengths[place])
        place += 1
        kind = _stands_alone(data, start, end, packed)
        if kind:
            number = find_id(data, start, end, tables)
            if number >= 0:
                if total < len(ends):
                    kinds[total], numbers[total], ends[total] = kind, number, end
                total += 1
    return total


@numba.njit(nogil=True, cache=True)
def _stands_alone(data: Bytes, start: int, end: int, packed: bool) -> int:
    """EXACT_ID, ID or, if the bytes are part of something longer, 0; in packed data that cannot be told."""
    if start < 0:
        return 0
    if start >= 4:
        length = 0
        for i in range(4):
            length |= int(data[start - 4 + i]) << (8 * i)
        if length == end - start:
            return EXACT_ID
    if end - start < FREE_ID:
        return 0
    if packed:
        return ID
    if start > 0 and _continues(data[start - 1]):
        return 0
    if end < len(data) and _continues(data[end]):
        return 0
    return ID


@numba.njit(nogil=True, cache=True)
def _continues(byte: int) -> bool:
    """Whether an id may go on with this byte: a letter, a digit, `_` or `-`."""
    return 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122 or byte == 95 or byte == 45
