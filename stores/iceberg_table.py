"""One Iceberg table: what its current snapshot is made of, and what must not be purged.

    metadata.json -> manifest list -> manifests -> data files and delete files

Source: https://iceberg.apache.org/spec/
"""

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan, schema_to_pyarrow
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
)
from pyiceberg.table import FileScanTask, Table
from pyiceberg.table.snapshots import Operation, Snapshot

from schemas.errors import InputError
from stores.table_files import files_below, local_path, without_sidecars
from stores.tables import StoreError

FIELD_ID = b"PARQUET:field_id"
_REMOVING = (Operation.DELETE, Operation.OVERWRITE)


@dataclass(frozen=True)
class Manifest:
    """One manifest of a snapshot, with all of its entries."""

    file: ManifestFile
    entries: list[ManifestEntry]

    @property
    def live(self) -> list[ManifestEntry]:
        """The entries of files that are part of the snapshot."""
        return [entry for entry in self.entries if entry.status is not ManifestEntryStatus.DELETED]

    @property
    def holds_deletes(self) -> bool:
        """Whether it lists delete files, which hide rows of data files."""
        return self.file.content is ManifestContent.DELETES

    @property
    def is_dirty(self) -> bool:
        """Whether it tells of files that are gone, with their smallest and largest values, or of delete files."""
        return len(self.live) < len(self.entries) or self.holds_deletes


def manifests(table: Table, snapshot: Snapshot | None = None) -> list[Manifest]:
    """The manifests of a snapshot, the current one if none is given."""
    snapshot = snapshot or table.current_snapshot()
    files = [] if snapshot is None else snapshot.manifests(table.io)
    return [Manifest(file, file.fetch_manifest_entry(table.io, discard_deleted=False)) for file in files]


def tasks(table: Table) -> list[FileScanTask]:
    """The data files of the current snapshot, each with the delete files that apply to it, in the order of paths."""
    return sorted(table.scan().plan_files(), key=lambda task: task.file.file_path)


def rows_of(table: Table, files: Iterable[FileScanTask], columns: tuple[str, ...] = ("*",)) -> pa.RecordBatchReader:
    """The rows of some files as a reader of the table gets them, those that delete files hide left out."""
    schema = table.scan(selected_fields=columns).projection()
    target = schema_to_pyarrow(schema)
    batches = ArrowScan(table.metadata, table.io, schema, AlwaysTrue()).to_record_batches(files)
    return pa.RecordBatchReader.from_batches(target, batches).cast(target)


def key_in_file(table: Table, file: Path, key: str) -> str | None:
    """What a data file calls the key column, which may have been renamed since; None if it was added later."""
    schema = pq.read_schema(file)
    if not any(FIELD_ID in (field.metadata or {}) for field in schema):
        return key if key in schema.names else None
    wanted = str(table.schema().find_field(key).field_id).encode()
    return next((field.name for field in schema if (field.metadata or {}).get(FIELD_ID) == wanted), None)


def has_past(table: Table) -> bool:
    """Whether a snapshot removed rows, or the current one tells of removed files."""
    snapshots = table.snapshots()
    removing = any(one.summary is None or one.summary.operation in _REMOVING for one in snapshots)
    return (len(snapshots) > 1 and removing) or any(manifest.is_dirty for manifest in manifests(table))


def reachable(table: Table, *, history: bool) -> set[Path]:
    """Every file that the table needs: of all its snapshots, and older metadata, with `history`; else of the last."""
    metadata = table.metadata
    current = table.current_snapshot()
    snapshots = metadata.snapshots if history else [current] if current else []
    named = {table.metadata_location}
    named |= {one.statistics_path for one in (*metadata.statistics, *metadata.partition_statistics)}
    if history:
        named |= {entry.metadata_file for entry in metadata.metadata_log}
    for snapshot in snapshots:
        named.add(snapshot.manifest_list)
        for manifest in manifests(table, snapshot):
            named.add(manifest.file.manifest_path)
            named |= {entry.data_file.file_path for entry in manifest.live}
    hint = local_path(table.metadata_location).with_name("version-hint.text")
    return {local_path(name) for name in named} | {hint}


def leftovers(files: list[Path], keep: set[Path]) -> list[Path]:
    """What of `files` is not to be kept; metadata first, so that data files left by a kill still tell of it."""
    order = {".json": 0, ".avro": 1}
    return sorted(without_sidecars(files, keep), key=lambda file: (order.get(file.suffix, 2), file))


def refuse(table: Table, catalog: Catalog, root: Path, path: Path, key: str) -> None:
    """Raise InputError for a table that must not be purged; `root` is its location, `path` the store's."""
    metadata = table.metadata
    columns = table.schema().column_names
    branches = sorted(name for name in metadata.refs if name != "main")
    problem = None
    if metadata.format_version > 2:
        problem = f"it is of format version {metadata.format_version}; lethe writes versions 1 and 2"
    elif not root.is_relative_to(path):
        problem = "it lies outside of path =, so that its files would not be verified; give its folder or the warehouse"
    elif branches:
        problem = f"{len(branches)} branches or tags pin older versions of it; drop them: {', '.join(branches)}"
    elif metadata.properties.get("gc.enabled", "true").lower() == "false":
        problem = "gc.enabled = false says that its files belong to others as well; set it to true if they do not"
    elif key not in columns or "." in key:
        problem = f"it has no column {key!r}, it has {', '.join(columns)}; write the right one as key = in the job file"
    elif others := sum(_overlap(root, other) for other in _other_locations(catalog, table)):
        problem = f"{others} other tables of the catalog share its folder; move them, or their files would go too"
    elif not local_path(table.metadata_location).is_relative_to(root):
        problem = "its metadata lies outside of its location; move it there"
    elif _foreign_metadata(root, str(metadata.table_uuid)):
        problem = "its folder holds metadata of another table; move that one, or its files would go too"
    if problem:
        raise InputError(f"store {path}: this Iceberg table cannot be purged: {problem}")


def check_files(table: Table, root: Path) -> None:
    """Raise StoreError for data that lies elsewhere, is no Parquet, or has deletes that only their engine applies."""
    for manifest in manifests(table):
        for entry in manifest.live:
            file: DataFile = entry.data_file
            if not local_path(file.file_path).is_relative_to(root):
                raise StoreError("a file of the table lies outside of its location; rewrite it into the table first")
            if file.content is DataFileContent.EQUALITY_DELETES:
                raise StoreError(
                    "the table has equality deletes; compact it with the engine that wrote them, then purge it"
                )
            if file.file_format is not FileFormat.PARQUET:
                raise StoreError(f"a file of the table is {file.file_format}; lethe rewrites Parquet")


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _other_locations(catalog: Catalog, table: Table) -> Iterator[Path]:
    for namespace in _namespaces(catalog, ()):
        for name in catalog.list_tables(namespace):
            if name == table.name():
                continue
            try:
                yield local_path(catalog.load_table(name).location())
            except (NoSuchTableError, InputError, OSError):
                continue  # gone meanwhile, in object storage, or without metadata: it shares nothing here


def _namespaces(catalog: Catalog, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    try:
        below = catalog.list_namespaces(above)
    except NoSuchNamespaceError:
        return
    for namespace in below:
        if len(namespace) > len(above):
            yield namespace
            yield from _namespaces(catalog, namespace)


def _foreign_metadata(root: Path, uuid: str) -> bool:
    """Whether there is a metadata file of a table that is not this one."""
    named = [file for file in files_below(root) if file.name.endswith(".metadata.json")]
    return any(uuid.encode() not in _read(file) for file in named)


def _read(file: Path) -> bytes:
    content = file.read_bytes()
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
