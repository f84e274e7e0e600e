"""Verify: everything a store consists of examined by a reader that shares no code with the purge, then one verdict.

    entries and units of a store ─ CheckStore ─ reports ─ (driver) ─ positive control ─ verdict

Nothing here imports what removes: the listed ids come from the manifests, the vectors from the baseline's fingerprints.
"""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.baseline import BaselineWork
from pipelines.ledger import Ledger, name_work
from schemas.errors import InputError
from stores.audit.arrays import binary_runs
from stores.audit.check import FileCheck, UnitCheck, check_data, check_rows
from stores.audit.containers import Format
from stores.audit.control import Control
from stores.audit.examine import Examination, Finding
from stores.audit.inventory import Kind
from stores.audit.needles import Needles, find_values, make_needles
from stores.audit.reader import KnowsFormats, Reader
from stores.audit.rows import RowDigest
from stores.audit.verdict import StoreVerdict, judge_store

_LOADING = threading.Lock()
"""Threads that start together load the needles once."""


class Piece(NamedTuple):
    """What one call checks: an entry of the store, by path, or the rows of a unit."""

    kind: str
    name: str
    modified_ns: int = 0
    """When the entry was changed last, as it was listed: what is written later is not what was looked at."""


class Search(NamedTuple):
    """What to look for in one store, and which listed ids are also part of somebody else's."""

    needles: Needles
    ambiguous: frozenset[int]


@dataclass(frozen=True)
class VerifyWork:
    """What the workers need to know about one store."""

    name: str
    baseline: BaselineWork
    parts: tuple[Path, ...]
    """The parts of all manifests."""
    column: str
    """Which id of an entry names a row of this store."""
    checks: Ledger
    scratch: Path
    attempt: str
    """Tells one verification from the next in what a process remembers."""


class CheckStore(beam.PTransform):
    """PCollection[None], one element → PCollection[dict], what was found in each entry and unit of the store."""

    def __init__(self, work: VerifyWork) -> None:
        self.work = work

    def expand(self, start: beam.PCollection) -> beam.PCollection:
        """List everything, examine each."""
        pieces = start | "ListPieces" >> beam.FlatMap(list_pieces, self.work) | beam.Reshuffle()
        return pieces | "CheckPiece" >> beam.Map(check_piece, self.work)


def list_pieces(start: object, work: VerifyWork) -> Iterator[Piece]:
    """Everything that is to be looked at."""
    del start
    reader = work.baseline.open_reader()
    for entry in reader.entries():
        if entry.kind is Kind.FILE:
            yield Piece("entry", entry.path, entry.modified_ns)
    if not reader.rows_in_files:
        yield from (Piece("unit", unit) for unit in reader.units())


def check_piece(piece: Piece, work: VerifyWork) -> dict[str, Any]:
    """Examine one entry or unit; what cannot be read is a report with its problem, never a clean one."""
    reader = work.baseline.open_reader()
    check = check_entry(piece, reader, work) if piece.kind == "entry" else check_unit(piece.name, reader, work)
    return work.checks.enter(name_work(piece.kind, piece.name), {"piece": piece.kind, "check": asdict(check)})


def check_entry(piece: Piece, reader: Reader, work: VerifyWork) -> FileCheck:
    """Search one entry."""
    return check_with(new_examination(reader, work), piece, reader)


def new_examination(reader: Reader, work: VerifyWork) -> Examination:
    """A search for everything listed, to be used on one entry."""
    search = load_search(reader, work)
    return Examination(
        search.needles,
        work.baseline.key(),
        work.baseline.section.key,
        packed=reader.packed,
        ambiguous=search.ambiguous,
    )


def check_with(examination: Examination, piece: Piece, reader: Reader) -> FileCheck:
    """Search one entry with `examination`; one that cannot be read has a problem and no finding."""
    try:
        known = reader.format(piece.name) if isinstance(reader, KnowsFormats) else None
        return check_data(piece.name, reader.view(piece.name), piece.modified_ns, examination, known)
    except OSError as error:
        return FileCheck(piece.name, 0, 0, Format.EMPTY, (), (f"cannot be read: {error.strerror}",), None, None, 0)


def check_unit(unit: str, reader: Reader, work: VerifyWork) -> UnitCheck:
    """Digest the rows of one unit."""
    try:
        return check_rows(reader.name(unit), reader.read(unit), work.baseline.key())
    except (InputError, OSError, pa.ArrowException) as error:
        return UnitCheck(reader.name(unit), None, None, f"its rows cannot be read ({type(error).__name__})")


_searches: dict[str, Search] = {}


def load_search(reader: Reader, work: VerifyWork) -> Search:
    """What to look for in one store, once a process."""
    with _LOADING:
        if work.attempt not in _searches:
            _searches.clear()
            _searches[work.attempt] = _load_search(reader, work)
        return _searches[work.attempt]


def _load_search(reader: Reader, work: VerifyWork) -> Search:
    needles = make_needles(listed_ids(work.parts, work.column), work.baseline.fingerprints(), work.baseline.key())
    if not reader.packed:
        return Search(needles, frozenset())  # a file's own keys tell, when it is examined
    examination = Examination(needles, work.baseline.key(), work.baseline.section.key, packed=True)
    for unit in reader.units():
        rows = reader.read(unit)
        for batch in rows.batches:
            keys = batch.column(rows.fields.names.index(work.baseline.section.key))
            runs = binary_runs(keys.cast(pa.string()).cast(pa.large_binary()))
            examination.note_ambiguous(runs, find_values(runs, needles.tables))
    return Search(needles, frozenset(examination.ambiguous))


def listed_ids(parts: Iterable[Path], column: str) -> pa.Array:
    """The ids to be erased, read from the manifests themselves: what the purge made of them proves nothing."""
    found = [pa.array([], pa.large_string())]
    for part in parts:
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(columns=[column, "tier"]):
                found.append(batch.column(column).filter(pc.equal(batch.column("tier"), "erase")))
    return pa.concat_arrays(found)


def judge(work: VerifyWork) -> StoreVerdict:
    """The verdict over one store, from what was noted of every unit before and found in everything now."""
    reader = work.baseline.open_reader()
    reports = list(work.checks.entries().values())
    return judge_store(
        work.name,
        work.baseline.baselines(),
        [check_from_json(report["check"]) for report in reports if report["piece"] == "entry"],
        reader.entries(),
        control(reader, work),
        None
        if reader.rows_in_files
        else [_unit_from_json(report["check"]) for report in reports if report["piece"] == "unit"],
    )


def control(reader: Reader, work: VerifyWork) -> Control | None:
    """The positive control, written as the store's own rows are; None if that cannot be done."""
    work.scratch.mkdir(parents=True, exist_ok=True)
    return reader.control(work.scratch, work.baseline.key())


def _unit_from_json(record: dict[str, Any]) -> UnitCheck:
    return UnitCheck(**{**record, "rows": RowDigest(**record["rows"]) if record["rows"] else None})


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
