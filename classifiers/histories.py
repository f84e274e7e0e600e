"""Histories with their counts: all of the evidence that fitting the residence model needs, and nobody's name.

A table of schema HISTORIES has one row for each different history and known home. Such tables are merged in any
order, and the same subjects always give the same table, whoever counted which of them.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.episodes import Episodes, patterns_of
from classifiers.sequences import Integers, Sequences, merge_equal
from schemas.countries import NONE

HISTORIES = pa.schema(
    [
        pa.field("history", pa.large_binary(), nullable=False),
        pa.field("home", pa.int16(), nullable=False),
        pa.field("subjects", pa.int64(), nullable=False),
    ]
)
"""`history` is the patterns of a subject's telling episodes by month: of each its observation codes as little-endian
16-bit integers, then `END`, or `LATER` if it is in a later month than the one before. Episodes of one month stand in
the order of their bytes. `home` is the country a label names, else `NONE`."""

END, LATER = -1, -2
_CODE = np.dtype("<i2")


class Histories(NamedTuple):
    """H different histories and homes, and their P patterns."""

    histories: Sequences
    """H sequences of steps, as in `Episodes.steps`."""
    patterns: Sequences
    """P ascending sequences of observation codes, none empty."""
    home: Integers
    """`(H,)`: the country where such subjects are known to live, index into COUNTRIES, else `NONE`."""
    subjects: Integers
    """`(H,)`: how many subjects have this history."""

    @property
    def episodes(self) -> Integers:
        """`(P,)`: how many episodes have each pattern."""
        of_history = np.repeat(self.subjects, self.histories.lengths)
        counts = np.zeros(len(self.patterns.lengths), np.int64)
        np.add.at(counts, patterns_of(self.histories.items), of_history)
        return counts


def count_histories(episodes: Episodes, home: npt.NDArray[np.int16], chosen: npt.NDArray[np.bool_]) -> pa.Table:
    """HISTORIES of the chosen subjects, shape `(S,)` like their known `home`; without evidence a history is empty."""
    subjects = len(episodes.subject_ids)
    telling = np.flatnonzero(episodes.telling)
    # Episodes come by subject and month: to order those of one month moves none to another, nor where months begin.
    pattern, subject, later = episodes.pattern[telling], episodes.subject[telling], episodes.steps < 0
    pattern = pattern[np.lexsort((_ranks(episodes.patterns)[pattern], episodes.month[telling], subject))]

    position, codes = episodes.patterns.take(pattern)
    items = np.empty(len(codes) + len(pattern), _CODE)
    items[np.arange(len(codes)) + position] = codes
    items[np.cumsum(episodes.patterns.lengths[pattern] + 1) - 1] = np.where(later, LATER, END)
    ends = np.concatenate(([0], np.cumsum(episodes.patterns.lengths[pattern] + 1)))
    offsets = ends[np.searchsorted(subject, np.arange(subjects + 1))] * _CODE.itemsize
    table = pa.table(
        {
            "history": _binary(offsets, items),
            "home": pa.array(home, pa.int16()),
            "subjects": pa.array(np.ones(subjects, np.int64)),
        },
        schema=HISTORIES,
    )
    return merge_histories([table.filter(pa.array(chosen))])


def merge_histories(tables: Iterable[pa.Table]) -> pa.Table:
    """Equal histories of several tables added up, in the order of their bytes."""
    rows = pa.concat_tables([HISTORIES.empty_table(), *tables])
    merged = rows.group_by(["history", "home"], use_threads=False).aggregate([("subjects", "sum")])
    merged = merged.rename_columns({"subjects_sum": "subjects"}).select(HISTORIES.names).cast(HISTORIES)
    return merged.sort_by([("history", "ascending"), ("home", "ascending")]).combine_chunks()


def read_histories(table: pa.Table) -> Histories:
    """The histories of a merged table; no evidence of subjects whose home is not known either says nothing."""
    telling = pc.or_(pc.greater(pc.binary_length(table["history"]), 0), pc.not_equal(table["home"], NONE))
    telling = table.filter(telling).combine_chunks()
    n = len(telling)
    lengths = pc.binary_length(telling["history"]).to_numpy() // _CODE.itemsize
    items = np.frombuffer(b"".join(telling["history"].to_pylist()), _CODE).astype(np.int64)
    closing = items < 0
    episode: Integers = np.cumsum(closing) - closing
    owner = np.repeat(np.arange(n), lengths)[closing]
    pattern, patterns = merge_equal(Sequences.grouped(episode[~closing], items[~closing], int(closing.sum())))
    return Histories(
        Sequences.grouped(owner, np.where(items[closing] == LATER, ~pattern, pattern), n),
        patterns,
        telling["home"].to_numpy().astype(np.int64),
        telling["subjects"].to_numpy().astype(np.int64),
    )


def _ranks(patterns: Sequences) -> Integers:
    """`(P,)`: where each pattern stands among all, by its bytes: an order that no batch can change."""
    encoded = _binary(patterns.start * _CODE.itemsize, patterns.items.astype(_CODE))
    order = pc.array_sort_indices(encoded).to_numpy()
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def _binary(offsets: Integers, items: npt.NDArray[np.int16]) -> pa.Array:
    buffers = [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(items)]
    return pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)
