"""One verdict per store, from what was there before and what every file shows now.

Two questions, two answers that do not depend on each other: is anything listed left (`status`), and is everything else
still there (`rows`)? A store that cannot be read whole is UNVERIFIED; it is never clean.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stores.audit.baseline import UnitBaseline
from stores.audit.check import FileCheck, UnitCheck, printable
from stores.audit.control import Control
from stores.audit.inventory import Entry, Kind
from stores.audit.rows import RowDigest


class Status(enum.StrEnum):
    """Whether anything listed is left."""

    CLEAN = "CLEAN"
    RESIDUE = "RESIDUE"
    UNVERIFIED = "UNVERIFIED"


class Rows(enum.StrEnum):
    """Whether every other row is still there, unchanged."""

    INTACT = "INTACT"
    MOVED = "MOVED"
    """All of them, but some in other files than before."""
    CHANGED = "CHANGED"
    """All of them, but what a file says about them (schema, types, metadata) is not the same."""
    LOST = "LOST"
    """Rows are missing, were added, or hold other values."""
    UNVERIFIED = "UNVERIFIED"


@dataclass(frozen=True)
class FileFinding:
    """A finding and the file it is in; a name that itself holds a listed id is withheld."""

    file: str
    what: str
    where: str
    count: int
    row_group: int | None
    column: str | None


@dataclass(frozen=True)
class StoreVerdict:
    """What an auditor reads, and `to_json` writes. `reasons` are sentences without personal data."""

    store: str
    status: Status
    rows: Rows
    reasons: tuple[str, ...]
    findings: tuple[FileFinding, ...]
    files: int
    bytes: int
    rows_before: int
    rows_listed: int
    survivors_before: RowDigest
    survivors_after: RowDigest
    vectors_sought: int
    vectors_untraceable: int
    control: Control | None

    @property
    def passed(self) -> bool:
        """Whether nothing listed is left and nothing else was lost or changed."""
        return self.status is Status.CLEAN and self.rows in (Rows.INTACT, Rows.MOVED)

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        return asdict(self)


def judge_store(
    store: str,
    baselines: Sequence[UnitBaseline],
    checks: Sequence[FileCheck],
    inventory: Sequence[Entry],
    control: Control | None,
    units: Sequence[UnitCheck] | None = None,
) -> StoreVerdict:
    """Judge `store` from the baseline of every unit before, a check of every file after, and what is there now.

    `inventory` is taken after the checks, so that a file written meanwhile is seen. Without a passed `control` nothing
    is clean. `units` are the rows after, where files do not tell them.
    """
    checks = sorted(checks, key=lambda check: check.file)
    findings = tuple(
        FileFinding(_shown(check), one.what, one.where, one.count, one.row_group, one.column)
        for check in checks
        for one in check.findings
    )
    doubts = [f"{_shown(check)}: {problem}" for check in checks for problem in check.problems]
    doubts += _unchecked(checks, inventory) + _doubt_search(baselines, control)
    before = sum((one.survivors for one in baselines), RowDigest())
    now = _units_of(checks) if units is None else {unit.unit: unit for unit in units}
    doubts += [f"{unit.unit}: {unit.problem}" for unit in now.values() if unit.problem]
    after = sum((unit.rows for unit in now.values() if unit.rows is not None), RowDigest())
    rows, row_reasons = _judge_rows(baselines, now, before, after)
    found = [f"{one.file}: {one.count} {one.what}(s) in {one.where}" for one in findings]
    return StoreVerdict(
        store=store,
        status=Status.RESIDUE if findings else Status.UNVERIFIED if doubts else Status.CLEAN,
        rows=rows,
        reasons=tuple(found + doubts + row_reasons),
        findings=findings,
        files=len(checks),
        bytes=sum(check.size for check in checks),
        rows_before=sum(one.rows for one in baselines),
        rows_listed=sum(one.listed for one in baselines),
        survivors_before=before,
        survivors_after=after,
        vectors_sought=sum(one.vectors for one in baselines),
        vectors_untraceable=sum(one.untraceable for one in baselines),
        control=control,
    )


def _shown(check: FileCheck) -> str:
    if any(one.where == "file name" for one in check.findings):
        return f"(a file of {check.size} bytes whose name holds a listed id)"
    return check.file


def _unchecked(checks: Sequence[FileCheck], inventory: Sequence[Entry]) -> list[str]:
    """Files nobody looked at, or that were written after somebody did."""
    known = {check.file: check for check in checks}
    doubts = []
    for entry in inventory:
        name = printable(entry.path)
        check = known.get(name)
        if entry.kind is Kind.LINK_INSIDE:
            continue
        if entry.kind is not Kind.FILE:
            doubts.append(f"{name}: {entry.kind}, not followed")
        elif check is None:
            doubts.append(f"{name}: was not examined")
        elif (check.size, check.modified_ns) != (entry.size, entry.modified_ns):
            doubts.append(f"{_shown(check)}: changed while it was being verified")
    return doubts


def _doubt_search(baselines: Sequence[UnitBaseline], control: Control | None) -> list[str]:
    doubts = []
    if control is None:
        doubts.append("no positive control was run")
    elif not control.passed:
        doubts.append(f"the positive control found {control.found} of {control.planted} planted ids and vectors")
    vectors = sum(one.vectors for one in baselines)
    if vectors and vectors == sum(one.untraceable for one in baselines):
        doubts.append(f"none of the {vectors} listed vectors can be told from others by its bytes")
    return doubts


def _units_of(checks: Sequence[FileCheck]) -> dict[str, UnitCheck]:
    """The rows that files tell, by the name of the file as it may be shown.

    A file whose name holds a listed id is found by the name all the same: it is compared, and not printed.
    """
    return {check.file: UnitCheck(_shown(check), check.rows, check.schema) for check in checks}


def _judge_rows(
    baselines: Sequence[UnitBaseline], now: Mapping[str, UnitCheck], before: RowDigest, after: RowDigest
) -> tuple[Rows, list[str]]:
    unread = [one.unit for one in baselines if one.unit in now and now[one.unit].rows is None]
    if unread:
        return Rows.UNVERIFIED, [f"{now[name].unit}: its rows could not be read" for name in unread]
    different = [one for one in baselines if _rows_of(now.get(one.unit)) != one.survivors]
    if before != after:
        return Rows.LOST, [_difference(one.survivors, now.get(one.unit)) for one in different] + [
            f"{unit.unit}: was not there before and holds {unit.rows.rows} rows"
            for name, unit in now.items()
            if unit.rows is not None and unit.rows.rows and name not in {one.unit for one in baselines}
        ]
    changed = [one.unit for one in baselines if one.unit in now and now[one.unit].schema != one.schema]
    if changed:
        return Rows.CHANGED, [f"{now[name].unit}: its schema or metadata is not as it was" for name in changed]
    if different:
        return Rows.MOVED, [f"all rows are there, but those of {len(different)} units are not where they were"]
    return Rows.INTACT, []


def _rows_of(unit: UnitCheck | None) -> RowDigest:
    return RowDigest() if unit is None or unit.rows is None else unit.rows


def _difference(before: RowDigest, unit: UnitCheck | None) -> str:
    name, after = unit.unit if unit else "a unit that is gone", _rows_of(unit)
    if after.rows < before.rows:
        return f"{name}: {before.rows - after.rows} of {before.rows} rows that must stay are missing"
    if after.rows > before.rows:
        return f"{name}: {after.rows - before.rows} rows more than should be left"
    return f"{name}: {after.rows} rows as before, but not all with the same values"
