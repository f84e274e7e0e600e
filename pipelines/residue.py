"""Residue: how many of the listed ids and vectors can be read from each file of a store, now.

    units of a store ─ PrepareUnits ─ baselines           (before a purge, so that there are vectors to look for)
    entries of a store ─ SearchStore ─ reports ─ (driver) ─ positive control ─ Residue

It is the verifier's search with another question: not whether a purge is proven, but what is readable and where. It
changes nothing in any store.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.baseline import BaselineWork, keep_baseline
from pipelines.ledger import name_work
from pipelines.purge import PurgeWork, list_units
from pipelines.verify import (
    Piece,
    VerifyWork,
    check_from_json,
    check_with,
    control,
    list_pieces,
    load_search,
    new_examination,
)
from stores.audit.check import FileCheck, check_data, view_file
from stores.audit.control import Control, look_for, synthetic_rows
from stores.audit.examine import Examination
from stores.audit.fingerprints import join
from stores.audit.inventory import Kind, take_inventory
from stores.audit.needles import make_needles
from stores.audit.rows import RowDigest, Rows
from stores.audit.verdict import FileFinding, Status, judge_store

_OUTPUT = pa.schema([("face_id", pa.string()), ("vector", pa.list_(pa.float32(), 64))])


@dataclass(frozen=True)
class Residue:
    """What is readable in one place, a store or the tool's own output; safe to print.

    `ids` and `vectors` count different listed ones over all files, `places` each place by itself. Where a store keeps a
    vector in several forms (a normalised copy in an index), each form counts. `vectors_sought` is None where nothing is
    left to seek them by.
    """

    status: Status
    ids: int
    vectors: int
    ids_sought: int
    vectors_sought: int | None
    files: int
    bytes: int
    places: tuple[FileFinding, ...]
    unread: tuple[str, ...]
    control: Control | None

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


class PrepareUnits(beam.PTransform):
    """PCollection[None], one element → PCollection[dict]: the baseline of every unit taken; touches no store."""

    def __init__(self, work: PurgeWork) -> None:
        self.work = work

    def expand(self, start: beam.PCollection) -> beam.PCollection:
        """List the units, look into each."""
        units = start | "ListUnits" >> beam.FlatMap(list_units, self.work) | beam.Reshuffle()
        return units | "TakeBaseline" >> beam.Map(prepare_unit, self.work)


def prepare_unit(unit: str, work: PurgeWork) -> dict[str, Any]:
    """Note what one unit holds of the listed, as a purge would before it touches it."""
    keys = work.open_keys()
    match = work.open_store().locate(unit, keys)
    baseline = keep_baseline(match, keys, work.baseline)
    report = {
        "unit": Path(unit).name,
        "rows_matched": match.rows,
        "vectors": baseline.vectors if baseline else 0,
        "problem": match.problem,
    }
    return work.located.enter(name_work(unit), report)


class SearchStore(beam.PTransform):
    """PCollection[None], one element → PCollection[dict], what is readable in each entry of the store."""

    def __init__(self, work: VerifyWork) -> None:
        self.work = work

    def expand(self, start: beam.PCollection) -> beam.PCollection:
        """List every entry, search each."""
        pieces = start | "ListEntries" >> beam.FlatMap(list_entries, self.work) | beam.Reshuffle()
        return pieces | "SearchEntry" >> beam.Map(search_entry, self.work)


def list_entries(start: object, work: VerifyWork) -> Iterator[Piece]:
    """Everything that may hold a byte of the store."""
    return (piece for piece in list_pieces(start, work) if piece.kind == "entry")


def search_entry(piece: Piece, work: VerifyWork) -> dict[str, Any]:
    """Search one entry; the listed ids and vectors found in it are told by number, which says nothing by itself."""
    reader = work.baseline.open_reader()
    examination = new_examination(reader, work)
    check = check_with(examination, piece, reader)
    return work.checks.enter(name_work(piece.kind, piece.name), _report(check, examination))


def sum_up(work: VerifyWork, vectors_known: bool) -> Residue:
    """What one store comes to. Without `vectors_known` no vector was sought, only ids."""
    reader = work.baseline.open_reader()
    reports = list(work.checks.entries().values())
    baselines = work.baseline.baselines()
    planted = control(reader, work)
    # Without rows on either side the verdict answers its first question only: is anything listed left?
    verdict = judge_store(
        work.name,
        [replace(one, survivors=RowDigest()) for one in baselines],
        [check_from_json(report["check"]) for report in reports],
        reader.entries(),
        planted,
        units=(),
    )
    unread = list(verdict.reasons[len(verdict.findings) :])
    if vectors_known:
        noted = {one.unit for one in baselines}
        names = [name for name in map(reader.name, reader.units()) if name not in noted]
        unread += [f"{name}: nobody noted which vectors it held, so they were not sought" for name in names]
    else:
        unread.append("vectors were not sought: nothing is left to seek them by")
    return Residue(
        status=_status(verdict.findings, unread),
        ids=_distinct(reports, "ids"),
        vectors=_distinct(reports, "vectors"),
        ids_sought=load_search(reader, work).needles.ids,
        vectors_sought=verdict.vectors_sought if vectors_known else None,
        files=verdict.files,
        bytes=verdict.bytes,
        places=verdict.findings,
        unread=tuple(unread),
        control=planted,
    )


def search_outputs(root: Path, skipped: Collection[Path], baselines: Sequence[BaselineWork]) -> Residue:
    """Search what lethe itself wrote below `root` for the listed vectors of all stores; ids stand in it by design.

    `skipped` are files and folders whose content is known: the audit key, vectors of canaries.
    """
    key = baselines[0].key()
    needles = make_needles(pa.array([], pa.large_string()), join(one.fingerprints() for one in baselines), key)
    reports, checks = [], []
    for entry in take_inventory(root):
        path = root / entry.path
        if entry.kind is Kind.FILE and not any(path.is_relative_to(one) for one in skipped):
            examination = Examination(needles, key, None)
            checks.append(check_data(entry.path, view_file(path), entry.modified_ns, examination))
            reports.append(_report(checks[-1], examination))
    places = tuple(
        FileFinding(check.file, one.what, one.where, one.count, one.row_group, one.column)
        for check in checks
        for one in check.findings
    )
    unread = [f"{check.file}: {problem}" for check in checks for problem in check.problems]
    planted = _control_of_outputs(key)
    if not planted.passed:
        unread.append(f"the positive control found {planted.found} of {planted.planted} planted ids and vectors")
    return Residue(
        status=_status(places, unread),
        ids=0,
        vectors=_distinct(reports, "vectors"),
        ids_sought=0,
        vectors_sought=needles.vectors,
        files=len(checks),
        bytes=sum(check.size for check in checks),
        places=places,
        unread=tuple(unread),
        control=planted,
    )


def _control_of_outputs(key: bytes) -> Control:
    """Synthetic people in the two forms in which lethe writes: JSON and Parquet."""
    rows = synthetic_rows(_OUTPUT, "face_id", None)
    parquet = pa.BufferOutputStream()
    pq.write_table(rows, parquet, compression="zstd")
    found = [
        look_for(Rows("", rows.schema, iter(rows.to_batches())), "face_id", [np.frombuffer(content, np.uint8)], key)
        for content in (json.dumps(rows.to_pylist()).encode(), parquet.getvalue())
    ]
    return Control(sum(one.planted for one in found), sum(one.found for one in found))


def _status(places: Sequence[FileFinding], unread: Sequence[str]) -> Status:
    return Status.RESIDUE if places else Status.UNVERIFIED if unread else Status.CLEAN


def _report(check: FileCheck, examination: Examination) -> dict[str, Any]:
    found: dict[str, set[int]] = {"id": set(), "vector": set()}
    for (what, _), numbers in examination.found.items():
        found[what] |= numbers
    return {"check": asdict(check), "ids": sorted(found["id"]), "vectors": sorted(found["vector"])}


def _distinct(reports: Iterable[Mapping[str, Any]], what: str) -> int:
    return len({number for report in reports for number in report[what]})
