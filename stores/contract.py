"""What every store does, and the records that pass between its steps.

    store.units() ─ one by one ─> store.locate(unit, keys) ─> Match ─> store.purge(match, keys, ledger) ─>
    Receipt

A unit is what is rewritten at once: a Parquet file, a table. Every unit ends in exactly one receipt, also
the one that could not be read. Neither record holds an id: positions and counts are the plan, the dry run
and the proof.
"""

import enum
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from stores.keys import KeySet

Positions = tuple[npt.NDArray[np.int64], ...]
"""For each row group, the ascending row numbers within it."""


Inspect = Callable[[Path], str | None]
"""Looks at what is to replace a unit; returns what is wrong with it, None if nothing is."""


class Status(enum.StrEnum):
    """How a unit stands after a step; only `removed` and `unchanged` are an end that needs nobody's attention."""

    MATCHED = "matched"  # holds keys; nothing done yet
    REMOVED = "removed"  # rewritten without them
    UNCHANGED = "unchanged"  # holds none; not touched
    CONFLICT = "conflict"  # not as it was located; not touched
    UNREADABLE = "unreadable"  # damaged, encrypted or no such file at all; not touched
    FAILED = "failed"  # the rewrite did not succeed or did not pass its check; not touched


@dataclass(frozen=True)
class StoreFile:
    """The identity of one file: two are the same if all fields are equal."""

    path: str
    size: int
    mtime_ns: int
    footer_digest: str
    rows: int


@dataclass(frozen=True, eq=False)
class Match:
    """Where the keys are in one file; `problem` says why it could not be read, and then there are no positions."""

    file: StoreFile
    positions: Positions
    problem: str | None = None

    @property
    def rows(self) -> int:
        """How many rows are to go."""
        return sum(len(rows) for rows in self.positions)


@dataclass(frozen=True)
class Receipt:
    """What became of one file. `rows before = rows removed + rows after`, always.

    `dropped` names what the new file does not have any more: key/value metadata that held a purged id (by
    key alone), statistics of vector columns and the like. `detail` is one sentence for a person when
    something went wrong.
    """

    path: str
    status: Status
    keys_digest: str
    before: StoreFile
    after: StoreFile | None
    rows_removed: int
    dropped: tuple[str, ...] = ()
    detail: str | None = None

    @classmethod
    def of(cls, match: Match, keys: KeySet) -> "Receipt":
        """How `match` stands before anything is done: matched, unchanged or unreadable."""
        file = match.file
        if match.problem is not None:
            return cls(file.path, Status.UNREADABLE, keys.digest, file, None, 0, detail=match.problem)
        if match.rows:
            return cls(file.path, Status.MATCHED, keys.digest, file, None, 0)
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
    """One kind of store. `locate` and `purge` are called for each unit, by many workers at once."""

    def describe(self) -> Description:
        """What the store is."""
        ...

    def units(self) -> list[str]:
        """The units of the store, sorted; raises InputError when there are none or they must not be rewritten."""
        ...

    def locate(self, unit: str, keys: KeySet) -> Match:
        """Find the keys in one unit; reads no vector. Raises InputError when the key column cannot be used."""
        ...

    def purge(self, match: Match, keys: KeySet, ledger: Path, inspect: Inspect | None = None) -> Receipt:
        """Remove the matched rows durably and physically; safe to repeat, also after a kill.

        `inspect` sees the new unit before it takes the place of the old one, and can still refuse it.
        """
        ...

    def janitor(self, ledger: Path) -> list[Path]:
        """Remove what interrupted work left behind; call it when no worker is at work. Returns what it removed."""
        ...
