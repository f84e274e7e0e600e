"""Lance tables keep the contract of all stores: with every kind of index, old versions, tags and orphans."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import lance
import numpy as np
import pyarrow as pa
import pytest

from pipelines.baseline import keep_baseline
from schemas.errors import InputError
from schemas.job import StoreSection
from stores.contract import Receipt, Status
from stores.lance import LanceStore
from tests.store_contract import Bench, Case, StoreContract, Vectors, same

ROWS, DIMENSIONS = 600, 64


def make_rows(names: list[str], vectors: np.ndarray) -> pa.Table:
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSIONS)
    return pa.table({"face_id": names, "vector": column, "seen": pa.array(range(len(names)), pa.int32())})


class LanceCase(Case):
    """A database of one table in two fragments, with a vector index (or none) and an index of the ids."""

    def __init__(self, folder: Path, kind: str | None, metric: str = "cosine", **options: int) -> None:
        folder.mkdir(parents=True)
        self.folder = folder / "faces.lance"
        self.section = StoreSection(kind="lance", path=str(folder), table="faces", holds="vectors")
        vectors = np.random.default_rng(5).standard_normal((ROWS, DIMENSIONS), np.float32)
        names = [f"face-{row:04d}" for row in range(ROWS)]
        self.indexed = kind is not None
        for part, mode in ((slice(0, 400), "create"), (slice(400, ROWS), "append")):
            lance.write_dataset(make_rows(names[part], vectors[part]), self.folder, mode=mode)
        if kind is not None:
            index = {"index_type": kind, "metric": metric, "num_partitions": 2, "name": "nearest"}
            lance.dataset(self.folder).create_index("vector", **index, **options)
            lance.dataset(self.folder).create_scalar_index("face_id", "BTREE", name="ids")
        self.gone = names[::17]

    def contents(self) -> Vectors:
        table = lance.dataset(self.folder).to_table()
        vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, DIMENSIONS)
        return dict(zip(table["face_id"].to_pylist(), vectors, strict=True))

    def insert(self, name: str) -> None:
        lance.write_dataset(make_rows([name], np.full((1, DIMENSIONS), 0.5, np.float32)), self.folder, mode="append")

    def delete_plainly(self, names: list[str]) -> None:
        lance.dataset(self.folder).delete(f"face_id IN ({', '.join(repr(name) for name in names)})")

    def search(self, vector: np.ndarray) -> list[str] | None:
        if not self.indexed:
            return None
        nearest = {"column": "vector", "q": vector, "k": 5, "nprobes": 10, "refine_factor": 20}
        found: list[str] = (
            lance.dataset(self.folder).to_table(nearest=nearest, columns=["face_id"])["face_id"].to_pylist()
        )
        return found


class _LanceContract(StoreContract):
    kind: ClassVar[str | None] = None
    options: ClassVar[dict[str, Any]] = {}

    def make(self, folder: Path) -> Case:
        return LanceCase(folder, self.kind, **self.options)


class TestWithoutIndex(_LanceContract):
    pass


class TestIvfFlatByCosine(_LanceContract):
    kind = "IVF_FLAT"


class TestIvfPq(_LanceContract):
    kind = "IVF_PQ"
    options: ClassVar[dict[str, Any]] = {"num_sub_vectors": 8, "metric": "L2"}


class TestHnswSq(_LanceContract):
    kind = "IVF_HNSW_SQ"
    options: ClassVar[dict[str, Any]] = {"m": 12, "ef_construction": 60}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(LanceCase(tmp_path / "store", "IVF_FLAT"), tmp_path)


def keep(bench: Bench) -> None:
    store, keys = bench.work.open_store(), bench.work.open_keys()
    for unit in store.units():
        keep_baseline(store.locate(unit, keys), keys, bench.work.baseline)


def test_a_tag_keeps_everybody_and_is_refused(bench: Bench) -> None:
    assert isinstance(bench.case, LanceCase)
    table = lance.dataset(bench.case.folder)
    table.tags.create("v1", 1)
    before, version = bench.case.contents(), table.version
    (receipt,) = bench.purge()
    assert receipt.status is Status.FAILED and "tag" in (receipt.detail or "")
    assert same(bench.case.contents(), before) and lance.dataset(bench.case.folder).version == version
    allowed = bench.case.section.model_copy(update={"options": {"tags": "delete"}})
    keys, store = bench.work.open_keys(), LanceStore(allowed)
    (unit,) = store.units()
    receipt = store.compact(store.purge(store.locate(unit, keys), keys, bench.work.receipts), keys, bench.work.receipts)
    assert receipt.compacted_at
    assert not lance.dataset(bench.case.folder).tags.list()


def test_a_branch_keeps_everybody_and_is_refused(bench: Bench) -> None:
    assert isinstance(bench.case, LanceCase)
    lance.dataset(bench.case.folder).create_branch("trial")
    before = bench.case.contents()
    (receipt,) = bench.purge()
    assert receipt.status is Status.FAILED and "branches" in (receipt.detail or "")
    assert same(bench.case.contents(), before)


def interrupted(bench: Bench, write: Callable[[], object]) -> Receipt:
    """Purge while somebody else writes, after the look at those who stay and before the commit."""
    keys, store = bench.work.open_keys(), bench.work.open_store()
    (unit,) = store.units()

    def inspect(batches: Iterable[pa.RecordBatch]) -> None:
        list(batches)
        write()

    return store.purge(store.locate(unit, keys), keys, bench.work.receipts, inspect)


def test_somebody_adds_a_person_at_the_last_moment(bench: Bench) -> None:
    assert interrupted(bench, lambda: bench.case.insert("newcomer")).status is Status.REMOVED
    assert "newcomer" in bench.case.contents()
    assert not set(bench.case.contents()) & set(bench.case.gone)


def test_somebody_deletes_at_the_last_moment(bench: Bench) -> None:
    """Two lists of hidden rows for one fragment: the second must not make the first undone."""
    receipt = interrupted(bench, lambda: bench.case.delete_plainly(["face-0001"]))
    assert receipt.status in (Status.CONFLICT, Status.REMOVED)
    bench.purge()
    left = {f"face-{row:04d}" for row in range(ROWS)} - {"face-0001", *bench.case.gone}
    assert set(bench.case.contents()) == left


def test_what_was_rewritten_and_never_cleaned_is(bench: Bench) -> None:
    """Deleted and compacted, as a manual says: the old version holds everybody still."""
    assert isinstance(bench.case, LanceCase)
    keep(bench)
    bench.case.delete_plainly(bench.case.gone)
    lance.dataset(bench.case.folder).optimize.compact_files(materialize_deletions_threshold=0.0)
    assert bench.readable() >= len(bench.case.gone)
    bench.purge()
    assert bench.verify().passed


def test_an_index_keeps_its_kind_and_parameters(tmp_path: Path) -> None:
    case = LanceCase(tmp_path / "store", "IVF_HNSW_SQ", m=12, ef_construction=60)

    def indexes() -> list[tuple[Any, ...]]:
        found = lance.dataset(case.folder).describe_indices()
        return [(one.name, one.index_type, one.field_names, one.details.get("hnsw")) for one in found]

    before = indexes()
    (receipt,) = Bench(case, tmp_path).purge()
    assert not receipt.dropped
    assert sorted(indexes()) == sorted(before)


def test_no_file_of_another_version_and_no_id_in_a_log(bench: Bench) -> None:
    assert isinstance(bench.case, LanceCase)
    bench.purge()
    table = lance.dataset(bench.case.folder)
    assert len(table.versions()) == 1
    there = {row["path"] for row in table.all_files().read_all().to_pylist()}
    assert there - {row["path"] for row in table.tracked_files().read_all().to_pylist()} <= {
        "_versions/latest_version_hint.json"
    }


def test_nobody_is_left(bench: Bench) -> None:
    bench.case.gone = list(bench.case.contents())
    emptied = Bench(bench.case, bench.folder / "again") if (bench.folder / "again").mkdir() is None else bench
    (receipt,) = emptied.purge()
    assert receipt.status is Status.REMOVED and receipt.compacted_at, receipt.detail
    assert not bench.case.contents()
    assert emptied.verify().passed


def test_all_tables_of_a_database(tmp_path: Path) -> None:
    case = LanceCase(tmp_path / "store", None)
    lance.write_dataset(
        make_rows(case.gone, np.ones((len(case.gone), DIMENSIONS), np.float32)), tmp_path / "store/b.lance"
    )
    case.section = case.section.model_copy(update={"table": ""})
    receipts = Bench(case, tmp_path).purge()
    assert sorted(receipt.rows_removed for receipt in receipts) == [len(case.gone)] * 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"table": "nobody"}, "its tables: faces"),
        ({"options": {"tag": "delete"}}, "unknown option tag"),
        ({"key": "name"}, "the key column name is not there"),
    ],
)
def test_what_the_job_file_says_wrongly(bench: Bench, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        store = LanceStore(bench.case.section.model_copy(update=changes))
        store.locate(store.units()[0], bench.work.open_keys())


def test_ids_that_are_numbers(tmp_path: Path) -> None:
    case = LanceCase(tmp_path / "store", None)
    numbers = pa.array(range(10**6, 10**6 + ROWS), pa.int64())
    table = lance.dataset(case.folder).to_table()
    lance.write_dataset(table.set_column(0, "face_id", numbers), case.folder, mode="overwrite")
    case.gone = [str(number) for number in numbers.to_pylist()[::17]]
    bench = Bench(case, tmp_path)
    keep(bench)
    assert bench.readable("id") >= len(case.gone)
    bench.purge()
    assert bench.verify().passed


def test_an_id_inside_that_of_somebody_who_stays(tmp_path: Path) -> None:
    case = LanceCase(tmp_path / "store", "IVF_FLAT")
    lance.write_dataset(
        make_rows(["face-0017/left"], np.full((1, DIMENSIONS), 0.25, np.float32)), case.folder, mode="append"
    )
    bench = Bench(case, tmp_path)
    bench.purge()
    verdict = bench.verify()
    assert "face-0017" in case.gone and verdict.passed, verdict.reasons


CHILD = """
import sys
from pathlib import Path
from schemas.job import StoreSection
from stores.keys import KeySet
from stores.lance import LanceStore
section = StoreSection.model_validate_json(sys.argv[1])
keys, receipts = KeySet.open(Path(sys.argv[2])), Path(sys.argv[3])
store = LanceStore(section)
(unit,) = store.units()
print("ready", flush=True)
store.compact(store.purge(store.locate(unit, keys), keys, receipts), keys, receipts)
"""


def kill_and_finish(tmp_path: Path, after: float) -> None:
    bench = Bench(LanceCase(tmp_path / "store", "IVF_FLAT"), tmp_path)
    keep(bench)
    before = bench.case.contents()
    arguments = [bench.case.section.model_dump_json(), str(bench.work.keys_file), str(bench.work.receipts)]
    root = str(Path(__file__).parent.parent)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
    )
    assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    time.sleep(after)
    child.send_signal(signal.SIGKILL)
    child.wait()
    (receipt,) = bench.purge()
    assert receipt.compacted_at, receipt.detail
    left = {name: vector for name, vector in before.items() if name not in bench.case.gone}
    assert same(bench.case.contents(), left)
    verdict = bench.verify()
    assert verdict.passed, verdict.reasons


@pytest.mark.parametrize("after", [0.01, 0.05])
def test_killed_and_run_again(tmp_path: Path, after: float) -> None:
    kill_and_finish(tmp_path, after)


@pytest.mark.slow
@pytest.mark.parametrize("after", np.linspace(0, 0.6, 40))
def test_killed_at_any_moment_and_run_again(tmp_path: Path, after: float) -> None:
    kill_and_finish(tmp_path, after)
