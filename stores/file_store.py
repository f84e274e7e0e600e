"""What stores have in common whose units are files of their own: each is written aside, checked and renamed.

A kind says how to identify a file, find keys in it and write what stays; this class makes it survive a kill, in the
steps of `ledger.py`, and gives the new file the owner, permissions and extended attributes of the old one.
"""

import abc
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from schemas.errors import ConflictError, LetheError
from schemas.files import TEMPORARY_PREFIX, replacing
from stores.contract import Description, Inspect, Match, Receipt, Status, StoreFile, now
from stores.keys import KeySet
from stores.ledger import Ledger


class RewriteError(LetheError):
    """The new file is not the old one without the removed rows; it was thrown away and the old one not touched."""


class FileStore(abc.ABC):
    """A store of files."""

    kind: str
    path: str
    read_errors: tuple[type[Exception], ...]
    """What a damaged, encrypted or unsupported file raises."""

    @abc.abstractmethod
    def units(self) -> list[str]:
        """The real paths of the files, sorted; raises InputError when there are none or they must not be changed."""

    @abc.abstractmethod
    def locate(self, unit: str, keys: KeySet) -> Match:
        """Find the keys in one file. Raises InputError when the file can be read and its ids cannot be used."""

    @abc.abstractmethod
    def identify(self, path: Path) -> StoreFile:
        """The identity of a file; raises one of `read_errors`."""

    @abc.abstractmethod
    def write_survivors(self, match: Match, keys: KeySet, aside: Path) -> list[str]:
        """Write the file of `match` without its matched rows to `aside`, and check it; returns what it lacks.

        Raises RewriteError when the result does not pass the check, one of `read_errors` otherwise.
        """

    @abc.abstractmethod
    def rows(self, aside: Path, match: Match) -> Iterator[pa.RecordBatch]:
        """The rows of the new file, written in place of that of `match`, as anybody reads them."""

    def folders(self) -> list[Path]:
        """Where an interrupted rewrite may have left something."""
        return sorted({Path(unit).parent for unit in self.units()})

    def describe(self) -> Description:
        """How many files there are, and how many bytes."""
        files = self.units()
        return Description(self.kind, self.path, len(files), sum(os.stat(file).st_size for file in files))

    def purge(self, match: Match, keys: KeySet, ledger: Path, inspect: Inspect | None = None) -> Receipt:
        """Rewrite one file without the matched rows; whatever happens to it, it ends in a receipt in `ledger`."""
        records = Ledger(ledger, keys.digest)
        receipt = Receipt.of(match, keys)
        if receipt.status is not Status.UNREADABLE:
            try:
                return self._purge(match, keys, records, inspect)
            except ConflictError as error:
                receipt = receipt.failed(Status.CONFLICT, str(error))
            except RewriteError as error:
                receipt = receipt.failed(Status.FAILED, str(error))
            except self.read_errors as error:
                receipt = receipt.failed(Status.FAILED, problem_of(error))
        done = self._done_by_another(match, records)
        if done is None:
            records.record(receipt)
        return done or receipt

    def _done_by_another(self, match: Match, records: Ledger) -> Receipt | None:
        """What another attempt made of a file that this one failed at, if it is what is there now."""
        if match.problem is not None:
            return None
        try:
            return records.finished(self._identify_again(Path(match.file.path)))
        except ConflictError:
            return None

    def compact(self, receipt: Receipt, keys: KeySet, ledger: Path) -> Receipt:
        """The new file never held the rows, so there is nothing left to do."""
        del keys, ledger
        return receipt

    def janitor(self, ledger: Path) -> list[Path]:
        """Remove what a crash left unfinished, which may hold personal data, in the store and in `ledger`."""
        leftovers = sorted(left for folder in (*self.folders(), ledger) for left in folder.glob(f"{TEMPORARY_PREFIX}*"))
        for leftover in leftovers:
            leftover.unlink(missing_ok=True)
        return leftovers

    def _purge(self, match: Match, keys: KeySet, records: Ledger, inspect: Inspect | None) -> Receipt:
        """Rewrite one readable file, or finish what a killed attempt began; the receipt is durable on return.

        Raises ConflictError when the file is neither as it was located nor as an earlier attempt left it. The file is
        not touched then.
        """
        path = Path(match.file.path)
        found = self._identify_again(path)
        done = records.finished(found)
        if done is not None:
            return done
        if found != match.file:
            raise ConflictError("the file changed since it was located: locate it again")
        receipt = Receipt.of(match, keys)
        if not match.rows:
            records.record(receipt)
            return receipt

        names = path.stat().st_nlink
        with replacing(path) as aside:
            lost = self.write_survivors(match, keys, aside)
            if inspect is not None and (problem := inspect(self.rows(aside, match))) is not None:
                raise RewriteError(problem)
            _copy_attributes(path, aside)
            with aside.open("rb") as written:
                os.fsync(written.fileno())
            receipt = replace(
                receipt,
                status=Status.REMOVED,
                after=replace(self.identify(aside), path=match.file.path),
                rows_removed=match.rows,
                removed_at=now(),
                compacted_at=now(),
                dropped=tuple(lost),
                detail=f"the old file has {names - 1} more names (hard links), which keep it" if names > 1 else None,
            )
            records.prepare(receipt)
            if self._identify_again(path) != found:
                raise ConflictError("the file changed while it was rewritten: locate it again")
        records.conclude(receipt)
        return receipt

    def _identify_again(self, path: Path) -> StoreFile:
        try:
            return self.identify(path)
        except self.read_errors as error:
            raise ConflictError(
                f"the file was readable when it was located and is not any more: {problem_of(error)}"
            ) from error


def problem_of(error: BaseException) -> str:
    """One line of an error, for the receipt."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


def as_seen(path: Path) -> StoreFile:
    """As much identity as an unreadable file has."""
    try:
        status = os.stat(path)
    except OSError:
        return StoreFile(str(path), 0, 0, "", 0)
    return StoreFile(str(path), status.st_size, status.st_mtime_ns, "", 0)


def _copy_attributes(path: Path, aside: Path) -> None:
    """Give the new file the owner, permissions and extended attributes of the old one; its times are its own."""
    old, new = path.stat(), aside.stat()
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.chown(aside, old.st_uid, old.st_gid)
    shutil.copystat(path, aside)
    os.utime(aside)
