"""Keyed 128-bit hashes of byte runs: SipHash-1-3 with the 128-bit output.

The verifier has its own kernel, so that a fault in the hash the rest of lethe shards by cannot hide a fault in the
purge. Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012, and the authors' reference code for
the 128-bit output.
"""

import hashlib
import secrets

import numba
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

KEY_BYTES = 16


def new_key() -> bytes:
    """A random key of 16 bytes for one audit.

    Keep it apart from what it keys: whoever holds both can test whether a vector they already have was erased.
    """
    return secrets.token_bytes(KEY_BYTES)


def key_lanes(key: bytes, purpose: bytes) -> Words:
    """Derive the two 64-bit words, shape `(2,)`, that key one `purpose`, so that uses of one key never agree."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"an audit key has {KEY_BYTES} bytes, this one has {len(key)}; make one with new_key()")
    return np.frombuffer(hashlib.blake2b(purpose, key=key, digest_size=16).digest(), np.uint64)


@numba.njit(nogil=True, cache=True)
def hash_runs(data: Bytes, offsets: Offsets, key: Words) -> Words:
    """Hash the n runs `data[offsets[i]:offsets[i + 1]]`; returns shape `(n, 2)`."""
    out = np.empty((len(offsets) - 1, 2), np.uint64)
    for i in range(len(out)):
        out[i, 0], out[i, 1] = hash_run(data, offsets[i], offsets[i + 1], key[0], key[1])
    return out


@numba.njit(nogil=True, cache=True)
def hash_run(data: Bytes, start: int, stop: int, k0: np.uint64, k1: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Hash `data[start:stop]` to 128 bits."""
    v0 = k0 ^ np.uint64(0x736F6D6570736575)
    v1 = k1 ^ np.uint64(0x646F72616E646F6D) ^ np.uint64(0xEE)
    v2 = k0 ^ np.uint64(0x6C7967656E657261)
    v3 = k1 ^ np.uint64(0x7465646279746573)
    # Unsigned positions: a signed index makes every load check for one counted from the end.
    at, end = np.uint64(start), np.uint64(stop)
    last_full = end - (end - at) % np.uint64(8)
    while at < last_full:
        word = load_word(data, at)
        v3 ^= word
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= word
        at += np.uint64(8)
    word = np.uint64(stop - start) << np.uint64(56)
    shift = np.uint64(0)
    while at < end:
        word |= np.uint64(data[at]) << shift
        shift += np.uint64(8)
        at += np.uint64(1)
    v3 ^= word
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0 ^= word
    v2 ^= np.uint64(0xEE)
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    first = v0 ^ v1 ^ v2 ^ v3
    v1 ^= np.uint64(0xDD)
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return first, v0 ^ v1 ^ v2 ^ v3


@numba.njit(nogil=True, cache=True, inline="always")
def load_word(data: Bytes, at: np.uint64) -> np.uint64:
    """The eight bytes at `at`, little-endian, at any alignment."""
    return (
        np.uint64(data[at])
        | np.uint64(data[at + np.uint64(1)]) << np.uint64(8)
        | np.uint64(data[at + np.uint64(2)]) << np.uint64(16)
        | np.uint64(data[at + np.uint64(3)]) << np.uint64(24)
        | np.uint64(data[at + np.uint64(4)]) << np.uint64(32)
        | np.uint64(data[at + np.uint64(5)]) << np.uint64(40)
        | np.uint64(data[at + np.uint64(6)]) << np.uint64(48)
        | np.uint64(data[at + np.uint64(7)]) << np.uint64(56)
    )


@numba.njit(nogil=True, cache=True, inline="always")
def _rotate(word: np.uint64, bits: int) -> np.uint64:
    return (word << np.uint64(bits)) | (word >> np.uint64(64 - bits))


@numba.njit(nogil=True, cache=True, inline="always")
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
