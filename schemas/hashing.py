"""A keyed 64-bit hash of strings, the same on every machine and in every version: SipHash-1-3 over Arrow buffers.

Subjects, ids and files are sharded by it, so it must never change. It is keyed and well mixed because ids come from
strangers, who could otherwise send ids that all collide. Source: Aumasson and Bernstein, "SipHash: a fast short-input
PRF", 2012.
"""

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.text import string_buffers

Hashes = npt.NDArray[np.uint64]
Words = tuple[np.uint64, np.uint64, np.uint64, np.uint64]

_FIRST_KEY = np.array([0x6C65746865206973, 0x2061207269766572], np.uint64)
_SECOND_KEY = np.array([0x6F6620666F726765, 0x7466756C6E657373], np.uint64)


def hash_strings(values: pa.Array, *, second: bool = False, seed: int = 0) -> Hashes:
    """Hash every value of a string or binary array of n rows; returns shape `(n,)`.

    A null hashes like the empty string: tell them apart by the validity, if it matters. `second` uses another key, so
    that the two hashes together are 128 bits wide; `seed` separates uses that must not agree with each other.
    """
    offsets, data = string_buffers(values.cast(pa.large_binary()))
    key = _SECOND_KEY if second else _FIRST_KEY
    hashes: Hashes = _siphash_rows(data, offsets, key[0] ^ np.uint64(seed), key[1])
    return hashes


@numba.njit(nogil=True, cache=True)
def _rotate(word: np.uint64, bits: int) -> np.uint64:
    return (word << np.uint64(bits)) | (word >> np.uint64(64 - bits))


@numba.njit(nogil=True, cache=True)
def _round(
    v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    v0 += v1
    v2 += v3
    v1 = _rotate(v1, 13) ^ v0
    v3 = _rotate(v3, 16) ^ v2
    v0 = _rotate(v0, 32)
    v2 += v1
    v0 += v3
    v1 = _rotate(v1, 17) ^ v2
    v3 = _rotate(v3, 21) ^ v0
    v2 = _rotate(v2, 32)
    return v0, v1, v2, v3


@numba.njit(nogil=True, cache=True)
def _siphash_rows(data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], k0: np.uint64, k1: np.uint64) -> Hashes:
    out = np.empty(len(offsets) - 1, np.uint64)
    for row in range(len(out)):
        start, stop = offsets[row], offsets[row + 1]
        v0 = k0 ^ np.uint64(0x736F6D6570736575)
        v1 = k1 ^ np.uint64(0x646F72616E646F6D)
        v2 = k0 ^ np.uint64(0x6C7967656E657261)
        v3 = k1 ^ np.uint64(0x7465646279746573)
        at = start
        while at < stop - 7:
            word = np.uint64(0)
            for i in range(8):
                word |= np.uint64(data[at + i]) << np.uint64(8 * i)
            v3 ^= word
            v0, v1, v2, v3 = _round(v0, v1, v2, v3)
            v0 ^= word
            at += 8
        word = np.uint64((stop - start) & 0xFF) << np.uint64(56)
        for i in range(stop - at):
            word |= np.uint64(data[at + i]) << np.uint64(8 * i)
        v3 ^= word
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= word
        v2 ^= np.uint64(0xFF)
        for _ in range(3):
            v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        out[row] = v0 ^ v1 ^ v2 ^ v3
    return out
