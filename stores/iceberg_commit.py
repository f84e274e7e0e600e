"""A new snapshot of an Iceberg table, in which no manifest tells of a file that is gone.

pyiceberg's own delete keeps the smallest and largest values of each removed file in the manifests of the new snapshot,
compressed, where a search of the bytes does not see them.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.avro.codecs import AvroCompressionCodec
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import (
    _dataframe_to_data_files,
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
    pyarrow_to_schema,
)
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    write_manifest,
    write_manifest_list,
)
from pyiceberg.table import FileScanTask, Table, TableProperties
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update import (
    AddSnapshotUpdate,
    AssertRefSnapshotId,
    AssertTableUUID,
    RemovePartitionStatisticsUpdate,
    RemoveSnapshotsUpdate,
    RemoveStatisticsUpdate,
    SetSnapshotRefUpdate,
    TableUpdate,
)

from schemas.errors import ConflictError
from stores.iceberg_table import Manifest, key_in_file, manifests, rows_of
from stores.keys import KeySet
from stores.table_files import local_path, rewrite_file


@dataclass(frozen=True)
class Swap:
    """A data file that goes, how many of its rows go for good, and the files that take its place."""

    old: DataFile
    rows_removed: int
    new: list[DataFile]


def swap_file(table: Table, task: FileScanTask, key: str, keys: KeySet | None) -> Swap | None:
    """Write the successors of one data file without the listed rows; None if it can stay as it is.

    Rows that delete files hide go with it; without `keys` only these do.
    """
    file = local_path(task.file.file_path)
    if task.delete_files:
        return _swap_merged(table, task, key, keys)
    name = key_in_file(table, file, key)
    rewritten = rewrite_file(file, name, keys) if keys is not None and name is not None else None
    if rewritten is None:
        return None
    new = [] if rewritten.new is None else [_describe(table, task.file, rewritten.new)]
    return Swap(task.file, rewritten.rows_removed, new)


def _swap_merged(table: Table, task: FileScanTask, key: str, keys: KeySet | None) -> Swap | None:
    """A file with delete files is read as a reader would and written as the table's own software writes."""
    rows = rows_of(table, [task]).read_all()
    listed = np.zeros(rows.num_rows, np.bool_) if keys is None else keys.contains(rows[key])
    if keys is not None and not listed.any():
        return None
    kept = rows.filter(pa.array(~listed))
    new = list(_dataframe_to_data_files(table.metadata, kept, table.io)) if kept.num_rows else []
    for file in new:
        file.spec_id = table.metadata.default_spec_id
    return Swap(task.file, int(listed.sum()), new)


def _describe(table: Table, old: DataFile, new: Path) -> DataFile:
    """What manifests say about the successor of `old`: its own statistics, the partition and order of the old one."""
    footer = pq.read_metadata(new)
    schema = pyarrow_to_schema(footer.schema.to_arrow_schema(), name_mapping=table.schema().name_mapping)
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=footer,
        stats_columns=compute_statistics_plan(schema, table.metadata.properties),
        parquet_column_mapping=parquet_path_to_id_mapping(schema),
    )
    file = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=old.file_path.rpartition("/")[0] + "/" + new.name,
        file_format=FileFormat.PARQUET,
        partition=old.partition,
        file_size_in_bytes=new.stat().st_size,
        sort_order_id=old.sort_order_id,
        spec_id=old.spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )
    file.spec_id = old.spec_id
    return file


def commit(table: Table, operation: Operation, swaps: Iterable[Swap], *, forget: bool) -> None:
    """Commit a snapshot with the successors in place of the old files and with no trace of these in its manifests.

    With `forget` delete files and all older snapshots go as well. Raises ConflictError, and changes nothing, when the
    table has another current snapshot than `table`.
    """
    snapshot = _write_snapshot(table, operation, list(swaps), forget)
    current = table.metadata.current_snapshot_id
    # Their names have hyphens, as in the REST protocol; what takes keywords is not typed.
    ref = {"ref-name": MAIN_BRANCH, "type": SnapshotRefType.BRANCH, "snapshot-id": snapshot.snapshot_id}
    updates: list[TableUpdate] = [AddSnapshotUpdate(snapshot=snapshot), SetSnapshotRefUpdate.model_validate(ref)]
    if forget:
        metadata = table.metadata
        told = [{"snapshot-id": one.snapshot_id} for one in metadata.statistics]
        updates += [RemoveStatisticsUpdate.model_validate(one) for one in told]
        told = [{"snapshot-id": one.snapshot_id} for one in metadata.partition_statistics]
        updates += [RemovePartitionStatisticsUpdate.model_validate(one) for one in told]
        old = {"snapshot-ids": [one.snapshot_id for one in metadata.snapshots]}
        updates.append(RemoveSnapshotsUpdate.model_validate(old))
    requirements = (
        AssertTableUUID(uuid=table.metadata.table_uuid),
        AssertRefSnapshotId.model_validate({"ref": MAIN_BRANCH, "snapshot-id": current}),
    )
    try:
        table.catalog.commit_table(table, requirements, tuple(updates))
    except CommitFailedException as error:
        raise ConflictError("somebody else wrote to the table meanwhile: locate it again") from error


