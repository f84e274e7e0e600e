"""Verify: everything a store consists of examined by a reader that shares no code with the purge, then one verdict.

    entries and units of a store ─ CheckStore ─ reports ─ (driver) ─ positive control ─ verdict

What is sought is on disk, in ranges whose sieves fit memory (see `pipelines.search`): where there are several, files
are taken in groups that are large beside the sieves, so that many share the loading of a range.

Nothing here imports what removes: the listed ids come from the manifests, the vectors from the baseline's fingerprints.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa

from pipelines.baseline import BaselineWork
from pipelines.ledger import Ledger, name_work
from pipelines.search import Search, SearchWork, open_searches
from schemas.errors import InputError
from stores.audit.check import FileCheck, UnitCheck, check_data, check_rows
from stores.audit.containers import Format
from stores.audit.control import Control
from stores.audit.examine import Examination, Finding, in_order
from stores.audit.inventory import Kind
from stores.audit.needle_files import NEEDLES_AT_ONCE
from stores.audit.reader import KnowsFormats, Reader
from stores.audit.rows import RowDigest
from stores.audit.verdict import StoreVerdict, judge_store

GROUP_BYTES = 4 << 30
"""So much of a store is searched for one range before the next is loaded."""


class Piece(NamedTuple):
    """What one call checks: an entry of the store, by path, or the rows of a unit."""

    kind: str
    name: str
    modified_ns: int = 0
    """When the entry was changed last, as it was listed: what is written later is not what was looked at."""
    size: int = 0


Group = tuple[Piece, ...]
"""Pieces that are searched together."""


class Searched(NamedTuple):
    """What one entry came to, and the numbers of the ids and vectors found in it, which say nothing by themselves."""

    check: FileCheck
    ids: frozenset[int]
    vectors: frozenset[int]


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
    at_once: int = NEEDLES_AT_ONCE
    """About how many needles are sought at once."""

    @property
    def search(self) -> SearchWork:
        """What is sought, written down beside the fingerprints and destroyed with them if not before."""
        folder = self.baseline.secret / "search" / self.name / name_work(self.attempt)
        return SearchWork(self.baseline, self.parts, self.column, folder, self.at_once)


class CheckStore(beam.PTransform):
    """PCollection[None], one element → PCollection[dict], what was found in each entry and unit of the store."""

    def __init__(self, work: VerifyWork) -> None:
        self.work = work

    def expand(self, start: beam.PCollection) -> beam.PCollection:
        """List everything, examine each."""
        pieces = start | "ListPieces" >> beam.FlatMap(list_groups, self.work) | beam.Reshuffle()
        return pieces | "CheckPieces" >> beam.FlatMap(check_pieces, self.work)


def list_groups(start: object, work: VerifyWork) -> Iterator[Group]:
    """Everything that is to be looked at, in groups; the search is written down before."""
    return in_groups(list_pieces(start, work), work)


def list_pieces(start: object, work: VerifyWork) -> Iterator[Piece]:
    """Everything that is to be looked at."""
    del start
    reader = work.baseline.open_reader()
    for entry in reader.entries():
        if entry.kind is Kind.FILE:
            yield Piece("entry", entry.path, entry.modified_ns, entry.size)
    if not reader.rows_in_files:
        yield from (Piece("unit", unit) for unit in reader.units())


def in_groups(pieces: Iterable[Piece], work: VerifyWork) -> Iterator[Group]:
    """Pieces to be searched together: one by one, or entries of about `GROUP_BYTES` where there are several ranges."""
    least = GROUP_BYTES if len(open_searches(work.search)) > 1 else 0
    held: list[Piece] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += piece.size
        if size >= least or piece.kind == "unit":
            yield tuple(held)
            held, size = [], 0
    if held:
        yield tuple(held)


def check_piece(piece: Piece, work: VerifyWork) -> dict[str, Any]:
    """Examine one entry or unit; what cannot be read is a report with its problem, never a clean one."""
    (report,) = check_pieces((piece,), work)
    return report


def check_pieces(pieces: Group, work: VerifyWork) -> list[dict[str, Any]]:
    """Examine some entries and units, as `check_piece` does."""
    reader = work.baseline.open_reader()
    entries = [piece for piece in pieces if piece.kind == "entry"]
    checks: list[tuple[Piece, FileCheck | UnitCheck]] = [
        (piece, one.check) for piece, one in zip(entries, search_entries(entries, reader, work), strict=True)
    ]
    checks += [(piece, check_unit(piece.name, reader, work)) for piece in pieces if piece.kind == "unit"]
    return [
        work.checks.enter(name_work(piece.kind, piece.name), {"piece": piece.kind, "check": asdict(check)})
        for piece, check in checks
    ]


def search_entries(entries: Sequence[Piece], reader: Reader, work: VerifyWork) -> list[Searched]:
    """Search each of some entries for everything listed, one range after the other."""
    found: list[Searched] = []
    for search in open_searches(work.search) if entries else ():
        now = [_search_entry(entry, search, reader, work) for entry in entries]
        found = [join_searched(*both) for both in zip(found, now, strict=True)] if found else now
    return found


def _search_entry(entry: Piece, search: Search, reader: Reader, work: VerifyWork) -> Searched:
    examination = Examination(
        search.needles,
        work.baseline.key(),
        work.baseline.section.key,
        packed=reader.packed,
        ambiguous=search.ambiguous,
    )
    return searched(check_with(examination, entry, reader), examination)


def searched(check: FileCheck, examination: Examination) -> Searched:
    """What a search of one range came to."""
    return Searched(check, examination.numbers("id"), examination.numbers("vector"))


def join_searched(one: Searched, other: Searched) -> Searched:
    """The searches of two ranges in the same bytes as one: nobody is in both, and everything else is told once."""
    counts: Counter[Finding] = Counter()
    for finding in (*one.check.findings, *other.check.findings):
        place = replace(finding, count=0)
        told_twice = finding.what not in ("id", "vector")
        counts[place] = max(counts[place], finding.count) if told_twice else counts[place] + finding.count
    problems = [*one.check.problems, *other.check.problems]
    if any(getattr(one.check, name) != getattr(other.check, name) for name in ("size", "format", "rows", "schema")):
        problems.append("it changed while it was being verified")
    check = replace(
        one.check,
        findings=in_order(replace(place, count=count) for place, count in counts.items()),
        problems=tuple(dict.fromkeys(problems)),
        ambiguous_ids=one.check.ambiguous_ids + other.check.ambiguous_ids,
    )
    return Searched(check, one.ids | other.ids, one.vectors | other.vectors)


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


def judge(work: VerifyWork) -> StoreVerdict:
    """The verdict over one store, from what was noted of every unit before and found in everything now.

    What was looked for is forgotten.
    """
    work.search.forget()
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
