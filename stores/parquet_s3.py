"""The store of Parquet files on object storage: a unit is a key with all its versions, those of deleted keys too.

    1  locate reads the footer and the key column by ranges, never the whole object
    2  purge fetches the object into a file of its own, and writes what stays beside it as on a file system
    3  the receipt is prepared with the digest of the new content
    4  a conditional write replaces the object: a writer in between is a conflict, and nothing is lost
    5  the new version is read back; only then the receipt becomes final
    6  compact destroys every older version, whatever it holds, and unfinished uploads of the key

A key whose current object holds nobody listed keeps its history but for the versions that hold somebody. A lock or a
missing permission that keeps a version means that the unit is not done.
"""

import contextlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from schemas.errors import ConflictError, InputError
from schemas.files import TEMPORARY_PREFIX, digest_file
from schemas.s3 import Place
from stores.contract import Description, Inspect, Match, Positions, Receipt, Status, StoreFile, now
from stores.file_store import RewriteError, problem_of
from stores.keys import KeySet
from stores.ledger import Ledger
from stores.parquet import ParquetStore
from stores.parquet_assemble import Compression
from stores.parquet_locate import READ_ERRORS, find_key, read_key
from stores.s3_tables import refuse_tables
from stores.s3_versions import (
    Version,
    abort_uploads,
    current,
    destroy,
    digest,
    download,
    history,
    list_versions,
    older_than,
    upload,
)
from stores.tables import StoreError, reject

_REFUSALS = (RewriteError, StoreError)


