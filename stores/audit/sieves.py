"""Two sieves that tell, from memory alone, that some bytes are nothing listed: what passes both is looked up on disk.

The coarse one holds 32-bit probes of eight bytes and is asked at every offset of every file: 4 to 8 bytes a needle, one
load a question, 0.05 to 0.2 % of other words pass, and beyond that as many as the probes themselves fail to tell apart
(the needles divided by 2^32). The fine one holds 64-bit hashes and is asked of what passed: 4 bytes a needle, one line
of the cache, 0.003 % pass. Neither ever denies what it was given. Source: Putze, Sanders and Singler, "Cache-,
hash- and space-efficient Bloom filters", 2007.
"""

import numba
import numpy as np
import numpy.typing as npt

from stores.audit.siphash import Words

_LINE_WORDS, _NEEDLES_IN_LINE = 8, 16
_COARSE_WORDS = (1 << 10, 1 << 26)
"""The fewest, and the most: a bit for every probe there can be tells all that probes can tell."""


def coarse_words(needles: int) -> int:
    """How many words the coarse sieve has: a power of two, half a word to a word a needle."""
    fewest, most = _COARSE_WORDS
    return min(max(1 << max(needles - 1, 1).bit_length() - 1, fewest), most)


def coarse_shift(coarse: Words) -> np.uint64:
    """By how many bits a probe is shifted to be the number of a word."""
    return np.uint64(32 - (len(coarse).bit_length() - 1))


def fine_words(needles: int) -> int:
    """How many words the fine sieve has: lines of 64 bytes, 4 bytes a needle."""
    return (needles // _NEEDLES_IN_LINE + 1) * _LINE_WORDS


@numba.njit(nogil=True, cache=True, inline="always")
def probe_bits(probe: np.uint64) -> np.uint64:
    """The three bits that a probe sets in its word; all of the probe decides, also what its word does not tell."""
    mixed = probe * np.uint64(0x9E3779B97F4A7C15)
    one, six = np.uint64(1), np.uint64(63)
    return (
        one << (mixed >> np.uint64(58)) | one << (mixed >> np.uint64(52) & six) | one << (mixed >> np.uint64(46) & six)
    )


@numba.njit(nogil=True, cache=True)
def add_probes(coarse: Words, shift: np.uint64, probes: npt.NDArray[np.uint32]) -> None:
    """Put probes, shape `(n,)`, into the coarse sieve."""
    for i in range(len(probes)):
        probe = np.uint64(probes[i])
        coarse[probe >> shift] |= probe_bits(probe)


@numba.njit(nogil=True, cache=True)
def add_hashes(fine: Words, hashes: Words) -> None:
    """Put hashes, shape `(n,)`, into the fine sieve."""
    for i in range(len(hashes)):
        first, bits = _line(fine, hashes[i]), _spread(hashes[i])
        for _ in range(7):
            fine[first + (bits >> np.uint64(6) & np.uint64(7))] |= np.uint64(1) << (bits & np.uint64(63))
            bits >>= np.uint64(9)


@numba.njit(nogil=True, cache=True)
def may_hold(fine: Words, wanted: np.uint64) -> bool:
    """Whether the fine sieve was given this hash, or seems to."""
    first, bits = _line(fine, wanted), _spread(wanted)
    held = np.uint64(1)  # without a branch, so that the processor need not wait for the memory before it goes on
    for _ in range(7):
        held &= fine[first + (bits >> np.uint64(6) & np.uint64(7))] >> (bits & np.uint64(63))
        bits >>= np.uint64(9)
    all_set: bool = held == np.uint64(1)
    return all_set


@numba.njit(nogil=True, cache=True, inline="always")
def _line(fine: Words, wanted: np.uint64) -> np.uint64:
    """The first word of a hash's line: by its high bits, so that ascending hashes are put in ascending lines."""
    lines = np.uint64(len(fine) // _LINE_WORDS)
    return ((wanted >> np.uint64(32)) * lines >> np.uint64(32)) * np.uint64(_LINE_WORDS)


@numba.njit(nogil=True, cache=True, inline="always")
def _spread(wanted: np.uint64) -> np.uint64:
    """63 bits for seven places in a line, of which the hash's high bits say nothing."""
    mixed = (wanted ^ wanted >> np.uint64(29)) * np.uint64(0x9E3779B97F4A7C15)
    return mixed ^ mixed >> np.uint64(32)
