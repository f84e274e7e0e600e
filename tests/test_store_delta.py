"""The store of a Delta table keeps the contract of all stores; what Delta alone may leave behind is looked for here."""

import json
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction

from schemas.errors import ConflictError, InputError
from schemas.job import StoreSection
from stores.audit.arrays import binary_runs
from stores.audit.examine import Examination
from stores.audit.fingerprints import fingerprint
from stores.audit.needles import find_values, make_needles
from stores.audit.verdict import Status
from stores.contract import Status as Step
from stores.delta import DeltaStore
from stores.keys import KeySet
from tests.store_contract import Bench, Case, StoreContract, Vectors, count, same

COMMITS, ROWS, DIMENSIONS = 4, 150, 32
PROPERTIES = {"delta.logRetentionDuration": "interval 9 days", "delta.checkpointInterval": "3"}


class DeltaCase(Case):
    """One table, written in a few commits, which held a checkpoint on its way."""

    def __init__(self, folder: Path, codec: str = "SNAPPY", partition_by: list[str] | None = None) -> None:
        self.folder, self.codec, self.partition_by = folder, codec, partition_by
        self.section = StoreSection(kind="delta", path=str(folder), holds="vectors")
        random = np.random.default_rng(7)
        for part in range(COMMITS):
            names = [f"face-{part}-{row:04d}" for row in range(ROWS)]
            self._append(names, random.standard_normal((ROWS, DIMENSIONS), np.float32))
        # The last commit holds nobody to erase: its files must stay untouched.
        self.gone = [f"face-{part}-{row:04d}" for part in range(COMMITS - 1) for row in range(0, ROWS, 17)]

    def _append(self, names: list[str], vectors: np.ndarray) -> None:
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSIONS).cast(pa.list_(pa.float32()))
        places = [("a b/c", "ünï", None)[i % 3] for i in range(len(names))]
        table = pa.table({"face_id": names, "place": pa.array(places, pa.string()), "vector": column})
        write_deltalake(
            self.folder,
            table,
            mode="append",
            partition_by=self.partition_by,
            configuration=PROPERTIES,
            writer_properties=WriterProperties(compression=self.codec),
            commit_properties=CommitProperties(app_transactions=[Transaction("loader", 3)]),
        )

    def contents(self) -> Vectors:
        table = DeltaTable(self.folder).to_pyarrow_table(columns=["face_id", "vector"])
        vectors = np.array(table["vector"].to_pylist(), np.float32).reshape(-1, DIMENSIONS)
        return dict(zip(table["face_id"].to_pylist(), vectors, strict=True))

    def insert(self, name: str) -> None:
        self._append([name], np.full((1, DIMENSIONS), 0.5, np.float32))

    def delete_plainly(self, names: list[str]) -> None:
        listed = ", ".join(f"'{name}'" for name in names)
        DeltaTable(self.folder).delete(f"face_id IN ({listed})")


class TestDelta(StoreContract):
    def make(self, folder: Path) -> Case:
        return DeltaCase(folder)


class TestDeltaPartitionedZstd(StoreContract):
    def make(self, folder: Path) -> Case:
        return DeltaCase(folder, "ZSTD", ["place"])


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(DeltaCase(tmp_path / "store", partition_by=["place"]), tmp_path)


def store_of(bench: Bench) -> DeltaStore:
    return DeltaStore(bench.case.section.path, "face_id")


def log_of(table: Path) -> list[Path]:
    return sorted((table / "_delta_log").rglob("*"))


def test_the_log_names_nobody_who_went(bench: Bench) -> None:
    bench.purge()
    table = Path(bench.case.section.path)
    content = b"".join(file.read_bytes() for file in log_of(table) if file.suffix != ".parquet")
    for file in log_of(table):
        if file.suffix == ".parquet":
            content += json.dumps(pq.read_table(file).to_pylist()).encode()
    assert b"face-3-0000" in content  # a bound of a file that stays
    assert not [name for name in bench.case.gone if name.encode() in content]


def test_after_the_purge_one_version_is_left(bench: Bench) -> None:
    bench.purge()
    table = DeltaTable(bench.case.section.path)
    assert len([file for file in log_of(Path(bench.case.section.path)) if file.suffix == ".json"]) == 1
    on_disk = {file for file in Path(bench.case.section.path).rglob("*.parquet") if "_delta_log" not in file.parts}
    assert on_disk == {Path(unquote(uri)) if not Path(uri).exists() else Path(uri) for uri in table.file_uris()}


