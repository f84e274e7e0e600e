"""What one verification looks for, written down once, on disk, and mapped by whoever looks.

    manifests' ids, baseline's fingerprints ─ open_searches ─ out/work/<run>/secret/search/<store>/<attempt>/

The sieves of one range fit memory; see `stores.audit.needle_files`. The files are removed with the verdict.
"""

import shutil
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.baseline import BaselineWork
from stores.audit.arrays import Runs, binary_runs
from stores.audit.examine import find_ambiguous
from stores.audit.needle_files import NEEDLES_AT_ONCE, map_array, write_needles
from stores.audit.needles import Needles, find_values, open_needles
from stores.audit.runs import RUN_ROWS
from stores.audit.siphash import Bytes, Offsets

_OPENING = threading.Lock()
"""Threads that start together open a search once."""

_AMBIGUOUS = "ambiguous"


class Search(NamedTuple):
    """One range of what to look for in one store, and which listed ids of it are also part of somebody else's."""

    needles: Needles
    ambiguous: Offsets


@dataclass(frozen=True)
class SearchWork:
    """What to look for, and where it is written down: a folder of one attempt, beside nobody else's."""

    baseline: BaselineWork
    parts: tuple[Path, ...]
    """The parts of all manifests."""
    column: str
    """Which id of an entry names a row of this store."""
    folder: Path
    at_once: int = NEEDLES_AT_ONCE

    def forget(self) -> None:
        """Remove it, when nobody looks any more: it holds ids of people."""
        with _OPENING:
            _opened.pop(self.folder, None)
            shutil.rmtree(self.folder.parent, ignore_errors=True)


_opened: dict[Path, list[Search]] = {}


def open_searches(work: SearchWork) -> list[Search]:
    """Every range of what to look for, mapped once a process; who comes first writes it down."""
    with _OPENING:
        if work.folder not in _opened:
            if not work.folder.is_dir():
                _write(work)
                pa.default_memory_pool().release_unused()
            _opened.clear()
            _opened[work.folder] = [
                Search(needles, map_array(ambiguous, np.int64))
                for needles, ambiguous in zip(
                    open_needles(work.folder, work.baseline.key()),
                    sorted(work.folder.glob(f"range-*/{_AMBIGUOUS}")),
                    strict=True,
                )
            ]
        return _opened[work.folder]


def _write(work: SearchWork) -> None:
    """Write the search aside and rename it: of two processes that do so at once, one wins and both use it."""
    for old in work.folder.parent.glob("*"):
        if not old.name.startswith(work.folder.name):
            shutil.rmtree(old, ignore_errors=True)
    aside = work.folder.parent / f"{work.folder.name}-{uuid.uuid4().hex}"
    try:
        aside.mkdir(parents=True)
        key = work.baseline.key()
        write_needles(aside, read_listed(work.parts, work.column), work.baseline.fingerprints(), key, work.at_once)
        _write_ambiguous(aside, open_needles(aside, key), work.baseline)
        try:
            aside.rename(work.folder)
        except OSError:
            if not work.folder.is_dir():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_ambiguous(folder: Path, ranges: Sequence[Needles], baseline: BaselineWork) -> None:
    """Write, for every range, which ids are part of a surviving key of the store, ascending.

    Where ids are told apart by what stands beside them, a file's own keys say so when it is examined, and here is none.
    """
    reader = baseline.open_reader()
    marked = [_Marks.make(part, one) for part, one in zip(sorted(folder.glob("range-*")), ranges, strict=True)]
    if reader.packed:
        for unit in reader.units():
            rows = reader.read(unit)
            at = rows.fields.names.index(baseline.section.key)
            for batch in rows.batches:
                keys = binary_runs(batch.column(at).cast(pa.string()).cast(pa.large_binary()))
                for marks in marked:
                    marks.add(keys)
    for marks in marked:
        marks.write()


class _Marks(NamedTuple):
    """A byte for every id of a range, mapped from a file: whether it is ambiguous."""

    folder: Path
    needles: Needles
    bytes: Bytes

    @classmethod
    def make(cls, folder: Path, needles: Needles) -> "_Marks":
        return cls(folder, needles, np.memmap(folder / "marks", np.uint8, "w+", shape=(max(needles.ids, 1),)))

    def add(self, keys: Runs) -> None:
        tables = self.needles.tables
        self.bytes[find_ambiguous(keys, find_values(keys, tables), tables, packed=True) - tables.first_id] = 1

    def write(self) -> None:
        with (self.folder / _AMBIGUOUS).open("wb") as file:
            for start in range(0, len(self.bytes), RUN_ROWS):
                marked = np.flatnonzero(self.bytes[start : start + RUN_ROWS])
                (marked + start + self.needles.tables.first_id).tofile(file)
        (self.folder / "marks").unlink()


def read_listed(parts: Iterable[Path], column: str) -> Iterator[pa.Array]:
    """The ids to be erased, read from the manifests themselves: what the purge made of them proves nothing."""
    for part in parts:
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(columns=[column, "tier"], use_threads=False):
                yield batch.column(column).filter(pc.equal(batch.column("tier"), "erase"))
