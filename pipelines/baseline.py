"""Baseline: what the independent verifier notes of every file of a store before the purge touches it.

    out/work/<run>/baseline/<store>/     rows, digests of those that must survive: no personal data
    out/work/<run>/secret/               the audit key, and keyed fingerprints of the vectors that must go

The secret part is kept apart from everything an auditor passes on, and `lethe verify --finish` destroys it.
"""

import os
import secrets
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.ledger import Ledger, name_work
from schemas.files import replacing
from stores.audit.baseline import FileBaseline, take_baseline
from stores.audit.fingerprints import Fingerprints, join
from stores.audit.rows import RowDigest, digest_rows, read_batches, schema_fingerprint
from stores.contract import Inspect, Match
from stores.keys import KeySet

_KEY_LOCK = threading.Lock()


@dataclass(frozen=True)
class BaselineWork:
    """Where the baseline of one store is kept; `root` is the folder that its files are named from."""

    root: Path
    key_column: str
    ledger: Ledger
    secret: Path

    def key(self) -> bytes:
        """The audit key of the run, drawn when it is first asked for."""
        file = self.secret / "key"
        with _KEY_LOCK:
            if not file.is_file():
                with replacing(file) as aside:
                    aside.write_bytes(secrets.token_bytes(16))
                    aside.chmod(0o600)
            return file.read_bytes()

    def baselines(self) -> list[FileBaseline]:
        """The baseline of every file, in the order of their names."""
        found = (from_json(entry["baseline"]) for entry in self.ledger.entries().values())
        return sorted(found, key=lambda baseline: baseline.file)

    def fingerprints(self) -> Fingerprints:
        """The fingerprints of all files as one."""
        return join(
            Fingerprints(
                _read(self._fingerprint_file(name)), entry["baseline"]["vectors"], entry["baseline"]["untraceable"]
            )
            for name, entry in self.ledger.entries().items()
        )

    def keep(self, name: str, baseline: FileBaseline, fingerprints: Fingerprints) -> None:
        """Write down a baseline, the fingerprints first: an entry in the ledger means that both are there."""
        with (
            replacing(self._fingerprint_file(name)) as aside,
            pa.ipc.new_file(str(aside), fingerprints.windows.schema) as sink,
        ):
            sink.write_table(fingerprints.windows)
        self.ledger.enter(name, {"baseline": asdict(baseline)})

    def _fingerprint_file(self, name: str) -> Path:
        return self.secret / self.ledger.folder.name / f"{name}.arrow"


def keep_baseline(match: Match, keys: KeySet, work: BaselineWork) -> FileBaseline | None:
    """Take the baseline of one file as it was located, unless it is there already.

    A file in which nothing is left to remove keeps the baseline it has: it may be one that was purged before a crash.
    One that still has rows to go and is not as its baseline says was changed by somebody else, and is read again.
    """
    if match.problem is not None:
        return None
    path = os.path.relpath(match.file.path, work.root)
    known = work.ledger.find(name_work(path))
    if known:
        seen = (known["baseline"]["size"], known["baseline"]["modified_ns"])
        if not match.rows or seen == (match.file.size, match.file.mtime_ns):
            return from_json(known["baseline"])
    baseline, fingerprints = take_baseline(work.root, path, work.key_column, keys.contains, work.key())
    work.keep(name_work(path), baseline, fingerprints)
    return baseline


def inspect_survivors(baseline: FileBaseline, work: BaselineWork) -> Inspect:
    """A look at a new file with the verifier's own eyes, before the old one is given up: it holds what must stay."""

    def inspect(path: Path) -> str | None:
        with pq.ParquetFile(path, memory_map=True, pre_buffer=False) as file:
            rows = sum((digest_rows(batch, work.key()) for batch in read_batches(file)), RowDigest())
        return None if rows == baseline.survivors else "the new file does not hold just the rows that stay"

    return inspect


def accept_schema(baseline: FileBaseline, path: Path, work: BaselineWork) -> None:
    """Expect the schema that a file has now: its receipt says which metadata, naming somebody erased, it gave up."""
    with pq.ParquetFile(path) as file:
        changed = replace(baseline, schema=schema_fingerprint(file))
    name = name_work(os.path.relpath(path, work.root))
    work.ledger.enter(name, {"baseline": asdict(changed)})


def from_json(record: dict[str, Any]) -> FileBaseline:
    """A baseline back from the ledger."""
    return FileBaseline(
        **{
            **record,
            "survivors": RowDigest(**record["survivors"]),
            "vector_columns": tuple(record["vector_columns"]),
        }
    )


def _read(file: Path) -> pa.Table:
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_file(source).read_all()
