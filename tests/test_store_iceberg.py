"""The store of an Iceberg table keeps the contract of all stores; what Iceberg alone may leave is sought here."""

import bz2
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.expressions import In
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update import AddSnapshotUpdate, SetSnapshotRefUpdate
from pyiceberg.transforms import IdentityTransform
from pyiceberg.typedef import Record
from pyiceberg.types import FloatType, ListType, LongType, NestedField, StringType

from pipelines.baseline import keep_baseline
from schemas.errors import InputError
from schemas.job import StoreSection
from stores.audit.arrays import binary_runs
from stores.audit.examine import Examination
from stores.audit.fingerprints import fingerprint
from stores.audit.needles import find_values, make_needles
from stores.audit.verdict import Status
from stores.contract import Status as Step
from stores.iceberg import IcebergStore
from stores.iceberg_table import manifests, reachable
from stores.table_files import local_path
from tests.store_contract import Bench, Case, StoreContract, Vectors, count, same

COMMITS, ROWS, DIMENSIONS = 4, 150, 32
NAME = "people.faces"
SCHEMA = Schema(
    NestedField(1, "face_id", StringType(), required=False),
    NestedField(2, "place", StringType(), required=False),
    NestedField(3, "vector", ListType(4, FloatType(), element_required=False), required=False),
)
PLACES = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "place"))


class IcebergCase(Case):
    """One table in a catalog of its own, written in a few commits."""

    def __init__(self, folder: Path, codec: str = "zstd", spec: PartitionSpec | None = None, version: int = 2) -> None:
        folder.mkdir(parents=True)
        self.options = {
            "name": "case",
            "type": "sql",
            "uri": f"sqlite:///{folder.parent / 'catalog.db'}",
            "warehouse": folder.as_uri(),
        }
        self.section = StoreSection(kind="iceberg", path=str(folder), holds="vectors", table=NAME, options=self.options)
        self.catalog().create_namespace("people")
        self.catalog().create_table(
            NAME,
            schema=SCHEMA,
            partition_spec=spec or PartitionSpec(),
            properties={
                "write.parquet.compression-codec": codec,
                "write.metadata.compression-codec": "gzip" if codec == "zstd" else "none",
                "format-version": str(version),
                "owner": "field",
            },
        )
        random = np.random.default_rng(7)
        for part in range(COMMITS):
            names = [f"face-{part}-{row:04d}" for row in range(ROWS)]
            self._append(names, random.standard_normal((ROWS, DIMENSIONS), np.float32))
        # The last commit holds nobody to erase: its files must stay untouched.
        self.gone = [f"face-{part}-{row:04d}" for part in range(COMMITS - 1) for row in range(0, ROWS, 17)]

    def catalog(self) -> Catalog:
        return load_catalog(**self.options)

    def table(self) -> Table:
        return self.catalog().load_table(NAME)

    def _append(self, names: list[str], vectors: np.ndarray) -> None:
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSIONS).cast(pa.list_(pa.float32()))
        places = [("a b/c", "ünï", None)[i % 3] for i in range(len(names))]
        self.table().append(pa.table({"face_id": names, "place": pa.array(places, pa.string()), "vector": column}))

    def contents(self) -> Vectors:
        table = self.table()
        names = table.schema().column_names
        rows = table.scan(selected_fields=("face_id" if "face_id" in names else "who", "vector")).to_arrow()
        vectors = np.array(rows["vector"].to_pylist(), np.float32).reshape(-1, DIMENSIONS)
        return dict(zip(rows.column(0).to_pylist(), vectors, strict=True))

    def insert(self, name: str) -> None:
        self._append([name], np.full((1, DIMENSIONS), 0.5, np.float32))

    def delete_plainly(self, names: list[str]) -> None:
        self.table().delete(In("face_id", names))


class DeleteManifestWriter(ManifestWriterV2):
    """pyiceberg writes no delete files; engines that do list them in manifests such as this."""

    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


