"""Examine one file after a purge: what is left in its bytes of anything listed, and which rows it holds.

Every file's bytes are scanned as they are. Of a Parquet file every compressed page is scanned unpacked, every byte
string in its Thrift structs by itself, Bloom filters are built again, and the rows are decoded: for their digest, for
ids by equality, and for vectors that an encoding takes apart (dictionary, delta, byte stream split). Compressed files
and archives are unpacked and examined likewise. No id and no part of a vector is in what is returned.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stores.audit.containers import Format
from stores.audit.examine import Examination, Finding
from stores.audit.needles import Needles
from stores.audit.rows import RowDigest, Rows, digest_rows
from stores.audit.siphash import Bytes


@dataclass(frozen=True)
class FileCheck:
    """What was found in one file, safe to print as long as `findings` has no `file name`.

    `problems` say why the file cannot be called clean although nothing was found. `rows` and `schema` are of a readable
    Parquet file with rows of its own, None otherwise. `ambiguous_ids` listed ids occur inside other, surviving keys of
    the file, so that in this file they were sought as whole values only.
    """

    file: str
    size: int
    modified_ns: int
    format: Format
    findings: tuple[Finding, ...]
    problems: tuple[str, ...]
    rows: RowDigest | None
    schema: str | None
    ambiguous_ids: int


def check_file(root: Path, path: str, needles: Needles, key: bytes, key_column: str | None = None) -> FileCheck:
    """Examine the file at `path` below `root`; see `check_data`. Raises OSError if the file cannot be read."""
    status = os.stat(root / path)
    return check_data(path, view_file(root / path), status.st_mtime_ns, Examination(needles, key, key_column))


def check_data(
    path: str, data: Bytes, modified_ns: int, examination: Examination, known: Format | None = None
) -> FileCheck:
    """Examine `data`, the bytes of one entry of a store, and its name, with a new `examination`.

    What they are is told by the bytes, unless their format is `known` by the place they have in the store.

    Memory is bounded by the larger of one page, `rows.BATCH_BYTES` decoded, and `containers.LARGEST_CONTENT` for packed
    files.
    """
    examination.scan_name(path)
    kind = examination.examine(data, known=known)
    return FileCheck(
        file=printable(path),
        size=len(data),
        modified_ns=modified_ns,
        format=kind,
        findings=examination.findings(),
        problems=tuple(examination.problems),
        rows=examination.rows,
        schema=examination.schema,
        ambiguous_ids=len(examination.ambiguous),
    )


@dataclass(frozen=True)
class UnitCheck:
    """The rows of one unit after a purge; `problem` says why they could not be read, and then there are none."""

    unit: str
    rows: RowDigest | None
    schema: str | None
    problem: str | None = None


def check_rows(unit: str, rows: Rows, key: bytes) -> UnitCheck:
    """Digest the rows of one unit, as its baseline was. Raises what reading them raises."""
    digest = sum((digest_rows(batch, key) for batch in rows.batches), RowDigest())
    return UnitCheck(unit, digest, rows.schema)


def printable(path: str) -> str:
    """A path as text that every encoding can write; what is no UTF-8 is escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def view_file(path: Path) -> Bytes:
    """The bytes of a file, mapped rather than read, so that its size costs no memory."""
    if not path.stat().st_size:
        return np.zeros(0, np.uint8)
    # A plain view: the scan is compiled for arrays, not for numpy's memmap.
    return np.asarray(np.memmap(path, np.uint8, "r"))
