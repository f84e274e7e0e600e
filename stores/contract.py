"""What every store does, and the records that pass between its steps.

    store.units() ─ one by one ─> store.locate(unit, keys) ─> Match
                                  store.purge(match, keys, ledger) ─> Receipt, the rows logically removed
                                  store.compact(receipt, keys, ledger) ─> Receipt, nothing of them left behind

A unit is what is changed at once: a Parquet file, a table, an index. Every unit ends in exactly one receipt, also
the one that could not be read. Neither record holds an id: positions and counts are the plan, the dry run
and the proof. A receipt says when rows were found, removed and compacted; that they are physically gone is never
said here, but by the verifier in `audit/`, which reads the store by itself (`audit/reader.py`).
"""

import enum
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stores.keys import KeySet

Positions = tuple[npt.NDArray[np.int64], ...]
"""For each row group, fragment or table, the ascending numbers or row ids of the rows in it."""


Inspect = Callable[[Iterable[pa.RecordBatch]], str | None]
"""Looks at all rows that are to stay of a unit, before it is given up; returns what is wrong, None if nothing is."""


def now() -> str:
    """The time as receipts tell it, UTC. It informs people; nothing is ever decided by it, clocks jump."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Status(enum.StrEnum):
    """How a unit stands after a step; only `removed` and `unchanged` are an end that needs nobody's attention."""

    MATCHED = "matched"  # holds keys; nothing done yet
    REMOVED = "removed"  # no reader returns them; gone from the files as well once `compacted_at` says when
    UNCHANGED = "unchanged"  # holds none; not touched
    CONFLICT = "conflict"  # not as it was located; not touched
    UNREADABLE = "unreadable"  # damaged, encrypted or no such file at all; not touched
    FAILED = "failed"  # the rewrite did not succeed or did not pass its check; not touched


@dataclass(frozen=True)
class StoreFile:
    """The identity of one unit: two are the same if all fields are equal.

    `version` tells one state from the next: the digest of a footer, the version of a table, an ETag. What a kind of
    store does not know is 0 or empty.
    """

    path: str
    size: int
    mtime_ns: int
    version: str
    rows: int


@dataclass(frozen=True, eq=False)
class Match:
    """Where the keys are in one unit; `problem` says why it could not be read, and then there are no positions."""

    file: StoreFile
    positions: Positions
    problem: str | None = None
    leftover: int = 0
    """Rows of the keys in older versions of the unit, which no reader returns and compaction destroys."""

    @property
    def rows(self) -> int:
        """How many rows are to go."""
        return sum(len(rows) for rows in self.positions)


@dataclass(frozen=True)
class Receipt:
    """What became of one unit. `rows before = rows removed + rows after`, always.

    `dropped` names what the new unit does not have any more: key/value metadata that held a purged id (by
    key alone), statistics of vector columns and the like. `detail` is one sentence for a person when
    something went wrong. The times say how far it got: located, logically removed, and everything that held the rows
    (old versions, free pages, indexes, logs) cleaned away.
    """

    path: str
    status: Status
    keys_digest: str
    before: StoreFile
    after: StoreFile | None
    rows_removed: int
    dropped: tuple[str, ...] = ()
    detail: str | None = None
    matched_at: str | None = None
    removed_at: str | None = None
    compacted_at: str | None = None

    @classmethod
    def of(cls, match: Match, keys: KeySet) -> "Receipt":
        """How `match` stands before anything is done: matched, unchanged or unreadable."""
        file = match.file
        if match.problem is not None:
            return cls(file.path, Status.UNREADABLE, keys.digest, file, None, 0, detail=match.problem)
        if match.rows or match.leftover:
            return cls(file.path, Status.MATCHED, keys.digest, file, None, 0, matched_at=now())
        return cls(file.path, Status.UNCHANGED, keys.digest, file, file, 0)

    def failed(self, status: Status, detail: str) -> "Receipt":
        """The same unit, not touched, and why."""
        return replace(self, status=status, after=None, rows_removed=0, detail=detail)

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Receipt":
        """Back from `to_json`; raises TypeError, ValueError or KeyError for anything else."""
        after = record["after"]
        return cls(
            **record
            | {
                "status": Status(record["status"]),
                "before": StoreFile(**record["before"]),
                "after": None if after is None else StoreFile(**after),
                "dropped": tuple(record["dropped"]),
            }
        )


@dataclass(frozen=True)
class Description:
    """What a store is and how much it holds, without reading it: number of units, bytes."""

    kind: str
    path: str
    units: int
    size: int


class Store(Protocol):
    """One kind of store. What takes a unit is called for each unit, by many workers at once."""

    def describe(self) -> Description:
        """What the store is."""
        ...

    def units(self) -> list[str]:
        """The units of the store, sorted; raises InputError when there are none or they must not be changed."""
        ...

    def locate(self, unit: str, keys: KeySet) -> Match:
        """Find the keys in one unit; reads no vector. Raises InputError when the key column cannot be used."""
        ...

    def purge(self, match: Match, keys: KeySet, ledger: Path, inspect: Inspect | None = None) -> Receipt:
        """Remove the matched rows durably; safe to repeat, also after a kill.

        `inspect` sees the rows that stay before the old ones are given up, and can still refuse.
        """
        ...

    def compact(self, receipt: Receipt, keys: KeySet, ledger: Path) -> Receipt:
        """Destroy whatever of removed rows a purge leaves in the store's files; safe to repeat.

        Does nothing to a unit that lost no rows or is compacted already. What fails here is not done: the receipt keeps
        no `compacted_at` and says why.
        """
        ...

    def janitor(self, ledger: Path) -> list[Path]:
        """Remove what interrupted work left behind; call it when no worker is at work. Returns what it removed."""
        ...