def _write_snapshot(table: Table, operation: Operation, swaps: list[Swap], forget: bool) -> Snapshot:
    writer = _Writer(table, table.metadata.new_snapshot_id())
    gone = {swap.old.file_path for swap in swaps}
    parts = [writer.part(one, gone) for one in manifests(table) if not (forget and one.holds_deletes)]
    written = [part for part in parts if part is not None]
    new = sorted((file for swap in swaps for file in swap.new), key=lambda file: file.spec_id)
    for spec_id, files in groupby(new, key=lambda file: file.spec_id):
        written.append(writer.write(spec_id, [writer.added(file) for file in files]))
    return writer.finish(operation, written)


@dataclass(frozen=True)
class _Part:
    """A manifest of the new snapshot, and the files it lists."""

    file: ManifestFile
    files: list[DataFile]


class _Writer:
    """Writes the manifests and the manifest list of one new snapshot."""

    def __init__(self, table: Table, snapshot_id: int) -> None:
        self.table, self.snapshot_id = table, snapshot_id
        codec = table.properties.get(
            TableProperties.WRITE_AVRO_COMPRESSION, TableProperties.WRITE_AVRO_COMPRESSION_DEFAULT
        )
        self.codec = cast(AvroCompressionCodec, codec)

    def _new_file(self, name: str) -> str:
        return self.table.location_provider().new_metadata_location(name)

    def part(self, manifest: Manifest, gone: set[str]) -> _Part | None:
        """A manifest without what is gone: itself if it holds nothing of it, None if nothing else is in it."""
        live = [entry for entry in manifest.live if entry.data_file.file_path not in gone]
        if not live:
            return None
        if manifest.holds_deletes or len(live) == len(manifest.entries):
            return _Part(manifest.file, [entry.data_file for entry in live])
        return self.write(manifest.file.partition_spec_id, [_existing(entry) for entry in live])

    def added(self, file: DataFile) -> ManifestEntry:
        """The entry of a file that is new in this snapshot."""
        return ManifestEntry.from_args(
            status=ManifestEntryStatus.ADDED,
            snapshot_id=self.snapshot_id,
            sequence_number=None,
            file_sequence_number=None,
            data_file=file,
        )

    def write(self, spec_id: int, entries: list[ManifestEntry]) -> _Part:
        """Write one manifest."""
        metadata = self.table.metadata
        output = self.table.io.new_output(self._new_file(f"{uuid.uuid4()}-m0.avro"))
        with write_manifest(
            format_version=metadata.format_version,
            spec=metadata.specs()[spec_id],
            schema=metadata.schema(),
            output_file=output,
            snapshot_id=self.snapshot_id,
            avro_compression=self.codec,
        ) as writer:
            for entry in entries:
                writer.add_entry(entry)
        return _Part(writer.to_manifest_file(), [entry.data_file for entry in entries])

    def finish(self, operation: Operation, parts: list[_Part]) -> Snapshot:
        """Write the manifest list; the summary counts, and names no partition."""
        metadata = self.table.metadata
        name = self._new_file(f"snap-{self.snapshot_id}-0-{uuid.uuid4()}.avro")
        with write_manifest_list(
            format_version=metadata.format_version,
            output_file=self.table.io.new_output(name),
            snapshot_id=self.snapshot_id,
            parent_snapshot_id=metadata.current_snapshot_id,
            sequence_number=metadata.next_sequence_number(),
            avro_compression=self.codec,
        ) as writer:
            writer.add_manifests([part.file for part in parts])
        told = {
            "snapshot-id": self.snapshot_id,
            "parent-snapshot-id": metadata.current_snapshot_id,
            "manifest-list": name,
            "sequence-number": metadata.next_sequence_number(),
            "summary": Summary(operation=operation, **_totals(parts)),
            "schema-id": metadata.current_schema_id,
        }
        return Snapshot.model_validate(told)


def _existing(entry: ManifestEntry) -> ManifestEntry:
    return ManifestEntry.from_args(
        status=ManifestEntryStatus.EXISTING,
        snapshot_id=entry.snapshot_id,
        sequence_number=entry.sequence_number,
        file_sequence_number=entry.file_sequence_number,
        data_file=entry.data_file,
    )


def _totals(parts: list[_Part]) -> dict[str, str]:
    files = [file for part in parts for file in part.files]
    by_content = {content: [file for file in files if file.content is content] for content in DataFileContent}
    counts = {
        "total-data-files": len(by_content[DataFileContent.DATA]),
        "total-delete-files": len(files) - len(by_content[DataFileContent.DATA]),
        "total-records": sum(file.record_count for file in by_content[DataFileContent.DATA]),
        "total-files-size": sum(file.file_size_in_bytes for file in files),
        "total-position-deletes": sum(file.record_count for file in by_content[DataFileContent.POSITION_DELETES]),
        "total-equality-deletes": sum(file.record_count for file in by_content[DataFileContent.EQUALITY_DELETES]),
    }
    return {name: str(count) for name, count in counts.items()}
