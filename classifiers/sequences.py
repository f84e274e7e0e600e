"""Sequences of small integers, each kept once: how episodes, and subjects, that look alike are merged."""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


class Sequences(NamedTuple):
    """n sequences laid end to end: sequence i is `items[start[i]:start[i + 1]]`."""

    start: Integers
    """`(n + 1,)`, ascending from 0."""
    items: Integers

    @classmethod
    def grouped(cls, owner: Integers, items: Integers, n: int) -> "Sequences":
        """The sequences of owners 0 to n - 1; `owner` says whose each item is, and ascends."""
        start = np.zeros(n + 1, np.int64)
        np.cumsum(np.bincount(owner, minlength=n), out=start[1:])
        return cls(start, items)

    @property
    def lengths(self) -> Integers:
        """`(n,)`."""
        return np.diff(self.start)

    def take(self, wanted: Integers) -> tuple[Integers, Integers]:
        """All items of the sequences `wanted`, in that order, each with its position in `wanted`."""
        lengths = self.lengths[wanted]
        position = np.repeat(np.arange(len(wanted)), lengths)
        ends = np.cumsum(lengths)
        offset = np.arange(len(position)) - np.repeat(ends - lengths, lengths)
        return position, self.items[self.start[wanted][position] + offset]


def merge_equal(sequences: Sequences) -> tuple[Integers, Sequences]:
    """Keep every different sequence once: `(n,)` which of those kept each was, and those kept, as they came.

    `np.bincount` of the first result counts them. Exact: a hash only proposes, the items decide.
    """
    n = len(sequences.start) - 1
    table = np.full(1 << (2 * n + 1).bit_length(), -1, np.int64)
    number, first = _number(sequences.start, sequences.items, table)
    position, items = sequences.take(first)
    return number, Sequences.grouped(position, items, len(first))


@numba.njit(nogil=True, cache=True)
def _number(start: Integers, items: Integers, table: Integers) -> tuple[Integers, Integers]:
    number = np.empty(len(start) - 1, np.int64)
    first = np.empty(len(start) - 1, np.int64)
    found = 0
    for i in range(len(number)):
        mixed = np.uint64(start[i + 1] - start[i])
        for at in range(start[i], start[i + 1]):
            mixed = (mixed ^ np.uint64(items[at])) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
        slot = np.int64(mixed & np.uint64(len(table) - 1))
        while table[slot] >= 0 and not _equal(start, items, i, first[table[slot]]):
            slot = (slot + 1) & (len(table) - 1)
        if table[slot] < 0:
            table[slot] = found
            first[found] = i
            found += 1
        number[i] = table[slot]
    return number, first[:found]


@numba.njit(nogil=True, cache=True)
def _equal(start: Integers, items: Integers, i: int, j: int) -> bool:
    return np.array_equal(items[start[i] : start[i + 1]], items[start[j] : start[j + 1]])