def hide_rows(table: Table, names: list[str], content: DataFileContent = DataFileContent.POSITION_DELETES) -> None:
    """Delete `names` as merge-on-read engines do: the data files stay, a delete file names positions in them."""
    rows = {"file_path": [], "pos": [], "face_id": []}
    for task in table.scan().plan_files():
        found = pq.read_table(local_path(task.file.file_path), columns=["face_id"])["face_id"].to_pylist()
        places = [place for place, name in enumerate(found) if name in names]
        rows["file_path"] += [task.file.file_path] * len(places)
        rows["pos"] += places
        rows["face_id"] += [found[place] for place in places]
    reserved = {"file_path": 2147483546, "pos": 2147483545, "face_id": 1}
    fields = [
        pa.field(name, kind, nullable=False, metadata={"PARQUET:field_id": str(reserved[name])})
        for name, kind in (("file_path", pa.string()), ("pos", pa.int64()), ("face_id", pa.string()))
    ]
    snapshot_id, place = table.metadata.new_snapshot_id(), table.location() + "/data/deletes.parquet"
    pq.write_table(pa.table(rows, schema=pa.schema(fields)), local_path(place))
    file = DataFile.from_args(
        content=content,
        file_path=place,
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=len(rows["pos"]),
        file_size_in_bytes=local_path(place).stat().st_size,
        equality_ids=[1] if content is DataFileContent.EQUALITY_DELETES else None,
    )
    entry = ManifestEntry.from_args(status=ManifestEntryStatus.ADDED, snapshot_id=snapshot_id, data_file=file)
    output = table.io.new_output(table.location() + "/metadata/deletes-m0.avro")
    with DeleteManifestWriter(table.spec(), table.schema(), output, snapshot_id, "deflate") as writer:
        writer.add_entry(entry)
    before = table.current_snapshot()
    listing = table.location() + "/metadata/snap-deletes.avro"
    sequence = table.metadata.next_sequence_number()
    with write_manifest_list(
        2, table.io.new_output(listing), snapshot_id, before.snapshot_id, sequence, "deflate"
    ) as lists:
        lists.add_manifests([*before.manifests(table.io), writer.to_manifest_file()])
    snapshot = Snapshot(
        snapshot_id=snapshot_id,
        parent_snapshot_id=before.snapshot_id,
        manifest_list=listing,
        sequence_number=sequence,
        summary=Summary(operation=Operation.DELETE),
        schema_id=table.metadata.current_schema_id,
    )
    ref = SetSnapshotRefUpdate(ref_name="main", type="branch", snapshot_id=snapshot_id)
    table.catalog.commit_table(table, (), (AddSnapshotUpdate(snapshot=snapshot), ref))


class TestIceberg(StoreContract):
    def make(self, folder: Path) -> Case:
        return IcebergCase(folder)


class TestIcebergPartitionedSnappy(StoreContract):
    def make(self, folder: Path) -> Case:
        return IcebergCase(folder, "snappy", PLACES)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(IcebergCase(tmp_path / "store", spec=PLACES), tmp_path)


def case_of(bench: Bench) -> IcebergCase:
    assert isinstance(bench.case, IcebergCase)
    return bench.case


def root_of(bench: Bench) -> Path:
    return local_path(case_of(bench).table().location())


def store_of(bench: Bench) -> IcebergStore:
    section = bench.case.section
    return IcebergStore(section.path, section.key, section.table, section.options)


def files_of(bench: Bench, folder: str) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in (root_of(bench) / folder).rglob("*") if file.is_file()}


def test_metadata_and_manifests_name_nobody_who_went(bench: Bench) -> None:
    bench.purge()
    content = b""
    for file, data in files_of(bench, "metadata").items():
        if file.suffix == ".avro":
            with file.open("rb") as source:
                content += repr(list(fastavro.reader(source))).encode()
        else:
            content += gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    assert b"face-3-0000" in content  # a bound of a file that stays
    assert not [name for name in bench.case.gone if name.encode() in content]


