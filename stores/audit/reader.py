"""How the verifier reads one kind of store: as physical files, and as rows.

A reader shares no code with the store it checks. Its `entries` are everything that may hold a byte of the store:
files, hidden ones and logs too, or versions of objects. Its `read` gives the rows that a user of the store gets. One
module a kind; `open_reader` in `readers` picks it.
"""

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from stores.audit.containers import Format
from stores.audit.control import Control
from stores.audit.inventory import Entry
from stores.audit.rows import Rows
from stores.audit.siphash import Bytes


class Reader(Protocol):
    """One store, seen by the verifier."""

    rows_in_files: bool
    """Whether checking each file also tells its rows, as with Parquet; else every unit is read by itself as well."""
    packed: bool
    """Whether values lie in the files without anything between them, so that an id is sought whatever stands beside."""

    def entries(self) -> list[Entry]:
        """Everything that may hold bytes of the store, sorted by path. OSError or InputError if it cannot be listed."""
        ...

    def view(self, path: str) -> Bytes:
        """The bytes of one entry. Raises OSError."""
        ...

    def units(self) -> list[str]:
        """The units, named as the store names them."""
        ...

    def name(self, unit: str) -> str:
        """What baselines and checks call a unit, without what tells where it lies."""
        ...

    def read(self, unit: str) -> Rows:
        """The rows of one unit. Raises InputError, OSError or what Arrow raises when it cannot be read."""
        ...

    def copies(self, batch: pa.RecordBatch) -> list[pa.Array]:
        """Other forms in which the store keeps the vectors of these rows, one array of bytes or floats each.

        Normalised copies in an index, codes of a quantiser, compressed chunks: what a search for the vector as `read`
        gives it would miss.
        """
        ...

    def control(self, scratch: Path, key: bytes) -> Control | None:
        """Plant synthetic rows the way the store writes them, outside of it, and look for them; None if it cannot."""
        ...


@runtime_checkable
class KnowsFormats(Protocol):
    """A reader that knows what some entries are by their place, where their bytes alone do not tell."""

    def format(self, path: str) -> Format | None:
        """The format of one entry, None to go by its bytes."""
        ...


def no_copies(batch: pa.RecordBatch) -> list[pa.Array]:
    """For a store that keeps vectors in one form."""
    del batch
    return []


def unit_length(vectors: pa.Array) -> pa.Array:
    """A list column of floats, without its nulls, each scaled to length 1 in float32 as indexes by cosine do."""
    lists = vectors.drop_null()
    lengths = lists.value_lengths().to_numpy().astype(np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    sums = np.concatenate([np.zeros(1), np.cumsum(values.astype(np.float64) ** 2)])
    norms = np.sqrt(sums[offsets[1:]] - sums[offsets[:-1]]).astype(np.float32)
    norms[norms == 0] = 1
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values / np.repeat(norms, lengths)))
