"""Residue: how many of the listed ids and vectors can be read from each file of a store, now.

    units of a store ─ PrepareUnits ─ baselines           (before a purge, so that there are vectors to look for)
    entries of a store ─ SearchStore ─ reports ─ (driver) ─ positive control ─ Residue

It is the verifier's search with another question: not whether a purge is proven, but what is readable and where. It
changes nothing in any store.
"""

import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.baseline import BaselineWork, keep_baseline
from pipelines.ledger import name_work
from pipelines.purge import PurgeWork, list_units
from pipelines.search import open_searches
from pipelines.verify import (
    Group,
    Piece,
    Searched,
    VerifyWork,
    check_from_json,
    control,
    in_groups,
    join_searched,
    list_pieces,
    search_entries,
    searched,
)
from stores.audit.check import check_data, view_file
from stores.audit.control import Control, look_for, synthetic_rows
from stores.audit.examine import Examination
from stores.audit.inventory import Kind, take_inventory
from stores.audit.needle_files import write_needles
from stores.audit.needles import Needles, open_needles
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
        groups = start | "ListEntries" >> beam.FlatMap(list_entry_groups, self.work) | beam.Reshuffle()
        return groups | "SearchEntries" >> beam.FlatMap(report_entries, self.work)


def list_entries(start: object, work: VerifyWork) -> Iterator[Piece]:
    """Everything that may hold a byte of the store."""
    return (piece for piece in list_pieces(start, work) if piece.kind == "entry")


def list_entry_groups(start: object, work: VerifyWork) -> Iterator[Group]:
    """The same in groups; what is sought is written down before."""
    return in_groups(list_entries(start, work), work)


def report_entries(entries: Group, work: VerifyWork) -> list[dict[str, Any]]:
    """Search some entries; the listed ids and vectors found are told by number, which says nothing by itself."""
    found = search_entries(entries, work.baseline.open_reader(), work)
    return [
        work.checks.enter(name_work(entry.kind, entry.name), _report(one))
        for entry, one in zip(entries, found, strict=True)
    ]


def sum_up(work: VerifyWork, vectors_known: bool) -> Residue:
    """What one store comes to. Without `vectors_known` no vector was sought, only ids."""
    reader = work.baseline.open_reader()
    needles = [search.needles for search in open_searches(work.search)]
    ids, vectors = _Numbers(sum(one.ids for one in needles)), _Numbers(sum(one.vectors for one in needles))
    checks = []
    for name in work.checks.folder.glob("*.json"):  # one at a time: before a purge each names all that it found
        report = work.checks.find(name.stem) or {}
        ids.add(report["ids"])
        vectors.add(report["vectors"])
        checks.append(check_from_json(report["check"]))
    work.search.forget()
    baselines = work.baseline.baselines()
    planted = control(reader, work)
    # Without rows on either side the verdict answers its first question only: is anything listed left?
    verdict = judge_store(
        work.name,
        [replace(one, survivors=RowDigest()) for one in baselines],
        checks,
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
        ids=len(ids),
        vectors=len(vectors),
        ids_sought=sum(one.ids for one in needles),
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
    ranges = _seek_vectors(baselines, key)
    vectors, checks = _Numbers(sum(one.vectors for one in ranges)), []
    for entry in take_inventory(root):
        path = root / entry.path
        if entry.kind is Kind.FILE and not any(path.is_relative_to(one) for one in skipped):
            found = []
            for needles in ranges:
                examination = Examination(needles, key, None)
                check = check_data(entry.path, view_file(path), entry.modified_ns, examination)
                found.append(searched(check, examination))
            whole = reduce(join_searched, found)
            vectors.add(whole.vectors)
            checks.append(whole.check)
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
        vectors=len(vectors),
        ids_sought=0,
        vectors_sought=sum(one.vectors for one in ranges),
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


def _report(found: Searched) -> dict[str, Any]:
    return {"check": asdict(found.check), "ids": sorted(found.ids), "vectors": sorted(found.vectors)}


def _seek_vectors(baselines: Sequence[BaselineWork], key: bytes) -> list[Needles]:
    """The vectors of all stores, mapped from files that have no name any more."""
    folder = baselines[0].secret / "search" / ".outputs"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
        write_needles(folder, [], [file for one in baselines for file in one.fingerprints()], key)
        return open_needles(folder, key)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Numbers:
    """Which numbers below `limit` occurred, a bit each."""

    def __init__(self, limit: int) -> None:
        self._bits = np.zeros(limit // 8 + 1, np.uint8)

    def add(self, numbers: Iterable[int]) -> None:
        at = np.fromiter(numbers, np.int64)
        np.bitwise_or.at(self._bits, at >> 3, np.uint8(1) << (at & 7).astype(np.uint8))

    def __len__(self) -> int:
        return int(np.bitwise_count(self._bits).sum(dtype=np.int64))
