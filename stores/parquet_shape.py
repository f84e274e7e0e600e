"""Rows of one width: whether the pages of a column chunk hold just such rows, and which of their values stay."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stores.parquet_levels import Bounds, is_regular
from stores.parquet_pages import CODECS, META_CODEC, META_VALUES, Content
from stores.parquet_schema import Leaf
from stores.thrift import Struct

WIDE = 128
"""Bytes of a row from which on a column is cut: narrower ones are quickly encoded anew, with their statistics."""


@dataclass(frozen=True)
class Shape:
    """Rows of `length` values of `width` bytes each, and the highest levels of the column."""

    length: int
    width: int
    repetition: int
    definition: int

    @classmethod
    def of(cls, leaf: Leaf, meta: Struct, rows: int) -> "Shape | None":
        """The shape of the rows of a column chunk, should all lists be of one length; None when they are not wide."""
        values = meta.integer(META_VALUES) or 0
        if not rows or values % rows or not leaf.width or leaf.repetition > 1 or meta.integer(META_CODEC) not in CODECS:
            return None
        length = values // rows
        if length * leaf.width < WIDE or (not leaf.repetition and length != 1):
            return None
        return cls(length, leaf.width, leaf.repetition, leaf.definition)

    def fits(self, content: Content, first: int, count: int) -> bool:
        """Whether the levels of a page, which begins with value `first` of the chunk, say so: no nulls, all alike."""
        top = self.definition
        if self.repetition and not is_regular(content.repetition, 1, count, first, self.length, 0, 1):
            return False
        return not top or is_regular(content.definition, top.bit_length(), count, 0, 1, top, top)


@dataclass(frozen=True)
class Runs:
    """Values that stay, as ascending runs: where they start and stop in the column chunk."""

    starts: Bounds
    stops: Bounds

    @classmethod
    def of(cls, stays: npt.NDArray[np.bool_], length: int) -> "Runs":
        """The runs of the rows where `stays`, shape `(rows,)`, is true; `length` values a row."""
        edges = np.flatnonzero(np.diff(stays, prepend=False, append=False)) * length
        return cls(edges[::2].copy(), edges[1::2].copy())

    def within(self, first: int, count: int) -> "Runs":
        """What of them is in the `count` values from `first` on, counted from there."""
        low = np.searchsorted(self.stops, first, "right")
        high = np.searchsorted(self.starts, first + count, "left")
        starts = np.maximum(self.starts[low:high], first) - first
        return Runs(starts, np.minimum(self.stops[low:high], first + count) - first)

    def __len__(self) -> int:
        return int((self.stops - self.starts).sum())
