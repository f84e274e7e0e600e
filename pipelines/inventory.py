"""What there is to read: every Parquet file of the input, checked before any work, cut into units.

The input is on a file system, and mapped into memory, or on object storage, and read by ranges.

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
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import InputError
from schemas.files import canonical_json, digest_bytes, split_glob, write_json
from schemas.records import plan_reading
from schemas.s3 import ObjectFile, Place, list_objects

UNIT_ROWS = 65_536

Root = Path | Place
"""What names of files are relative to: a folder, or what an `s3://` path stands for."""
MOST_UNIT_ROWS = 1_000_000
MESSAGE_ROWS = 1_000
"""So many rows a unit sends to each shard, if it can: a message costs some 50 microseconds, however short."""


@dataclass(frozen=True)
class InputFile:
    """One file of the input. `fault` says why it cannot be read, if it cannot; it then counts no rows.

    `modified_ns` of an object also depends on its ETag, so that name, size and time tell two versions apart.
    """

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

    root: Root
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
        options = dict(self.root.options) if isinstance(self.root, Place) else None
        files = [asdict(found) for found in self.files]
        write_json(file, {"root": str(self.root), "options": options, "files": files})

    @classmethod
    def load(cls, file: Path) -> "Inventory":
        """Read what `save` wrote."""
        content = json.loads(file.read_bytes())
        files = (InputFile(**{**found, "row_groups": tuple(found["row_groups"])}) for found in content["files"])
        root, options = content["root"], content["options"]
        return cls(Path(root) if options is None else Place.of(root, options), tuple(files))


def rows_at_once(records: int) -> int:
    """How many rows a unit, and a shard, of an input of so many records has: what a worker holds in memory at a time.

    Every unit sends rows to every shard, so the more there is, the larger both have to be for messages not to become
    too small: `MESSAGE_ROWS` go into each up to a thousand million records. From there on memory counts for more.
    """
    return min(max(math.isqrt(MESSAGE_ROWS * records), UNIT_ROWS), MOST_UNIT_ROWS)


@dataclass(frozen=True, order=True)
class _Found:
    """A file as a listing tells it; `etag` only on object storage."""

    name: str
    size: int
    modified_ns: int
    etag: str = ""


def take_inventory(source: Root, columns: Mapping[str, str]) -> Inventory:
    """List the input and check the schema of every file.

    Raises:
        InputError: nothing there, no Parquet file, no file that can be read, or a schema that does not fit.
        LetheError: a server cannot be reached.

    """
    root, found = _list_objects(source) if isinstance(source, Place) else _list_files(source)
    with ThreadPoolExecutor(8) as pool:
        files = tuple(pool.map(lambda one: _describe(root, one, columns), sorted(found)))
    if all(file.fault for file in files):
        raise InputError(f"none of the {len(files)} Parquet files under {str(source)!r} can be read: {files[0].fault}")
    return Inventory(root, files)


def _list_objects(place: Place) -> tuple[Root, list[_Found]]:
    objects = list_objects(place)
    if not objects:
        raise _nothing_there(place)
    return place, [_Found(one.key.removeprefix(place.root), one.size, one.modified_ns, one.etag) for one in objects]


def _list_files(path: Path) -> tuple[Root, list[_Found]]:
    root, files = list_parquet(path)
    stats = [(str(file.relative_to(root)), file.stat()) for file in files]
    return root, [_Found(name, status.st_size, status.st_mtime_ns) for name, status in stats]


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
        raise _nothing_there(path)
    return root, sorted(visible)


def _nothing_there(source: Root) -> InputError:
    return InputError(f"there is no Parquet file under {str(source)!r}; lethe reads files whose names end in .parquet")


def as_first_read(now: Inventory, first: Inventory, rewritten: Iterable[tuple[str, int, int]]) -> Inventory:
    """The inventory with the files that a purge rewrote described as they were when they were scored.

    Args:
        now: the input as it is.
        first: the input as it was scored.
        rewritten: real path or URL, size and time of change of every file as the purge left it.

    """
    known, left = {file.name: file for file in first.files}, set(rewritten)

    def described(file: InputFile) -> InputFile:
        identity = (_real_name(now.root, file.name), file.size, file.modified_ns)
        return known.get(file.name, file) if identity in left else file

    return Inventory(now.root, tuple(map(described, now.files)))


def read_unit(
    inventory_root: Root, unit: Unit, columns: Mapping[str, str], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """The batches of one unit, in schema `RECORD`.

    Raises OSError or an ArrowException where the file is broken, LetheError where a server cannot be reached.
    """
    with _open_parquet(inventory_root, unit.file) as file:
        reading = plan_reading(file.schema_arrow, columns, unit.file)
        groups = list(range(unit.first, unit.last))
        for batch in file.iter_batches(batch_rows, row_groups=groups, columns=reading.columns, use_threads=False):
            yield reading.conform(batch)


def _open_parquet(root: Root, name: str) -> pq.ParquetFile:
    if isinstance(root, Place):
        # Buffered ahead: neighbouring columns come in one request.
        return pq.ParquetFile(ObjectFile.current(root, root.root + name), pre_buffer=True)
    return pq.ParquetFile(root / name, memory_map=True)


def _real_name(root: Root, name: str) -> str:
    return root.url(root.root + name) if isinstance(root, Place) else os.path.realpath(root / name)


def _describe(root: Root, found: _Found, columns: Mapping[str, str]) -> InputFile:
    try:
        with _open_bytes(root, found) as content, pq.ParquetFile(content) as file:
            metadata, schema = file.metadata, file.schema_arrow
            groups = tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
            footer = footer_digest(content)
    except (OSError, pa.ArrowException) as error:
        fault = type(error).__name__ + ": " + str(error).split("\n")[0][:200].replace(str(root), "")
        return InputFile(found.name, found.size, found.modified_ns, "", (), fault)
    plan_reading(schema, columns, found.name)
    return InputFile(found.name, found.size, found.modified_ns, footer, groups)


def _open_bytes(root: Root, found: _Found) -> BinaryIO:
    if isinstance(root, Place):
        return cast(BinaryIO, ObjectFile(root, root.root + found.name, found.size, {"IfMatch": found.etag}))
    return (root / found.name).open("rb")


def footer_digest(file: BinaryIO) -> str:
    """SHA-256 of the footer of a Parquet file: its schema, where every page lies, and its statistics."""
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
