"""What there is to read: every Parquet file of the input, checked before any work, cut into units.

A unit is a run of row groups of one file, some tens or hundreds of thousands of rows: the piece of work that one call
reads.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import InputError
from schemas.files import canonical_json, digest_bytes, split_glob, write_json
from schemas.records import plan_reading

UNIT_ROWS = 65_536
MOST_UNIT_ROWS = 1_000_000
MESSAGE_ROWS = 1_000
"""So many rows a unit sends to each shard, if it can: a message costs some 50 microseconds, however short."""


@dataclass(frozen=True)
class InputFile:
    """One file of the input. `fault` says why it cannot be read, if it cannot; it then counts no rows."""

    name: str
    size: int
    modified_ns: int
    footer_sha256: str
    row_groups: tuple[int, ...]
    fault: str | None = None

    @property
    def rows(self) -> int:
        """Rows that the footer promises."""
        return sum(self.row_groups)


@dataclass(frozen=True)
class Unit:
    """Row groups `first` to `last` (exclusive) of a file, of which the first row is row `first_row` of the file."""

    index: int
    file: str
    first: int
    last: int
    first_row: int
    rows: int


@dataclass(frozen=True)
class Inventory:
    """All files of the input, sorted by name, relative to `root`."""

    root: Path
    files: tuple[InputFile, ...]

    @property
    def rows(self) -> int:
        """Records in all files that can be read."""
        return sum(file.rows for file in self.files)

    @property
    def digest(self) -> str:
        """Digest of names, sizes and footers: the same wherever and whenever the same files are read."""
        described = [(file.name, file.size, file.footer_sha256, file.fault or "") for file in self.files]
        return digest_bytes(canonical_json(described))

    def units(self) -> Iterator[Unit]:
        """The units in the order of the files, at least one row group each."""
        index, at_once = 0, rows_at_once(self.rows)
        for file in self.files:
            for first, last, first_row, rows in _runs(file.row_groups, at_once):
                yield Unit(index, file.name, first, last, first_row, rows)
                index += 1

    def save(self, file: Path) -> None:
        """Write the inventory where every worker can read it, so that the job graph need not carry it."""
        write_json(file, {"root": str(self.root), "files": [asdict(found) for found in self.files]})

    @classmethod
    def load(cls, file: Path) -> "Inventory":
        """Read what `save` wrote."""
        content = json.loads(file.read_bytes())
        files = (InputFile(**{**found, "row_groups": tuple(found["row_groups"])}) for found in content["files"])
        return cls(Path(content["root"]), tuple(files))


def rows_at_once(records: int) -> int:
    """How many rows a unit, and a shard, of an input of so many records has: what a worker holds in memory at a time.

    Every unit sends rows to every shard, so the more there is, the larger both have to be for messages not to become
    too small: `MESSAGE_ROWS` go into each up to a thousand million records. From there on memory counts for more.
    """
    return min(max(math.isqrt(MESSAGE_ROWS * records), UNIT_ROWS), MOST_UNIT_ROWS)


def take_inventory(path: Path, columns: Mapping[str, str]) -> Inventory:
    """List the input and check the schema of every file.

    Raises:
        InputError: nothing there, no Parquet file, no file that can be read, or a schema that does not fit.

    """
    root, paths = list_parquet(path)
    with ThreadPoolExecutor(8) as pool:
        files = tuple(pool.map(lambda found: _describe(root, found, columns), paths))
    if all(file.fault for file in files):
        raise InputError(f"none of the {len(files)} Parquet files under {str(path)!r} can be read: {files[0].fault}")
    return Inventory(root, files)


def list_parquet(path: Path) -> tuple[Path, list[Path]]:
    """The root and the sorted Parquet files of a folder (recursive), a file or a glob; hidden files are not input.

    Raises:
        InputError: it does not exist, or holds no Parquet file.

    """
    root, pattern = split_glob(path)
    if not root.is_dir():
        raise InputError(f"{str(path)!r} does not exist; it must be a Parquet file, a folder of them, or a glob")
    found = [file for file in (root.glob(pattern) if pattern else root.rglob("*.parquet")) if file.is_file()]
    visible = [file for file in found if not any(part.startswith(".") for part in file.relative_to(root).parts)]
    if not visible:
        raise InputError(f"there is no Parquet file under {str(path)!r}; lethe reads files whose names end in .parquet")
    return root, sorted(visible)


def as_first_read(now: Inventory, first: Inventory, rewritten: Iterable[tuple[str, int, int]]) -> Inventory:
    """The inventory with the files that a purge rewrote described as they were when they were scored.

    Args:
        now: the input as it is.
        first: the input as it was scored.
        rewritten: real path, size and time of change of every file as the purge left it.

    """
    known, left = {file.name: file for file in first.files}, set(rewritten)

    def described(file: InputFile) -> InputFile:
        identity = (os.path.realpath(now.root / file.name), file.size, file.modified_ns)
        return known.get(file.name, file) if identity in left else file

    return Inventory(now.root, tuple(map(described, now.files)))


def read_unit(
    inventory_root: Path, unit: Unit, columns: Mapping[str, str], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """The batches of one unit, in schema `RECORD`. Raises OSError or an ArrowException where the file is broken."""
    with pq.ParquetFile(inventory_root / unit.file, memory_map=True) as file:
        reading = plan_reading(file.schema_arrow, columns, unit.file)
        groups = list(range(unit.first, unit.last))
        for batch in file.iter_batches(batch_rows, row_groups=groups, columns=reading.columns, use_threads=False):
            yield reading.conform(batch)


def _describe(root: Path, path: Path, columns: Mapping[str, str]) -> InputFile:
    status = path.stat()
    name = str(path.relative_to(root))
    try:
        with pq.ParquetFile(path) as file:
            metadata, schema = file.metadata, file.schema_arrow
            groups = tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
            footer = footer_digest(path)
    except (OSError, pa.ArrowException) as error:
        fault = type(error).__name__ + ": " + str(error).split("\n")[0][:200].replace(str(root), "")
        return InputFile(name, status.st_size, status.st_mtime_ns, "", (), fault)
    plan_reading(schema, columns, name)
    return InputFile(name, status.st_size, status.st_mtime_ns, footer, groups)


def footer_digest(path: Path) -> str:
    """SHA-256 of the footer of a Parquet file: its schema, where every page lies, and its statistics."""
    with path.open("rb") as file:
        file.seek(-8, 2)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-8 - length, 2)
        return hashlib.sha256(file.read(length)).hexdigest()


def _runs(row_groups: tuple[int, ...], at_once: int) -> Iterator[tuple[int, int, int, int]]:
    first = first_row = rows = 0
    for index, size in enumerate(row_groups):
        if rows and rows + size > at_once:
            yield first, index, first_row, rows
            first, first_row, rows = index, first_row + rows, 0
        rows += size
    if rows:
        yield first, len(row_groups), first_row, rows