def test_after_the_purge_there_is_what_the_table_reaches_and_nothing_else(bench: Bench) -> None:
    bench.purge()
    table = case_of(bench).table()
    assert len(table.snapshots()) == 1
    hint = root_of(bench) / "metadata" / "version-hint.text"
    on_disk = {file for file in root_of(bench).rglob("*") if file.is_file()}
    assert on_disk == reachable(table, history=False) - {hint}


def test_what_the_table_says_of_itself_stays(bench: Bench) -> None:
    before = case_of(bench).table()
    bench.purge()
    after = case_of(bench).table()
    assert after.schema() == before.schema()
    assert after.spec() == before.spec() == PLACES
    assert after.properties == before.properties
    assert after.metadata.table_uuid == before.metadata.table_uuid
    summary = after.current_snapshot().summary
    assert int(summary["total-records"]) == COMMITS * ROWS - len(bench.case.gone)
    assert int(summary["total-data-files"]) == len(list(after.scan().plan_files()))


def test_files_without_listed_rows_are_not_touched(bench: Bench) -> None:
    before = files_of(bench, "data")
    bench.purge()
    after = files_of(bench, "data")
    kept = before.keys() & after.keys()
    assert len(kept) == 3  # the last commit, a file in each partition
    assert all(before[path] == after[path] for path in kept)


def test_field_ids_and_partitions_of_rewritten_files_stay(bench: Bench) -> None:
    case = case_of(bench)
    bench.purge()
    before = case.contents()
    with case.table().update_schema() as update:
        update.rename_column("face_id", "who")
        update.add_column("later", LongType())
    assert same(case.contents(), before)
    rows = case.table().scan(row_filter="place = 'ünï'").to_arrow()
    assert set(rows["place"].to_pylist()) == {"ünï"}
    assert rows.num_rows == sum(1 for name in before if int(name[-4:]) % 3 == 1)


def test_a_key_column_that_was_renamed(bench: Bench, tmp_path: Path) -> None:
    case = case_of(bench)
    with case.table().update_schema() as update:
        update.rename_column("face_id", "who")
    renamed = Bench(case, tmp_path / "renamed")
    case.section = case.section.model_copy(update={"key": "who"})
    renamed = Bench(case, tmp_path / "renamed")
    assert renamed.purge()[0].rows_removed == len(case.gone)
    assert not set(case.contents()) & set(case.gone)
    assert renamed.verify().status is Status.CLEAN


def test_others_can_go_on_writing_and_reading(bench: Bench) -> None:
    bench.purge()
    before = bench.case.contents()
    for number in range(3):
        bench.case.insert(f"later-{number}")
    bench.case.delete_plainly(["later-1"])
    assert bench.case.contents().keys() == before.keys() | {"later-0", "later-2"}


def test_orphans_go(bench: Bench) -> None:
    file, content = next(iter(files_of(bench, "data").items()))
    (file.parent / "orphan.parquet").write_bytes(content)
    (root_of(bench) / ".lethe-tmp-1").write_bytes(content)
    (root_of(bench) / "metadata" / "00000-old.stats").write_text(json.dumps(bench.case.gone))
    bench.purge()
    assert bench.verify().status is Status.CLEAN


def test_a_manifest_that_stays_is_residue(bench: Bench) -> None:
    old = {file: data for file, data in files_of(bench, "metadata").items() if file.suffix == ".avro"}
    bench.purge()
    for file, data in old.items():
        file.write_bytes(data)
    verdict = bench.verify()
    assert verdict.status is Status.RESIDUE
    assert count(verdict, "id")


def test_entries_of_removed_files_are_never_clean(bench: Bench) -> None:
    """The vendor's own delete leaves bounds in the manifests, cut to 16 characters or not."""
    bench.purge()
    bench.case.delete_plainly(["face-3-0001"])
    verdict = bench.verify()
    assert verdict.status is Status.UNVERIFIED
    assert any("removed files" in reason for reason in verdict.reasons)