def test_what_the_table_says_of_itself_stays(bench: Bench) -> None:
    before = DeltaTable(bench.case.section.path)
    bench.purge()
    after = DeltaTable(bench.case.section.path)
    assert after.metadata().created_time == before.metadata().created_time
    assert after.metadata().id == before.metadata().id
    assert after.metadata().configuration == before.metadata().configuration == PROPERTIES
    assert after.metadata().partition_columns == ["place"]
    assert after.schema() == before.schema()
    assert after.transaction_version("loader") == 3


def test_files_without_listed_rows_are_not_touched(bench: Bench) -> None:
    before = {path: content for path, content in _data(bench)}
    bench.purge()
    after = {path: content for path, content in _data(bench)}
    kept = before.keys() & after.keys()
    assert len(kept) == 3  # the last commit, a file in each partition
    assert all(before[path] == after[path] for path in kept)


def _data(bench: Bench) -> list[tuple[Path, bytes]]:
    root = Path(bench.case.section.path)
    return [(file, file.read_bytes()) for file in root.rglob("*.parquet") if "_delta_log" not in file.parts]


def test_others_can_go_on_writing_and_reading(bench: Bench) -> None:
    bench.purge()
    before = bench.case.contents()
    for number in range(4):  # past the next automatic checkpoint
        bench.case.insert(f"later-{number}")
    DeltaTable(bench.case.section.path).delete("face_id = 'later-2'")
    table = DeltaTable(bench.case.section.path)
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    assert bench.case.contents().keys() == before.keys() | {"later-0", "later-1", "later-3"}
    found = DeltaTable(bench.case.section.path).to_pyarrow_table(filters=[("place", "=", "ünï")])
    assert set(found["place"].to_pylist()) == {"ünï"}


def test_leftovers_of_crashes_and_of_checkpoints_go(bench: Bench) -> None:
    table = Path(bench.case.section.path)
    DeltaTable(table).create_checkpoint()
    data = next(file for file, _ in _data(bench))
    (data.parent / ".lethe-tmp-1").write_bytes(data.read_bytes())
    (table / "_change_data").mkdir()
    (table / "_change_data" / "cdc-1.parquet").write_bytes(data.read_bytes())
    (table / "_delta_log" / "00000000000000000001.crc").write_text(json.dumps({"name": bench.case.gone[0]}))
    bench.purge()
    assert not (table / "_change_data").exists()
    assert bench.verify().status is Status.CLEAN


def test_a_predicate_that_stays_is_residue(bench: Bench) -> None:
    bench.purge()
    DeltaTable(bench.case.section.path).delete(f"face_id = '{bench.case.gone[0]}' OR face_id = 'face-3-0001'")
    verdict = bench.verify()
    assert verdict.status is Status.RESIDUE
    assert count(verdict, "id") == 1


def test_a_writer_who_commits_meanwhile_is_not_overwritten(bench: Bench) -> None:
    keys, store = bench.work.open_keys(), store_of(bench)
    match = store.locate(store.path, keys)

    def inspect(batches: object) -> None:
        bench.case.insert("newcomer")

    receipt = store.purge(match, keys, bench.work.receipts, inspect)
    assert receipt.status is Step.CONFLICT
    assert "newcomer" in bench.case.contents()
    assert set(bench.case.gone) <= set(bench.case.contents())


def test_a_transaction_that_is_under_way_while_a_table_is_cleaned_fails_instead_of_losing_its_file(
    bench: Bench,
) -> None:
    """The data file is written and taken for a leftover; its commit must not name a file that is gone."""
    table, refused = Path(bench.case.section.path), []
    late = table / "late.parquet"
    pq.write_table(pa.table({"face_id": ["newcomer"], "vector": [[0.5] * DIMENSIONS]}), late)
    file = AddAction(late.name, late.stat().st_size, {"place": "x"}, 0, True, json.dumps({"numRecords": 1}))
    open_before = DeltaTable(table)
    bench.purge()
    try:
        open_before.create_write_transaction([file], "append", open_before.schema(), ["place"])
    except DeltaError as error:
        refused.append(error)
    assert refused
    assert not set(bench.case.contents()) & {"newcomer", *bench.case.gone}