class ParquetS3Store:
    """The Parquet objects that `path`, an `s3://` folder, object or glob, stands for; `key` is the column."""

    def __init__(self, path: str, key: str, options: Mapping[str, str], compression: Compression = "keep") -> None:
        self.place = Place.of(path, options)
        self.key, self.compression = key, compression

    def describe(self) -> Description:
        """How many keys there are, and how many bytes all their versions take."""
        versions = self._versions()
        keys = {version.key for version in versions}
        return Description("parquet", str(self.place), len(keys), sum(version.size for version in versions))

    def units(self) -> list[str]:
        """The URLs of all keys with any version, sorted; raises InputError when there is none, or a table is there."""
        return sorted({self.place.url(version.key) for version in self._versions()})

    def _versions(self) -> list[Version]:
        found = list_versions(self.place, self.place.prefix)
        refuse_tables(self.place, [version.key for version in found if version.latest and not version.marker])
        ours = [version for version in found if not version.marker and self.place.is_read(version.key)]
        if not ours:
            raise InputError(
                f"store {self.place}: no object there whose name ends in .parquet; give s3://bucket/folder/, one "
                "object or a glob"
            )
        return ours

    def locate(self, unit: str, keys: KeySet) -> Match:
        """The positions of the keys in the current object of one key; a deleted one has no rows.

        Only if there are none, older versions are looked into: they go with the object otherwise.
        """
        versions = history(self.place, self.place.key(unit))
        there = current(versions)
        if there is None:
            return Match(StoreFile(unit, 0, 0, "", 0), (), leftover=self._leftover(versions, keys))
        try:
            rows, positions = self._find(there, keys)
        except READ_ERRORS as error:
            return Match(there.identity(self.place, 0), (), problem_of(error))
        found = Match(there.identity(self.place, rows), positions)
        return found if found.rows else replace(found, leftover=self._leftover(versions, keys))

    def _leftover(self, versions: Sequence[Version], keys: KeySet) -> int:
        """How many rows of the keys are in older versions; one for each that cannot be read and may hold anybody."""
        found = 0
        for version in versions:
            if not version.marker and not version.latest:
                try:
                    found += self._held(version, keys)
                except StoreError:
                    found += 1
        return found

    def _find(self, version: Version, keys: KeySet) -> tuple[int, Positions]:
        """How many rows one version has, and where the keys are among them."""
        with pq.ParquetFile(version.open(self.place), arrow_extensions_enabled=False) as reader:
            column = find_key(reader, Path(version.key), self.key)
            groups = range(reader.num_row_groups)
            found = tuple(np.flatnonzero(keys.contains(read_key(reader, group, column))) for group in groups)
            return reader.metadata.num_rows, found

    def purge(self, match: Match, keys: KeySet, ledger: Path, inspect: Inspect | None = None) -> Receipt:
        """Replace one object by one without the matched rows; whatever happens, it ends in a receipt in `ledger`."""
        records = Ledger(ledger, keys.digest)
        receipt = Receipt.of(match, keys)
        if receipt.status is not Status.UNREADABLE:
            try:
                if not match.rows:
                    return self._settle(match, Receipt.of(replace(match, leftover=0), keys), records)
                return self._replace(match, receipt, keys, records, inspect)
            except ConflictError as error:
                receipt = receipt.failed(Status.CONFLICT, str(error))
            except _REFUSALS as error:
                receipt = receipt.failed(Status.FAILED, str(error))
            except READ_ERRORS as error:
                receipt = receipt.failed(Status.FAILED, problem_of(error))
        records.record(receipt)
        return receipt

    def _settle(self, match: Match, receipt: Receipt, records: Ledger) -> Receipt:
        """Nothing to remove: now, or because an attempt that was killed wrote the new object already."""
        begun = records.begun(match.file.path)
        if begun is not None and begun.after is not None and begun.after.size == match.file.size:
            there = self._current_as(match.file)
            if digest(self.place, there) == begun.after.version:
                self._check(begun, there, history(self.place, there.key))
                return self._conclude(begun, there, records)
        done = records.uncompacted(match.file.path) or records.finished(match.file)
        if done is None:
            records.record(receipt)
        return done or receipt

    def _replace(
        self, match: Match, receipt: Receipt, keys: KeySet, records: Ledger, inspect: Inspect | None
    ) -> Receipt:
        old = self._current_as(match.file)
        with _temporary(records.folder) as copy, _temporary(records.folder) as aside:
            download(self.place, old, copy)
            local = ParquetStore(str(copy), self.key, self.compression)
            there = Match(local.identify(copy), match.positions)
            lost = local.write_survivors(there, keys, aside)
            reject(inspect, local.rows(aside, there))
            new = StoreFile(match.file.path, aside.stat().st_size, 0, digest_file(aside), match.file.rows - match.rows)
            receipt = replace(receipt, status=Status.REMOVED, after=new, rows_removed=match.rows, dropped=tuple(lost))
            records.prepare(receipt)
            state, lacking = upload(self.place, aside, old)
        receipt = replace(receipt, dropped=(*lost, *lacking))
        versions = history(self.place, old.key)
        ours = next((version for version in versions if version.state == state), None)
        if ours is None:
            raise ConflictError("somebody else replaced the new object as soon as it was written: locate it again")
        self._check(receipt, ours, versions)
        return self._conclude(receipt, ours, records)

    def _check(self, receipt: Receipt, ours: Version, versions: Sequence[Version]) -> None:
        """What was written follows what was read, and is what the server gives back; otherwise it is taken back."""
        objects = [version for version in versions if not version.marker]
        before = objects[objects.index(ours) + 1 :][:1]
        slipped = ours.id != "null" and [version.state for version in before] != [receipt.before.version]
        if not slipped and receipt.after is not None and digest(self.place, ours) == receipt.after.version:
            return
        if ours.id != "null":
            destroy(self.place, [ours])
        if slipped:
            raise ConflictError("somebody else wrote in between, though the server was told not to: locate it again")
        raise StoreError("the server does not give back what was written")

    def _conclude(self, receipt: Receipt, ours: Version, records: Ledger) -> Receipt:
        rows = receipt.before.rows - receipt.rows_removed
        receipt = replace(receipt, after=ours.identity(self.place, rows), removed_at=now())
        records.prepare(receipt)
        records.conclude(receipt)
        return receipt

    def _current_as(self, file: StoreFile) -> Version:
        there = current(history(self.place, self.place.key(file.path)))
        if there is None or there.identity(self.place, file.rows) != file:
            raise ConflictError("the object changed since it was located: locate it again")
        return there

    def compact(self, receipt: Receipt, keys: KeySet, ledger: Path) -> Receipt:
        """Destroy the older versions of one key, as far as they must go, and see that they are gone."""
        unclean = receipt.status is Status.REMOVED and receipt.compacted_at is None
        if not unclean and receipt.status is not Status.UNCHANGED:
            return receipt
        records, key = Ledger(ledger, keys.digest), self.place.key(receipt.path)
        try:
            stale = self._stale(receipt, keys)
            if not stale and not unclean and receipt.detail is None:
                return receipt
            destroy(self.place, stale)
            if receipt.after is not None and receipt.status is Status.REMOVED:
                abort_uploads(self.place, key, receipt.after.mtime_ns)
            if set(stale) & set(history(self.place, key)):
                raise StoreError("older versions are still listed after they were deleted")
            done = replace(receipt, compacted_at=now(), detail=None)
        except (*_REFUSALS, *READ_ERRORS) as error:
            told = str(error) if isinstance(error, _REFUSALS) else problem_of(error)
            done = replace(receipt, detail=f"not yet cleaned away: {told}")
        records.supersede(receipt, done)
        return done

    def _stale(self, receipt: Receipt, keys: KeySet) -> list[Version]:
        """Which versions and delete markers must go."""
        versions = history(self.place, self.place.key(receipt.path))
        if receipt.status is Status.REMOVED and receipt.after is not None:
            ours = [version for version in versions if version.state == receipt.after.version]
            if ours:
                return older_than(ours[0], versions)
        older = [version for version in versions if version is not current(versions)]
        stale = [version for version in older if not version.marker and self._held(version, keys)]
        if stale and len(stale) == sum(not version.marker for version in versions):
            return versions  # a delete marker alone would keep the name of a key that holds nothing
        return stale

    def _held(self, version: Version, keys: KeySet) -> int:
        """How many rows of the keys an older version has; StoreError when it cannot be read."""
        try:
            return sum(len(rows) for rows in self._find(version, keys)[1]) if version.size else 0
        except (InputError, *READ_ERRORS) as error:
            raise StoreError(
                f"an older version cannot be read ({type(error).__name__}), so nobody knows whom it holds: delete it, "
                "or make it readable, and run again"
            ) from error

    def janitor(self, ledger: Path) -> list[Path]:
        """Remove copies of objects that a crash left in `ledger`."""
        leftovers = sorted(ledger.glob(f"{TEMPORARY_PREFIX}*"))
        for leftover in leftovers:
            leftover.unlink(missing_ok=True)
        return leftovers


@contextlib.contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A name for a file that holds personal data: gone when the work is done, or by the janitor after a crash."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
