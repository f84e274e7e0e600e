"""What only shows when all records are compared: ids that occur twice, faces of two subjects, switchboard numbers.

Every usable record sends its ids, hashed to 128 bits, to a shard of their own; there equal ids meet, and what is found
is spilled for the shard of the record's subject.
"""

import enum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.countries import NONE
from schemas.evidence import NullReason
from schemas.hashing import hash_strings
from schemas.quarantine import Fault


class IdKind(enum.IntEnum):
    """Which id of a record a row of `IDS` is."""

    RECORD = 0
    FACE = 1
    PHONE = 2


class Finding(enum.IntEnum):
    """What was found about a record."""

    DUPLICATE_RECORD_ID = 0
    FACE_OF_SEVERAL_SUBJECTS = 1
    SWITCHBOARD = 2


IDS = pa.schema(
    [
        pa.field("kind", pa.uint8(), nullable=False),
        pa.field("first", pa.uint64(), nullable=False),
        pa.field("second", pa.uint64(), nullable=False),
        pa.field("subject", pa.uint64(), nullable=False),
        pa.field("unit", pa.int32(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
    ]
)

FINDINGS = pa.schema(
    [
        pa.field("unit", pa.int32(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("finding", pa.uint8(), nullable=False),
        pa.field("subject", pa.uint64(), nullable=False),
    ]
)


def list_ids(evidence: pa.Table, subjects: npt.NDArray[np.uint64]) -> pa.Table:
    """The ids of the usable records of a batch of `EVIDENCE`, as rows of `IDS`; `subjects` are hashed subject ids."""
    usable = column(evidence, "fault") == Fault.NONE
    unit, row, phone = (column(evidence, name) for name in ("unit", "row", "phone_hash"))
    record, face = (evidence.column(name).combine_chunks() for name in ("record_id", "face_id"))
    ids = (
        (IdKind.RECORD, usable, hash_strings(record), hash_strings(record, second=True)),
        (IdKind.FACE, usable, hash_strings(face), hash_strings(face, second=True)),
        (IdKind.PHONE, usable & (phone != 0), phone, np.zeros_like(phone)),
    )
    parts = []
    for kind, has, *hashes in ids:
        rows = np.flatnonzero(has)
        columns = (values[rows] for values in (*hashes, subjects, unit, row))
        arrays = [np.full(len(rows), kind, np.uint8), *columns]
        parts.append(pa.Table.from_arrays([pa.array(array) for array in arrays], schema=IDS))
    return pa.concat_tables(parts)


def compare_ids(ids: pa.Table, switchboard_subjects: int) -> pa.Table:
    """What rows of `IDS`, in any order, show about each other, as `FINDINGS`.

    The first record in file order keeps a repeated id. A face given to several subjects is taken from all of them:
    erasing it for one would take it from the other. A number on more than `switchboard_subjects` subjects is nobody's.
    """
    ids = ids.filter(pa.array(_repeated(column(ids, "first"))))
    if len(ids) == 0:
        return FINDINGS.empty_table()
    kind, first, second, subject, unit, row = (column(ids, name) for name in IDS.names)
    order = np.lexsort((row, unit, second, first, kind))
    kind, first, second, subject, unit, row = (values[order] for values in (kind, first, second, subject, unit, row))

    begins = np.r_[True, (kind[1:] != kind[:-1]) | (first[1:] != first[:-1]) | (second[1:] != second[:-1])]
    group = np.cumsum(begins) - 1
    subjects_in = _distinct_in(group, subject)[group]
    found = (
        (Finding.DUPLICATE_RECORD_ID, (kind == IdKind.RECORD) & ~begins),
        (Finding.FACE_OF_SEVERAL_SUBJECTS, (kind == IdKind.FACE) & (subjects_in > 1)),
        (Finding.SWITCHBOARD, (kind == IdKind.PHONE) & (subjects_in > switchboard_subjects)),
    )
    parts = [
        pa.Table.from_arrays(
            [
                pa.array(unit[hit]),
                pa.array(row[hit]),
                pa.array(np.full(hit.sum(), name, np.uint8)),
                pa.array(subject[hit]),
            ],
            schema=FINDINGS,
        )
        for name, hit in found
    ]
    return pa.concat_tables(parts)


def apply_findings(evidence: pa.Table, findings: pa.Table) -> pa.Table:
    """Evidence, sorted by (unit, row), with what was found about it: faults set, switchboard numbers silenced."""
    unit, row = column(evidence, "unit").astype(np.int64), column(evidence, "row")
    place = _positions(unit, row, column(findings, "unit").astype(np.int64), column(findings, "row"))
    finding = column(findings, "finding")
    faults, number, reason = (column(evidence, name).copy() for name in ("fault", "phone_value", "phone_reason"))
    switchboards = place[finding == Finding.SWITCHBOARD]
    number[switchboards], reason[switchboards] = NONE, NullReason.SWITCHBOARD
    faults[place[finding == Finding.FACE_OF_SEVERAL_SUBJECTS]] = Fault.FACE_OF_SEVERAL_SUBJECTS
    faults[place[finding == Finding.DUPLICATE_RECORD_ID]] = Fault.DUPLICATE_RECORD_ID
    for name, values in (("fault", faults), ("phone_value", number), ("phone_reason", reason)):
        index = evidence.schema.get_field_index(name)
        evidence = evidence.set_column(index, evidence.schema.field(name), pa.array(values))
    return evidence


def column(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """A numeric column without nulls as one numpy array."""
    values: npt.NDArray[Any] = table.column(name).to_numpy()
    return values


def _repeated(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Whether each value occurs more than once: nearly no id does, and the others have nothing to be compared with."""
    ordered = np.sort(values)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.isin(values, twice)


def _distinct_in(group: npt.NDArray[np.int64], values: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """How many distinct values each group has; `group` ascending from 0."""
    order = np.lexsort((values, group))
    ordered_group, ordered = group[order], values[order]
    new = np.r_[True, (ordered_group[1:] != ordered_group[:-1]) | (ordered[1:] != ordered[:-1])]
    return np.bincount(ordered_group[new])


def _positions(
    unit: npt.NDArray[np.int64],
    row: npt.NDArray[np.int64],
    wanted_unit: npt.NDArray[np.int64],
    wanted_row: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Where each wanted (unit, row) stands in the sorted (unit, row); every wanted one is there."""
    starts = np.searchsorted(unit, wanted_unit, "left")
    stops = np.searchsorted(unit, wanted_unit, "right")
    out = np.empty(len(wanted_unit), np.int64)
    for block in np.unique(starts):
        of_block = starts == block
        stop = stops[of_block][0]
        out[of_block] = block + np.searchsorted(row[block:stop], wanted_row[of_block])
    return out
