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
from stores.audit.baseline import UnitBaseline, take_baseline
from stores.audit.fingerprints import Fingerprints, join
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

    def fingerprints(self) -> Fingerprints:
        """The fingerprints of all units as one."""
        return join(
            Fingerprints(
                _read(self._fingerprint_file(name)), entry["baseline"]["vectors"], entry["baseline"]["untraceable"]
            )
            for name, entry in self.ledger.entries().items()
        )

    def keep(self, name: str, baseline: UnitBaseline, fingerprints: Fingerprints, version: str) -> None:
        """Write down a baseline, the fingerprints first: an entry in the ledger means that both are there."""
        with (
            replacing(self._fingerprint_file(name)) as aside,
            pa.ipc.new_file(str(aside), fingerprints.windows.schema) as sink,
        ):
            sink.write_table(fingerprints.windows)
        self.ledger.enter(name, {"version": version, "baseline": asdict(baseline)})

    def _fingerprint_file(self, name: str) -> Path:
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
    known = work.ledger.find(name_work(name))
    if known and (not match.rows or known["version"] == version):
        return from_json(known["baseline"])
    baseline, fingerprints = take_baseline(
        name, reader.read(unit), work.section.key, keys.contains, work.key(), reader.copies
    )
    work.keep(name_work(name), baseline, fingerprints, version)
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


def _read(file: Path) -> pa.Table:
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_file(source).read_all()
