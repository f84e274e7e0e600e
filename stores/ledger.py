"""What makes a purge survive a kill at any moment: two small durable files for each rewritten one.

    1  the new file is written aside, checked and synced
    2  its receipt is written under the name `<file>.prepared.json`: from here on the new identity is known
    3  the new file replaces the old one
    4  the receipt is written under its final name, which is that of the new identity, and is prepared no more

Whoever comes after a kill compares the file with the prepared receipt: the new identity means that only step
4 is missing, the old one that all is to be done again. Of two attempts at once the one whose file is there is
right: a final receipt outlives whatever the other says. Names are digests, since a path may say more than it should.
"""

import json
from dataclasses import astuple
from pathlib import Path

from schemas.errors import LetheError
from schemas.files import canonical_json, digest_bytes, sync_folder, write_json
from stores.contract import Receipt, Status, StoreFile


class Ledger:
    """The receipts of one store, in one folder, for one set of keys."""

    def __init__(self, folder: Path, keys_digest: str) -> None:
        self.folder = folder
        self.keys_digest = keys_digest

    def finished(self, now: StoreFile) -> Receipt | None:
        """The receipt that the file as it is `now` is done, or None; one that a kill left prepared is completed."""
        begun = self.begun(now.path)
        if begun is not None and begun.after == now:
            self.conclude(begun)
        final = self._final(now, self.keys_digest)
        if not final.exists():
            return None
        self._problem(now.path).unlink(missing_ok=True)
        return _read(final)

    def begun(self, unit: str) -> Receipt | None:
        """The receipt that was prepared for a unit and not concluded, if a kill left one."""
        try:
            return _read(self._prepared(unit))
        except FileNotFoundError:  # there is none, or another attempt has just concluded it
            return None

    def prepare(self, receipt: Receipt) -> None:
        """Record, durably, what the file will have become once it is replaced."""
        write_json(self._prepared(receipt.path), receipt.to_json())

    def conclude(self, receipt: Receipt) -> None:
        """The file is replaced: the receipt is final, also if another attempt prepared one of its own meanwhile."""
        self.record(receipt)
        self._prepared(receipt.path).unlink(missing_ok=True)
        sync_folder(self.folder)

    def uncompacted(self, unit: str) -> Receipt | None:
        """The receipt of rows removed from a unit and not yet cleaned away, whatever its version is by now."""
        receipts = map(_read, sorted(self.folder.glob(f"{_name(unit)}-*.json")))
        open_ends = (one for one in receipts if one.status is Status.REMOVED and one.compacted_at is None)
        return next(open_ends, None)

    def supersede(self, old: Receipt, new: Receipt) -> None:
        """Replace the final receipt of a unit by one that says more, such as that it was compacted."""
        self.record(new)
        if old.after is not None and new.after is not None and old.after != new.after:
            self._final(old.after, old.keys_digest).unlink(missing_ok=True)

    def record(self, receipt: Receipt) -> None:
        """Write the receipt of a file that was not touched; one that tells of a problem stays until a better one."""
        if receipt.after is None:
            write_json(self._problem(receipt.path), receipt.to_json())
        else:
            write_json(self._final(receipt.after, receipt.keys_digest), receipt.to_json())
            self._problem(receipt.path).unlink(missing_ok=True)

    def _problem(self, path: str) -> Path:
        return self.folder / f"{_name(path)}.problem.json"

    def _prepared(self, path: str) -> Path:
        return self.folder / f"{_name(path)}.prepared.json"

    def _final(self, file: StoreFile, keys_digest: str) -> Path:
        return self.folder / f"{_name(file.path)}-{_name(*astuple(file), keys_digest)}.json"


def _name(*parts: str | int) -> str:
    return digest_bytes(canonical_json([str(part).encode("utf-8", "surrogateescape").hex() for part in parts]))[7:31]


def _read(path: Path) -> Receipt:
    try:
        return Receipt.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LetheError(
            f"{path} is no receipt of lethe; it was altered: restore it, or move it away to purge anew"
        ) from error
