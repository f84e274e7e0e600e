"""What stores have in common whose rows are deleted by the software that keeps them: databases, table formats, indexes.

    1  the receipt is prepared: so many rows of this version are to go
    2  one transaction removes them, after the rows that stay were looked at
    3  the receipt becomes final, with the new version
    4  the unit is compacted: old versions, free pages, logs and orphans go, and the receipt says when

Whoever comes after a kill finds out which step is missing: a prepared receipt and no row of the keys left mean that the
transaction had gone through. Compaction is safe to repeat and is repeated until it succeeded once.
"""

import abc
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from schemas.errors import ConflictError, LetheError
from schemas.files import TEMPORARY_PREFIX
from stores.contract import Description, Inspect, Match, Positions, Receipt, Status, StoreFile, now
from stores.keys import KeySet
from stores.ledger import Ledger


class StoreError(LetheError):
    """The store's own software could not do what was asked; the message says what and holds no id."""


class TableStore(abc.ABC):
    """A store of tables. A kind says how to list, identify, find, delete and clean; this class makes it survive a kill.

    The six methods raise StoreError for what the store cannot do, ConflictError when somebody else changed the unit
    meanwhile, and InputError for what the job file says wrongly; nothing else.
    """

    kind: str
    path: str

    @abc.abstractmethod
    def units(self) -> list[str]:
        """The names of the tables, sorted; one may hold the path. InputError when there is none."""

    @abc.abstractmethod
    def size(self) -> int:
        """How many bytes the store takes, 0 when nobody can tell."""

    @abc.abstractmethod
    def identify(self, unit: str) -> StoreFile:
        """The unit as it is now: its version changes whenever anybody writes to it."""

    @abc.abstractmethod
    def find(self, unit: str, keys: KeySet) -> Positions:
        """Where the keys are; reads no vector."""

    @abc.abstractmethod
    def delete(self, match: Match, keys: KeySet, inspect: Inspect | None) -> None:
        """Remove the matched rows and all that is derived from them, in one transaction.

        `inspect` must see every row that stays, as the verifier's reader would give them, before there is no way back:
        what it says is raised as a StoreError and nothing is changed. ConflictError unless the unit is still as in
        `match`.
        """

    @abc.abstractmethod
    def clean(self, unit: str) -> tuple[str, ...] | None:
        """Destroy old versions, free pages, logs and orphans: whatever may still hold rows that no reader returns.

        Returns what the unit does not have any more, if that is something: the receipt says so.
        """

    def pending(self, unit: str) -> bool:
        """Whether a unit without any row to remove needs cleaning all the same, e.g. one deleted from by others."""
        del unit
        return False

    def beyond_reach(self) -> str | None:
        """What a cleaned store may have copies in that nobody can clean from here, e.g. an archive or a replica."""
        return None

    def describe(self) -> Description:
        """How many tables, how many bytes."""
        return Description(self.kind, self.path, len(self.units()), self.size())

    def locate(self, unit: str, keys: KeySet) -> Match:
        """Where the keys are in one table."""
        try:
            return Match(self.identify(unit), self.find(unit, keys))
        except StoreError as error:
            return Match(StoreFile(unit, 0, 0, "", 0), (), str(error))

    def purge(self, match: Match, keys: KeySet, ledger: Path, inspect: Inspect | None = None) -> Receipt:
        """Remove the rows of one table; whatever happens to it, it ends in a receipt in `ledger`."""
        records = Ledger(ledger, keys.digest)
        receipt = Receipt.of(match, keys)
        if receipt.status is not Status.UNREADABLE:
            try:
                return self._purge(match, receipt, keys, records, inspect)
            except ConflictError as error:
                receipt = receipt.failed(Status.CONFLICT, str(error))
            except StoreError as error:
                receipt = receipt.failed(Status.FAILED, str(error))
        records.record(receipt)
        return receipt

    def _purge(self, match: Match, receipt: Receipt, keys: KeySet, records: Ledger, inspect: Inspect | None) -> Receipt:
        unit = match.file.path
        if not match.rows:
            begun = records.begun(unit)
            if begun is not None and match.file.rows == begun.before.rows - begun.rows_removed:
                return self._conclude(begun, match.file, records)
            done = records.uncompacted(unit) or records.finished(match.file)
            if done is None:
                records.record(receipt)
            return done or receipt
        if self.identify(unit) != match.file:
            raise ConflictError("the table changed since it was located: locate it again")
        receipt = replace(receipt, status=Status.REMOVED, rows_removed=match.rows)
        records.prepare(receipt)
        self.delete(match, keys, inspect)
        return self._conclude(receipt, self.identify(unit), records)

    def _conclude(self, receipt: Receipt, after: StoreFile, records: Ledger) -> Receipt:
        receipt = replace(receipt, after=after, removed_at=receipt.removed_at or now())
        records.prepare(receipt)
        records.conclude(receipt)
        return receipt

    def compact(self, receipt: Receipt, keys: KeySet, ledger: Path) -> Receipt:
        """Clean one table that lost rows, now or in an attempt that was interrupted."""
        records = Ledger(ledger, keys.digest)
        unit = receipt.path
        removed = receipt.status is Status.REMOVED and receipt.compacted_at is None
        try:
            untouched = receipt.status is Status.UNCHANGED and receipt.compacted_at is None
            if not removed and not (untouched and self.pending(unit)):
                return receipt
            dropped = (*receipt.dropped, *(self.clean(unit) or ()))
            done = replace(
                receipt, after=self.identify(unit), compacted_at=now(), dropped=dropped, detail=self.beyond_reach()
            )
        except (StoreError, ConflictError) as error:
            done = replace(receipt, detail=f"removed, but not yet cleaned away: {error}")
        records.supersede(receipt, done)
        return done

    def janitor(self, ledger: Path) -> list[Path]:
        """Remove what a crash left unfinished in `ledger`; the store's own leftovers are cleaned with it."""
        leftovers = sorted(ledger.glob(f"{TEMPORARY_PREFIX}*"))
        for leftover in leftovers:
            leftover.unlink(missing_ok=True)
        return leftovers


def reject(inspect: Inspect | None, rows: Iterable[pa.RecordBatch]) -> None:
    """Raise a StoreError if `inspect` finds something wrong with the rows that stay."""
    if inspect is not None and (problem := inspect(rows)) is not None:
        raise StoreError(problem)
