"""PostgreSQL's own compression, pglz, to know in which bytes a server keeps a long value.

The format is that of PostgreSQL 9.5 and later, `src/common/pg_lzcompress.c`, default strategy: control bytes, each
followed by eight items, a literal byte or a tag of two or three bytes (12 bits of offset, length 3 to 273). What a
server writes is repeated step by step, so that the bytes are the same; the positive control tells if one day they are
not.
"""

import numba
import numpy as np
import numpy.typing as npt

from stores.audit.siphash import Bytes

_SHORTEST, _FIRST_SUCCESS, _SAVING = 32, 1024, 25
_GOOD_MATCH, _GOOD_DROP = 128, 10
_LONGEST_MATCH, _FARTHEST, _HISTORY = 273, 0x0FFF, 4096


def compress(value: bytes) -> bytes | None:
    """The compressed stream of a value (without its header); None if pglz leaves it as it is."""
    data = np.frombuffer(value, np.uint8)
    if len(data) < _SHORTEST:
        return None
    out = np.zeros(len(data) + 8, np.uint8)
    size = _compress(data, out)
    return out[:size].tobytes() if 0 < size < len(data) - 2 else None


@numba.njit(nogil=True, cache=True)
def _slot(data: Bytes, at: int, mask: int) -> int:
    """Where a position's history begins. PostgreSQL hashes signed characters."""
    first = np.int64(np.int8(data[at]))
    if len(data) - at < 4:
        return int(first & mask)
    second, third = np.int64(np.int8(data[at + 1])), np.int64(np.int8(data[at + 2]))
    fourth = np.int64(np.int8(data[at + 3]))
    return int(((first << 6) ^ (second << 4) ^ (third << 2) ^ fourth) & mask)


@numba.njit(nogil=True, cache=True)
def _find(
    data: Bytes,
    at: int,
    entry: int,
    following: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
) -> tuple[int, int]:
    """Length and offset of the match PostgreSQL takes at `at`; length 0 if none is worth it."""
    length, offset, good = 0, 0, _GOOD_MATCH
    while entry:
        distance = at - places[entry]
        if distance >= _FARTHEST:
            break
        here = 0
        while here < _LONGEST_MATCH and at + here < len(data) and data[at + here] == data[places[entry] + here]:
            here += 1
        if here > length:
            length, offset = here, distance
        entry = following[entry]
        if entry:
            if length >= good:
                break
            good -= good * _GOOD_DROP // 100
    return (length, offset) if length > 2 else (0, 0)


@numba.njit(nogil=True, cache=True)
def _compress(data: Bytes, out: Bytes) -> int:
    """Write the stream to `out`; returns its length, or -1 if too little is saved."""
    size = len(data)
    buckets = 512 if size < 128 else 1024 if size < 256 else 2048 if size < 512 else 4096 if size < 1024 else 8192
    mask = buckets - 1
    heads = np.zeros(buckets, np.int64)
    following, previous = np.zeros(_HISTORY + 1, np.int64), np.zeros(_HISTORY + 1, np.int64)
    places, slots = np.zeros(_HISTORY + 1, np.int64), np.zeros(_HISTORY + 1, np.int64)
    limit = size * (100 - _SAVING) // 100
    unused, full, matched = 1, False, False
    control, bit, to, at = 0, 256, 0, 0
    while at < size:
        if to >= limit or (not matched and to >= _FIRST_SUCCESS):
            return -1
        if bit == 256:
            control, bit = to, 1
            out[control] = 0
            to += 1
        length, offset = _find(data, at, heads[_slot(data, at, mask)], following, places)
        if length:
            out[control] |= bit
            high = (offset & 0xF00) >> 4
            out[to] = high | (0x0F if length > 17 else length - 3)
            out[to + 1] = offset & 0xFF
            to += 2
            if length > 17:
                out[to] = length - 18
                to += 1
            matched = True
        else:
            out[to] = data[at]
            to += 1
        bit <<= 1
        for _ in range(max(length, 1)):
            slot = _slot(data, at, mask)
            if full:  # the oldest entry is used again
                if previous[unused] == 0:
                    heads[slots[unused]] = following[unused]
                else:
                    following[previous[unused]] = following[unused]
                if following[unused]:
                    previous[following[unused]] = previous[unused]
            following[unused], previous[unused] = heads[slot], 0
            slots[unused], places[unused] = slot, at
            if heads[slot]:
                previous[heads[slot]] = unused
            heads[slot] = unused
            unused += 1
            if unused > _HISTORY:
                unused, full = 1, True
            at += 1
    return to if to < limit else -1