@pytest.mark.parametrize("stop", ["commit", "forget_past", "remove_files"])
def test_killed_at_any_step_it_is_finished_by_the_next_run(
    bench: Bench, stop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = bench.case.contents()

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(f"stores.delta.{stop}", kill)
        with pytest.raises(Killed):
            bench.purge()
    receipts = bench.purge()
    assert receipts[0].status is Step.REMOVED
    assert receipts[0].compacted_at
    assert bench.verify().status is Status.CLEAN
    assert same(bench.case.contents(), {name: one for name, one in before.items() if name not in bench.case.gone})


def test_all_rows_of_a_table(tmp_path: Path) -> None:
    case = DeltaCase(tmp_path / "store")
    case.gone = list(case.contents())
    bench = Bench(case, tmp_path)
    assert bench.purge()[0].rows_removed == COMMITS * ROWS
    assert case.contents() == {}
    assert bench.verify().status is Status.CLEAN


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"delta.appendOnly": "true"}, "delta.appendOnly"),
        ({"delta.enableChangeDataFeed": "true"}, "delta.enableChangeDataFeed"),
        ({"delta.enableDeletionVectors": "true"}, "deletion vectors"),
    ],
)
def test_tables_that_would_keep_rows_are_refused(tmp_path: Path, properties: dict[str, str], said: str) -> None:
    write_deltalake(tmp_path / "t", pa.table({"face_id": ["a"]}), configuration=properties)
    with pytest.raises(InputError, match=said):
        DeltaStore(str(tmp_path / "t"), "face_id").units()


def test_wrong_places_and_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no Delta table"):
        DeltaStore(str(tmp_path / "nothing"), "face_id").units()
    with pytest.raises(InputError, match="no place on a file system"):
        DeltaStore("s3://bucket/t", "face_id")
    write_deltalake(tmp_path / "t", pa.table({"face_id": ["a"], "n": [1]}), partition_by=["face_id"])
    with pytest.raises(InputError, match="partitioned by 'face_id'"):
        DeltaStore(str(tmp_path / "t"), "face_id").units()
    with pytest.raises(InputError, match="no column 'face'"):
        DeltaStore(str(tmp_path / "t"), "face").units()
    write_deltalake(tmp_path / "t" / "inner", pa.table({"face_id": ["a"]}))
    with pytest.raises(InputError, match="another table inside"):
        write_deltalake(tmp_path / "u", pa.table({"face_id": ["a"]}))
        write_deltalake(tmp_path / "u" / "inner", pa.table({"face_id": ["a"]}))
        DeltaStore(str(tmp_path / "u"), "face_id").units()


def test_a_table_that_changed_is_located_again(bench: Bench, tmp_path: Path) -> None:
    keys = KeySet.write(tmp_path / "k.arrow", [pa.array(bench.case.gone)])
    store = store_of(bench)
    match = store.locate(store.path, keys)
    bench.case.insert("newcomer")
    with pytest.raises(ConflictError, match="locate it again"):
        store.delete(match, keys, None)


def test_ids_in_json_are_found_however_they_are_written() -> None:
    """Escaped, in JSON inside JSON, shorter than the scan of raw bytes dares to count, or a number."""
    ids = ['ünï "quoted" / back\\slash', "bob", "17", "O'Brien"]
    log = [
        {"add": {"stats": json.dumps({"numRecords": 17, "minValues": {"face_id": ids[0]}})}},
        {"commitInfo": {"operationParameters": {"predicate": "face_id IN ('bob', 'O''Brien')"}}},
        {"add": {"stats": json.dumps({"maxValues": {"face_id": 17}})}},
    ]
    listed = pa.array(ids).cast(pa.large_binary())
    needles = make_needles(listed, fingerprint([], b"k" * 16), b"k" * 16)
    numbers = find_values(binary_runs(listed), needles.tables).tolist()
    for wanted, line in zip([{0}, {1, 3}, {2}], log, strict=True):
        data = np.frombuffer(json.dumps(line).encode(), np.uint8)
        examination = Examination(needles, b"k" * 16, "face_id")
        examination.examine(data)
        assert set().union(*examination.found.values()) == {numbers[which] for which in wanted}