def test_a_writer_who_commits_meanwhile_is_not_overwritten(bench: Bench) -> None:
    keys, store = bench.work.open_keys(), store_of(bench)
    match = store.locate(NAME, keys)

    def inspect(batches: object) -> None:
        bench.case.insert("newcomer")

    receipt = store.purge(match, keys, bench.work.receipts, inspect)
    assert receipt.status is Step.CONFLICT
    assert "newcomer" in bench.case.contents()
    assert set(bench.case.gone) <= set(bench.case.contents())


@pytest.mark.parametrize("stop", ["commit", "leftovers", "remove_files"])
def test_killed_at_any_step_it_is_finished_by_the_next_run(
    bench: Bench, stop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = bench.case.contents()

    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(f"stores.iceberg.{stop}", kill)
        with pytest.raises(Killed):
            bench.purge()
    receipts = bench.purge()
    assert receipts[0].status is Step.REMOVED
    assert receipts[0].compacted_at
    assert bench.verify().status is Status.CLEAN
    assert same(bench.case.contents(), {name: one for name, one in before.items() if name not in bench.case.gone})


def test_all_rows_of_a_table_of_version_1(tmp_path: Path) -> None:
    case = IcebergCase(tmp_path / "store", version=1)
    case.gone = list(case.contents())
    bench = Bench(case, tmp_path)
    assert bench.purge()[0].rows_removed == COMMITS * ROWS
    assert case.contents() == {}
    assert bench.verify().status is Status.CLEAN


def test_rows_that_others_hid_go_as_well(tmp_path: Path) -> None:
    """Somebody to erase is already hidden by a delete file, as is somebody who is not listed; both were deleted."""
    case = IcebergCase(tmp_path / "store")
    everybody = case.contents()
    bench, hidden = Bench(case, tmp_path), [case.gone[0], "face-0-0001", "face-3-0001"]
    hide_rows(case.table(), hidden)
    left = {name: vector for name, vector in everybody.items() if name not in (*hidden, *case.gone)}
    assert case.contents().keys() == everybody.keys() - set(hidden)
    (receipt,) = bench.purge()
    assert receipt.status is Step.REMOVED
    assert receipt.compacted_at, receipt.detail
    assert receipt.rows_removed == len(case.gone) - 1
    assert same(case.contents(), left)
    assert bench.verify().status is Status.CLEAN
    assert not [manifest for manifest in manifests(case.table()) if manifest.is_dirty]


def test_a_merge_on_read_delete_is_finished(tmp_path: Path) -> None:
    case = IcebergCase(tmp_path / "store")
    bench = Bench(case, tmp_path)
    keys, store = bench.work.open_keys(), store_of(bench)
    keep_baseline(store.locate(NAME, keys), keys, bench.work.baseline)
    hide_rows(case.table(), case.gone)
    assert bench.readable() >= len(case.gone)
    bench.purge()
    assert bench.readable() == bench.readable("id") == 0
    assert len(case.contents()) == COMMITS * ROWS - len(case.gone)


def test_equality_deletes_are_refused(tmp_path: Path) -> None:
    case = IcebergCase(tmp_path / "store")
    hide_rows(case.table(), case.gone, DataFileContent.EQUALITY_DELETES)
    (receipt,) = Bench(case, tmp_path).purge()
    assert receipt.status is Step.UNREADABLE
    assert "equality deletes" in (receipt.detail or "")


def test_what_pins_old_versions_is_refused(bench: Bench) -> None:
    table = case_of(bench).table()
    table.manage_snapshots().create_tag(table.snapshots()[0].snapshot_id, "golden").commit()
    with pytest.raises(InputError, match="1 branches or tags pin older versions of it; drop them: golden"):
        store_of(bench).units()


def test_wrong_places_and_keys_are_refused(bench: Bench, tmp_path: Path) -> None:
    section = bench.case.section
    options = section.options
    with pytest.raises(InputError, match="has no table people.nobody"):
        IcebergStore(section.path, "face_id", "people.nobody", options).units()
    with pytest.raises(InputError, match="no column 'face'"):
        IcebergStore(section.path, "face", NAME, options).units()
    with pytest.raises(InputError, match="lies outside of path"):
        IcebergStore(str(tmp_path / "elsewhere"), "face_id", NAME, options).units()
    with pytest.raises(InputError, match="no place on a file system"):
        IcebergStore("s3://bucket/t", "face_id", NAME, options)
    with pytest.raises(InputError, match="properties of its catalog"):
        IcebergStore(section.path, "face_id", NAME, {})
    with pytest.raises(InputError, match="namespace.name"):
        IcebergStore(section.path, "face_id", "faces", options)
    case_of(bench).catalog().create_table("people.inner", SCHEMA, location=(root_of(bench) / "inner").as_uri())
    with pytest.raises(InputError, match="1 other tables of the catalog share its folder"):
        store_of(bench).units()
    case_of(bench).catalog().drop_table("people.inner")
    with pytest.raises(InputError, match="metadata of another table"):
        store_of(bench).units()


def test_integer_ids_are_found_in_bounds(tmp_path: Path) -> None:
    """Iceberg writes them as eight bytes, which no search for the text of an id would find."""
    catalog = load_catalog("c", type="sql", uri=f"sqlite:///{tmp_path / 'c.db'}", warehouse=tmp_path.as_uri())
    catalog.create_namespace("people")
    schema = Schema(NestedField(1, "face_id", LongType(), required=False))
    table = catalog.create_table("people.numbers", schema)
    table.append(pa.table({"face_id": [17, 18, 19]}))
    key = b"k" * 16
    ids = pa.array([b"17", b"18", b"19"], pa.large_binary())
    needles = make_needles(ids, fingerprint([], key), key)
    first, _, last = find_values(binary_runs(ids), needles.tables).tolist()
    found = set()
    for manifest in table.current_snapshot().manifests(table.io):
        data = np.frombuffer(local_path(manifest.manifest_path).read_bytes(), np.uint8)
        examination = Examination(needles, key, "face_id")
        examination.examine(data)
        found |= set().union(*examination.found.values())
    assert found == {first, last}


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "null": lambda block: block,
    "deflate": lambda block: zlib.compress(block, wbits=-zlib.MAX_WBITS),
    "snappy": lambda block: pa.compress(block, "snappy", asbytes=True) + bytes(4),
    "zstandard": lambda block: pa.compress(block, "zstd", asbytes=True),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("codec", PACKERS)
def test_avro_is_read_whatever_its_codec(codec: str) -> None:
    schema = {"type": "record", "name": "r", "fields": [{"name": "id", "type": ["null", "string"]}]}
    file = io.BytesIO()
    file.write(b"Obj\x01")
    header = {"avro.schema": json.dumps(schema).encode(), "avro.codec": codec.encode()}
    fastavro.schemaless_writer(file, {"type": "map", "values": "bytes"}, header)
    file.write(bytes(16))
    for part in range(3):
        block = io.BytesIO()
        for i in range(50):
            fastavro.schemaless_writer(block, schema, {"id": f"person-{part}-{i:03d}"})
        packed = PACKERS[codec](block.getvalue())
        fastavro.schemaless_writer(file, "long", 50)
        fastavro.schemaless_writer(file, "long", len(packed))
        file.write(packed + bytes(16))
    key = b"k" * 16
    needles = make_needles(pa.array(["person-0-000", "person-2-049"]), fingerprint([], key), key)
    data = np.frombuffer(file.getvalue(), np.uint8)
    examination = Examination(needles, key, None)
    examination.examine(data)
    assert not examination.problems
    assert set().union(*examination.found.values()) == {0, 1}
    examination = Examination(needles, key, None)
    examination.examine(data[:-100])
    assert examination.problems
