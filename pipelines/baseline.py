"""Baseline: what the independent verifier notes of every unit of a store before the purge touches it.

    out/work/<run>/baseline/<store>/     rows, digests of those that must survive: no personal data
    out/work/<run>/secret/               the audit key, and keyed fingerprints of the vectors that must go

The secret part is kept apart from everything an auditor passes on, and `lethe verify --finish` destroys it.
"""

import secrets
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.ledger import Ledger, name_work
from schemas.files import replacing
from schemas.job import StoreSection
from stores.audit.baseline import UnitBaseline, note_baseline
from stores.audit.fingerprint_files import FingerprintFile, write_fingerprints
from stores.audit.reader import Reader
from stores.audit.readers import open_reader
from stores.audit.rows import RowDigest, digest_rows
from stores.contract import Inspect, Match
from stores.keys import KeySet

_KEY_LOCK = threading.Lock()


@dataclass(frozen=True)
class BaselineWork:
    """Where the baseline of one store is kept."""

    section: StoreSection
    """The store, its paths absolute."""
    ledger: Ledger
    secret: Path

    def open_reader(self) -> Reader:
        """The store, as the verifier reads it."""
        return open_reader(self.section)

    def key(self) -> bytes:
        """The audit key of the run, drawn when it is first asked for."""
        file = self.secret / "key"
        with _KEY_LOCK:
            if not file.is_file():
                with replacing(file) as aside:
                    aside.write_bytes(secrets.token_bytes(16))
                    aside.chmod(0o600)
            return file.read_bytes()

    def baselines(self) -> list[UnitBaseline]:
        """The baseline of every unit, in the order of their names."""
        found = (from_json(entry["baseline"]) for entry in self.ledger.entries().values())
        return sorted(found, key=lambda baseline: baseline.unit)

    def fingerprints(self) -> list[FingerprintFile]:
        """The fingerprints of all units, in a fixed order; none is read."""
        return [
            FingerprintFile(self.fingerprint_file(name), entry["baseline"]["vectors"])
            for name, entry in self.ledger.entries().items()
        ]

    def fingerprint_file(self, name: str) -> Path:
        """Where the fingerprints of a unit are kept, by the name of its work."""
        return self.secret / self.ledger.folder.name / f"{name}.arrow"


def keep_baseline(match: Match, keys: KeySet, work: BaselineWork) -> UnitBaseline | None:
    """Take the baseline of one unit as it was located, unless it is there already.

    A unit in which nothing is left to remove keeps the baseline it has: it may be one that was purged before a crash.
    One that still has rows to go and is not as its baseline says was changed by somebody else, and is read again.
    """
    if match.problem is not None:
        return None
    reader, unit = work.open_reader(), match.file.path
    name = reader.name(unit)
    version = f"{match.file.size} {match.file.mtime_ns} {match.file.version}"
    entry = name_work(name)
    known = work.ledger.find(entry)
    if known and (not match.rows or known["version"] == version):
        return from_json(known["baseline"])
    # The fingerprints first: an entry in the ledger means that both are there.
    with replacing(work.fingerprint_file(entry)) as aside, write_fingerprints(aside) as keep:
        baseline = note_baseline(
            name, reader.read(unit), work.section.key, keys.contains, work.key(), keep, reader.copies
        )
    work.ledger.enter(entry, {"version": version, "baseline": asdict(baseline)})
    return baseline


def inspect_survivors(baseline: UnitBaseline, work: BaselineWork) -> Inspect:
    """A look at what is to stay with the verifier's own eyes, before the old rows are given up."""

    def inspect(batches: Iterable[pa.RecordBatch]) -> str | None:
        rows = sum((digest_rows(batch, work.key()) for batch in batches), RowDigest())
        return None if rows == baseline.survivors else "what would be left is not just the rows that stay"

    return inspect


def accept_schema(baseline: UnitBaseline, unit: str, work: BaselineWork) -> None:
    """Expect the schema that a unit has now: its receipt says which metadata, naming somebody erased, it gave up."""
    name = name_work(baseline.unit)
    known = work.ledger.find(name)
    changed = replace(baseline, schema=work.open_reader().read(unit).schema)
    work.ledger.enter(name, {**(known or {}), "baseline": asdict(changed)})


def from_json(record: dict[str, Any]) -> UnitBaseline:
    """A baseline back from the ledger."""
    return UnitBaseline(
        **{
            **record,
            "survivors": RowDigest(**record["survivors"]),
            "vector_columns": tuple(record["vector_columns"]),
        }
    )
