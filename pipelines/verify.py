"""Verify: every file of a store examined by a reader that shares no code with the purge, then one verdict per store.

    entries of a store ─ CheckFiles ─ reports ─ (driver) ─ positive control ─ verdict

Nothing here imports what removes: the listed ids come from the manifests, the vectors from the baseline's fingerprints.
"""

import fnmatch
import functools
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.baseline import BaselineWork
from pipelines.ledger import Ledger, name_work
from schemas.errors import InputError
from schemas.files import TEMPORARY_PREFIX
from stores.audit.check import FileCheck, check_file
from stores.audit.containers import Format
from stores.audit.control import Control, run_control
from stores.audit.examine import Finding
from stores.audit.inventory import Entry, Kind, take_inventory
from stores.audit.needles import Needles, make_needles
from stores.audit.rows import RowDigest
from stores.audit.verdict import StoreVerdict, judge_store

_LOADING = threading.Lock()
"""Threads that start together load the needles once."""


@dataclass(frozen=True)
class VerifyWork:
    """What the workers need to know about one store."""

    name: str
    baseline: BaselineWork
    pattern: str | None
    """For a store that is one file or a glob: which names below the root belong to it."""
    parts: tuple[Path, ...]
    """The parts of all manifests."""
    column: str
    """Which id of an entry names a row of this store."""
    checks: Ledger
    scratch: Path
    attempt: str
    """Tells one verification from the next in what a process remembers."""

    def entries(self) -> list[Entry]:
        """Every entry of the store as it is now; hidden and temporary files belong to it whatever their name."""
        return [entry for entry in take_inventory(self.baseline.root) if self._belongs(entry)]

    def _belongs(self, entry: Entry) -> bool:
        if self.pattern is None or fnmatch.fnmatch(entry.path, self.pattern):
            return True
        return Path(entry.path).name.startswith(TEMPORARY_PREFIX)


class CheckFiles(beam.PTransform):
    """PCollection[None], one element → PCollection[dict], what was found in each file of the store."""

    def __init__(self, work: VerifyWork) -> None:
        self.work = work

    def expand(self, start: beam.PCollection) -> beam.PCollection:
        """List every file, examine each."""
        files = start | "ListFiles" >> beam.FlatMap(list_files, self.work) | beam.Reshuffle()
        return files | "CheckFile" >> beam.Map(check_one, self.work)


def list_files(start: object, work: VerifyWork) -> Iterator[str]:
    """The path of every file of the store, below its root."""
    del start
    return (entry.path for entry in work.entries() if entry.kind is Kind.FILE)


def check_one(path: str, work: VerifyWork) -> dict[str, Any]:
    """Examine one file; a file that cannot be read is a report with its problem, never a clean one."""
    with _LOADING:
        needles = load_needles(work)
    try:
        check = check_file(work.baseline.root, path, needles, work.baseline.key(), work.baseline.key_column)
    except OSError as error:
        check = FileCheck(path, 0, 0, Format.EMPTY, (), (f"cannot be read: {error.strerror}",), None, None, 0)
    return work.checks.enter(name_work(path), asdict(check))


@functools.lru_cache(maxsize=1)
def load_needles(work: VerifyWork) -> Needles:
    """What to look for in one store, once a process."""
    return make_needles(listed_ids(work.parts, work.column), work.baseline.fingerprints(), work.baseline.key())


def listed_ids(parts: Iterable[Path], column: str) -> pa.Array:
    """The ids to be erased, read from the manifests themselves: what the purge made of them proves nothing."""
    found = [pa.array([], pa.large_string())]
    for part in parts:
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(columns=[column, "tier"]):
                found.append(batch.column(column).filter(pc.equal(batch.column("tier"), "erase")))
    return pa.concat_arrays(found)


def judge(work: VerifyWork) -> StoreVerdict:
    """The verdict over one store, from what was noted of every file before and found in it now."""
    baselines = work.baseline.baselines()
    checks = [check_from_json(entry) for entry in work.checks.entries().values()]
    return judge_store(work.name, baselines, checks, work.entries(), control(work))


def control(work: VerifyWork) -> Control | None:
    """The positive control, written as the store's own files are; None if no file of it can be read."""
    work.scratch.mkdir(parents=True, exist_ok=True)
    for baseline in work.baseline.baselines():
        try:
            return run_control(
                work.baseline.root / baseline.file, work.baseline.key_column, work.scratch, work.baseline.key()
            )
        except (InputError, NotImplementedError, OSError, pa.ArrowException):
            continue
    return None


def check_from_json(record: dict[str, Any]) -> FileCheck:
    """A check back from the ledger."""
    return FileCheck(
        **{
            **record,
            "format": Format(record["format"]),
            "findings": tuple(Finding(**finding) for finding in record["findings"]),
            "problems": tuple(record["problems"]),
            "rows": RowDigest(**record["rows"]) if record["rows"] else None,
        }
    )
