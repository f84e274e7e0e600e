"""Purge: manifests in, stores without what they list, and a receipt for every file.

    units of a store ─ PurgeUnits ─ receipts          (with --execute)
    units of a store ─ LocateUnits ─ receipts         (without: what would be done)

Before a unit is touched, the independent verifier takes its baseline. A unit is purged by one call that can be
repeated: killed at any moment, the same command finishes what was begun.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.metrics import Metrics

from pipelines.baseline import BaselineWork, accept_schema, inspect_survivors, keep_baseline
from pipelines.ledger import Ledger, name_work
from schemas.errors import InputError
from schemas.job import Job, StoreSection
from schemas.manifests import Manifest
from stores.contract import Receipt, Status, Store
from stores.keys import KeySet
from stores.kinds import open_store


@dataclass(frozen=True)
class PurgeWork:
    """What the workers need to know about one store."""

    name: str
    section: StoreSection
    """The store, its paths absolute."""
    keys_file: Path
    receipts: Path
    located: Ledger
    baseline: BaselineWork

    def open_store(self) -> Store:
        """The store, opened by the worker that needs it."""
        return open_store(self.section)

    def open_keys(self) -> KeySet:
        """The keys to remove, memory-mapped."""
        return KeySet.open(self.keys_file)


class LocateUnits(beam.PTransform):
    """PCollection[None], one element → PCollection[dict]: where the keys are, one report per unit; touches nothing."""

    def __init__(self, work: PurgeWork) -> None:
        self.work = work

    def expand(self, start: beam.PCollection) -> beam.PCollection:
        """List the units, look into each."""
        units = start | "ListUnits" >> beam.FlatMap(list_units, self.work) | beam.Reshuffle()
        return units | "LocateKeys" >> beam.Map(locate_unit, self.work)


class PurgeUnits(beam.PTransform):
    """PCollection[None], one element → PCollection[dict]: the receipts. Counter `lethe/rows_removed`."""

    def __init__(self, work: PurgeWork) -> None:
        self.work = work

    def expand(self, start: beam.PCollection) -> beam.PCollection:
        """List the units, purge each."""
        units = start | "ListUnits" >> beam.FlatMap(list_units, self.work) | beam.Reshuffle()
        return units | "PurgeUnit" >> beam.ParDo(PurgeUnit(self.work))


class PurgeUnit(beam.DoFn):
    """Unit → its receipt."""

    def __init__(self, work: PurgeWork) -> None:
        self.work = work
        self.rows_removed = Metrics.counter("lethe", "rows_removed")

    def setup(self) -> None:
        """Map the keys, once a worker."""
        pa.set_cpu_count(1)
        self.keys = self.work.open_keys()

    def process(self, unit: str) -> Iterator[dict[str, Any]]:
        """Take the baseline, then purge."""
        receipt = purge_unit(unit, self.keys, self.work)
        self.rows_removed.inc(receipt.rows_removed)
        yield receipt.to_json()


def list_units(start: object, work: PurgeWork) -> list[str]:
    """The units of the store."""
    del start
    return work.open_store().units()


def locate_unit(unit: str, work: PurgeWork) -> dict[str, Any]:
    """Where the keys are in one unit: the receipt as it stands before anything is done, with the rows that match."""
    keys = work.open_keys()
    match = work.open_store().locate(unit, keys)
    report = {**Receipt.of(match, keys).to_json(), "rows_matched": match.rows}
    return work.located.enter(name_work(unit), report)


def purge_unit(unit: str, keys: KeySet, work: PurgeWork) -> Receipt:
    """Remove the keys from one unit, and what a removal leaves; the baseline is on disk before the unit is touched.

    A unit of which the keys can be read and the rest cannot is unreadable, and stops no other.
    """
    store = work.open_store()
    match = store.locate(unit, keys)
    try:
        baseline = keep_baseline(match, keys, work.baseline)
    except InputError as error:
        baseline, match = None, replace(match, positions=(), problem=str(error))
    inspect = inspect_survivors(baseline, work.baseline) if baseline else None
    receipt = store.compact(store.purge(match, keys, work.receipts, inspect), keys, work.receipts)
    if baseline and any("metadata" in lost for lost in receipt.dropped):
        accept_schema(baseline, unit, work.baseline)
    matched = receipt.rows_removed if receipt.status is Status.REMOVED else match.rows
    work.located.enter(name_work(unit), {**receipt.to_json(), "rows_matched": matched})
    return receipt


def write_keys(manifests: Mapping[str, Manifest], root: Path, column: str, file: Path) -> KeySet:
    """The ids in `column` of all entries to be erased, of all jurisdictions, as one set."""
    parts = [root / name / part.name for name, manifest in manifests.items() for part in manifest.parts]
    return KeySet.write(file, _erased(parts, column))


def _erased(parts: Iterable[Path], column: str) -> Iterator[pa.Array]:
    for part in parts:
        chosen = pq.read_table(part, columns=[column], filters=pc.field("tier") == "erase").column(column)
        yield from chosen.chunks


def key_column(store: StoreSection, job: Job) -> str:
    """Which id of the manifest a store's key column holds: the record's if it is called so, else the face's."""
    return "record_id" if store.key == job.records.columns.get("record_id", "record_id") else "face_id"


def rewritten_files(receipts: Path) -> Iterator[tuple[str, int, int]]:
    """Path, size and time of change of every file as a purge left it, killed or finished, from all stores' receipts."""
    for file in receipts.rglob("*.json"):
        after = Receipt.from_json(json.loads(file.read_bytes())).after
        if after is not None:
            yield after.path, after.size, after.mtime_ns


def sum_up(reports: Iterable[Mapping[str, Any]], store: StoreSection) -> dict[str, Any]:
    """What the units of one store come to: files, rows, bytes and the last time anything was found, removed, cleaned.

    What was refused, could not be read or is not cleaned away is named.
    """
    reports = list(reports)
    touched = [report for report in reports if report["rows_matched"]]
    removed = [report for report in reports if report["status"] == Status.REMOVED]

    def named(*statuses: Status) -> list[str]:
        return sorted(Path(report["path"]).name for report in reports if report["status"] in statuses)

    return {
        "kind": store.kind,
        "holds": store.holds,
        "files": len(reports),
        "files_matched": sum(1 for report in reports if report["rows_matched"] or report["status"] == Status.MATCHED),
        "rows": sum(report["before"]["rows"] for report in reports),
        "rows_matched": sum(report["rows_matched"] for report in reports),
        "rows_removed": sum(report["rows_removed"] for report in removed),
        "rows_cleaned": sum(report["rows_removed"] for report in removed if report["compacted_at"]),
        **{when: _last(reports, when) for when in ("matched_at", "removed_at", "compacted_at")},
        "bytes": sum(report["before"]["size"] for report in reports),
        "bytes_to_rewrite": sum(report["before"]["size"] for report in touched),
        "uncompacted": sorted(Path(report["path"]).name for report in reports if _is_unclean(report)),
        "conflicts": named(Status.CONFLICT),
        "unreadable": named(Status.UNREADABLE, Status.FAILED),
    }


def _is_unclean(report: Mapping[str, Any]) -> bool:
    """Whether something removed, by lethe or by others before it, may still lie in the unit's files."""
    if report["status"] == Status.UNCHANGED:
        return bool(report["detail"])  # nothing to remove, and what others had removed could not be cleaned away
    return report["status"] == Status.REMOVED and not report["compacted_at"]


def _last(reports: Iterable[Mapping[str, Any]], when: str) -> str | None:
    """The latest of all units' times, None if none of them came so far."""
    return max((report[when] for report in reports if report[when]), default=None)
