"""Fingerprints of one unit on disk: written as the unit is read, mapped rather than read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from stores.audit.fingerprints import FINGERPRINTS, Fingerprints, renumber


@dataclass(frozen=True)
class FingerprintFile:
    """The fingerprints of a unit of so many `vectors`, in the Arrow file at `path`."""

    path: Path
    vectors: int

    @property
    def windows(self) -> pa.Table:
        """The windows, mapped: their pages are read when they are looked at, and may be dropped again."""
        with pa.memory_map(str(self.path)) as source:
            return pa.ipc.open_file(source).read_all()


@contextmanager
def write_fingerprints(path: Path) -> Iterator[Callable[[Fingerprints], None]]:
    """Open a file of fingerprints; yields what adds some, whose vectors are numbered through."""
    vectors = 0
    with pa.ipc.new_file(str(path), FINGERPRINTS) as sink:

        def add(found: Fingerprints) -> None:
            nonlocal vectors
            sink.write_table(renumber(found.windows, vectors))
            vectors += found.vectors

        yield add
