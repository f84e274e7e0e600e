"""Tell whether a Bloom filter of Parquet remembers a value that its column chunk no longer has.

The filter is built again from the values that are there. A bit it has beyond those was set by a value that is gone.
Source: BloomFilter.md of the Apache Parquet format; XXH64 after Yann Collet's specification, seed 0.
"""

import enum

import numba
import numpy as np
import numpy.typing as npt

from stores.audit.arrays import Runs
from stores.audit.siphash import Bytes, Offsets, load_word

BLOCK_BYTES = 32
_SALTS = np.array(
    [0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31], np.uint32
)
_P1, _P2, _P3 = np.uint64(0x9E3779B185EBCA87), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
_P4, _P5 = np.uint64(0x85EBCA77C2B2AE63), np.uint64(0x27D4EB2F165667C5)


class Memory(enum.Enum):
    """What a filter knows beyond the values given."""

    NOTHING_ELSE = "nothing else"
    SOMETHING_ELSE = "something else"
    NOT_UNDERSTOOD = "not understood"
    """It denies values that are there, so it is not built the way we read it."""


def compare_filter(bits: Bytes, values: Runs) -> Memory:
    """Compare the filter `bits` with one built from `values`, the PLAIN bytes of all values without lengths."""
    if not len(bits) or len(bits) % BLOCK_BYTES:
        return Memory.NOT_UNDERSTOOD
    stored = np.frombuffer(bits.tobytes(), np.uint32)
    rebuilt = _build(values.data, values.offsets, len(bits) // BLOCK_BYTES).reshape(-1)
    if (rebuilt & ~stored).any():
        return Memory.NOT_UNDERSTOOD
    return Memory.SOMETHING_ELSE if (stored & ~rebuilt).any() else Memory.NOTHING_ELSE


@numba.njit(nogil=True, cache=True)
def _build(data: Bytes, offsets: Offsets, blocks: int) -> npt.NDArray[np.uint32]:
    out = np.zeros((blocks, 8), np.uint32)
    for i in range(len(offsets) - 1):
        hashed = xxh64(data, offsets[i], offsets[i + 1])
        block = ((hashed >> np.uint64(32)) * np.uint64(blocks)) >> np.uint64(32)
        for lane in range(8):
            place = np.uint32(np.uint32(hashed & np.uint64(0xFFFFFFFF)) * _SALTS[lane]) >> np.uint32(27)
            out[block, lane] |= np.uint32(1) << np.uint32(place)
    return out


@numba.njit(nogil=True, cache=True)
def xxh64(data: Bytes, start: int, stop: int) -> np.uint64:
    """XXH64 of `data[start:stop]` with seed 0."""
    at, end = np.uint64(start), np.uint64(stop)
    if stop - start >= 32:
        v1, v2, v3, v4 = _P1 + _P2, _P2, np.uint64(0), np.uint64(0) - _P1
        while at + np.uint64(32) <= end:
            v1 = _mix(v1, load_word(data, at))
            v2 = _mix(v2, load_word(data, at + np.uint64(8)))
            v3 = _mix(v3, load_word(data, at + np.uint64(16)))
            v4 = _mix(v4, load_word(data, at + np.uint64(24)))
            at += np.uint64(32)
        out: np.uint64 = _rotate(v1, 1) + _rotate(v2, 7) + _rotate(v3, 12) + _rotate(v4, 18)
        for lane in (v1, v2, v3, v4):
            out = (out ^ _mix(np.uint64(0), lane)) * _P1 + _P4
    else:
        out = _P5
    out += end - np.uint64(start)
    while at + np.uint64(8) <= end:
        out = _rotate(out ^ _mix(np.uint64(0), load_word(data, at)), 27) * _P1 + _P4
        at += np.uint64(8)
    if at + np.uint64(4) <= end:
        half = np.uint64(0)
        for i in range(4):
            half |= np.uint64(data[at + np.uint64(i)]) << np.uint64(8 * i)
        out = _rotate(out ^ (half * _P1), 23) * _P2 + _P3
        at += np.uint64(4)
    while at < end:
        out = _rotate(out ^ (np.uint64(data[at]) * _P5), 11) * _P1
        at += np.uint64(1)
    out = (out ^ (out >> np.uint64(33))) * _P2
    out = (out ^ (out >> np.uint64(29))) * _P3
    out = out ^ (out >> np.uint64(32))
    return out


@numba.njit(nogil=True, cache=True, inline="always")
def _rotate(word: np.uint64, bits: int) -> np.uint64:
    return (word << np.uint64(bits)) | (word >> np.uint64(64 - bits))


@numba.njit(nogil=True, cache=True, inline="always")
def _mix(lane: np.uint64, word: np.uint64) -> np.uint64:
    mixed: np.uint64 = _rotate(lane + word * _P2, 31) * _P1
    return mixed
