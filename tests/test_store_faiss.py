"""FAISS indexes keep the contract of all stores, whatever their type; what cannot be rebuilt is refused."""

from pathlib import Path
from typing import ClassVar

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.baseline import keep_baseline
from schemas.errors import InputError
from schemas.job import StoreSection
from stores.contract import Status
from stores.faiss import FaissStore
from stores.keys import KeySet
from tests.store_contract import Bench, Case, StoreContract, Vectors

ROWS, DIMENSIONS = 400, 64
faiss.omp_set_num_threads(1)


def all_vectors(index: faiss.Index) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and vectors (codes, of an LSH) of an index, by what FAISS itself offers its users."""
    if isinstance(index, faiss.IndexIVF):
        index.set_direct_map_type(faiss.DirectMap.Hashtable)
        lists = [faiss.rev_swig_ptr(index.invlists.get_ids(i), index.invlists.list_size(i)) for i in range(index.nlist)]
        numbers = np.concatenate(lists).copy()
        return numbers, np.stack([index.reconstruct(int(number)) for number in numbers])
    core = faiss.downcast_index(index.index) if hasattr(index, "index") else index
    numbers = faiss.vector_to_array(index.id_map) if hasattr(index, "index") else np.arange(index.ntotal)
    if isinstance(core, faiss.IndexLSH):
        return numbers, faiss.vector_to_array(core.codes).reshape(-1, core.code_size)
    return numbers, core.reconstruct_n(0, core.ntotal)


class FaissCase(Case):
    """One index of the type that `recipe` makes; `offset` makes numbers into ids of their own, not positions."""

    def __init__(self, folder: Path, recipe: str, offset: int | None, named: bool) -> None:
        folder.mkdir(parents=True)
        self.file = folder / "faces.index"
        self.ids = folder.parent / "numbers.parquet" if named else None
        self.random = np.random.default_rng(8)
        self.vectors = self.random.standard_normal((ROWS + 50, DIMENSIONS), np.float32)
        self.recipe, self.mapped = recipe, offset is not None
        self.newcomers: dict[int, str] = {}
        self.numbers = np.arange(ROWS) if offset is None else offset + 3 * np.arange(ROWS)
        self._write(self.numbers, self.vectors[:ROWS], [f"face-{row:04d}" for row in range(ROWS)])
        self.section = StoreSection(
            kind="faiss",
            path=str(self.file),
            key="face_id" if named else "faiss_id",
            ids=str(self.ids or ""),
            holds="vectors",
        )
        names = [f"face-{row:04d}" for row in range(ROWS)] if named else [str(number) for number in self.numbers]
        self.gone = names[::17]

    def _write(self, numbers: np.ndarray, vectors: np.ndarray, names: list[str]) -> None:
        index = faiss.index_factory(DIMENSIONS, self.recipe)
        index.train(vectors)
        if self.mapped:
            index.add_with_ids(vectors, numbers)
        else:
            index.add(vectors)
        faiss.write_index(index, str(self.file))
        self._write_ids(names, numbers)

    def _write_ids(self, names: list[str], numbers: np.ndarray) -> None:
        if self.ids:
            pq.write_table(pa.table({"face_id": names, "faiss_id": pa.array(numbers, pa.int64())}), self.ids)

    def _names(self) -> dict[int, str]:
        if not self.ids:
            return self.newcomers
        table = pq.read_table(self.ids)
        return dict(zip(table["faiss_id"].to_pylist(), table["face_id"].to_pylist(), strict=True))

    def contents(self) -> Vectors:
        numbers, vectors = all_vectors(faiss.read_index(str(self.file)))
        names = self._names()
        return {names.get(number, str(number)): v for number, v in zip(numbers.tolist(), vectors, strict=True)}

    def insert(self, name: str) -> None:
        index, names = faiss.read_index(str(self.file)), self._names()
        number = max(names, default=10**16) + 1
        self.newcomers = {number: name}
        if hasattr(index, "index") or (self.mapped and isinstance(index, faiss.IndexIVF)):
            index.add_with_ids(self.vectors[-1:], np.array([number]))
        else:
            index.add(self.vectors[-1:])
        faiss.write_index(index, str(self.file))
        self._write_ids([*names.values(), name], np.array([*names, number]))

    def delete_plainly(self, names: list[str]) -> None:
        """Build it again without them, which is what every type can do if one has the vectors."""
        index, known = faiss.read_index(str(self.file)), self._names()
        numbers, vectors = all_vectors(index)
        stays = np.array([known.get(number, str(number)) not in names for number in numbers.tolist()])
        if vectors.dtype == np.uint8:
            index.remove_ids(numbers[~stays])
            faiss.write_index(index, str(self.file))
            self._write_ids([known[number] for number in numbers[stays].tolist()], numbers[stays])
            return
        self.recipe = self.recipe if self.mapped else f"IDMap2,{self.recipe}"
        self.mapped = True
        self._write(numbers[stays], vectors[stays], [known.get(number, "") for number in numbers[stays].tolist()])

    def search(self, vector: np.ndarray) -> list[str] | None:
        names = self._names()
        index = faiss.read_index(str(self.file))
        if vector.dtype == np.uint8:
            return None
        if isinstance(index, faiss.IndexIVF):
            index.nprobe = index.nlist
        found = index.search(vector[None], 5)[1][0]
        return [names.get(number, str(number)) for number in found.tolist()]


class _FaissContract(StoreContract):
    recipe: ClassVar[str]
    offset: ClassVar[int | None] = None
    named: ClassVar[bool] = True

    def make(self, folder: Path) -> Case:
        return FaissCase(folder, self.recipe, self.offset, self.named)


class TestFlatByPosition(_FaissContract):
    recipe = "Flat"


class TestIvfByNumber(_FaissContract):
    recipe, offset = "IVF8,Flat", 10**12


class TestHnswMapped(_FaissContract):
    recipe, offset = "IDMap2,HNSW16", 10**6


class TestLshMapped(_FaissContract):
    recipe, offset = "IDMap,LSH256r", 10**6


class TestFlatOfIds(_FaissContract):
    """The numbers are the ids themselves."""

    recipe, offset, named = "IDMap,Flat", 10**15, False


def store_of(case: FaissCase) -> FaissStore:
    return FaissStore(case.section)


@pytest.mark.parametrize("recipe", ["PQ8x4", "IVF4,PQ8x4", "SQ8", "PCA32,Flat", "HNSW16,SQ8", "IVF4_HNSW16,Flat"])
def test_what_cannot_be_rebuilt_to_the_bit_is_refused(tmp_path: Path, recipe: str) -> None:
    case = FaissCase(tmp_path / "store", recipe, None, named=True)
    before = case.file.read_bytes()
    keys = KeySet.write(tmp_path / "keys.arrow", [pa.array(case.gone)])
    (unit,) = store_of(case).units()
    match = store_of(case).locate(unit, keys)
    receipt = store_of(case).compact(store_of(case).purge(match, keys, tmp_path / "r"), keys, tmp_path / "r")
    assert receipt.status is Status.UNREADABLE
    assert "lethe rebuilds" in (receipt.detail or "")
    assert case.file.read_bytes() == before
    assert len(pq.read_table(case.ids)) == ROWS


def test_lists_in_another_file_are_refused(tmp_path: Path) -> None:
    case = FaissCase(tmp_path / "store", "IVF8,Flat", 5, named=True)
    index = faiss.read_index(str(case.file))
    lists = faiss.OnDiskInvertedLists(index.nlist, index.code_size, str(tmp_path / "store" / "lists"))
    lists.merge_from(index.invlists, 0)
    index.replace_invlists(lists)
    faiss.write_index(index, str(case.file))
    keys = KeySet.write(tmp_path / "keys.arrow", [pa.array(case.gone)])
    match = store_of(case).locate(str(case.file), keys)
    assert "OnDiskInvertedLists" in (match.problem or "")


def test_centroids_are_computed_from_those_who_stay(tmp_path: Path) -> None:
    """With a list for each of two people a centroid is a face: that of somebody purged must not be left."""
    case = FaissCase(tmp_path / "store", "IVF200,Flat", 5, named=True)
    old = faiss.read_index(str(case.file))
    before = faiss.downcast_index(old.quantizer).reconstruct_n(0, old.nlist)
    case.gone = [f"face-{row:04d}" for row in range(250)]
    keys = KeySet.write(tmp_path / "keys.arrow", [pa.array(case.gone)])
    store = store_of(case)
    receipt = store.purge(store.locate(str(case.file), keys), keys, tmp_path / "r")
    assert receipt.status is Status.REMOVED
    new = faiss.read_index(str(case.file))
    after = faiss.downcast_index(new.quantizer).reconstruct_n(0, new.nlist)
    assert new.nlist == ROWS - 250
    assert any("lists" in lost for lost in receipt.dropped)
    gone = case.vectors[:250]
    assert (before[:, None] == gone[None]).all(axis=2).any()
    assert not (after[:, None] == gone[None]).all(axis=2).any()


def test_nobody_is_left(tmp_path: Path) -> None:
    case = FaissCase(tmp_path / "store", "IVF8,Flat", 5, named=True)
    case.gone = [f"face-{row:04d}" for row in range(ROWS)]
    bench = Bench(case, tmp_path)
    (receipt,) = bench.purge()
    assert receipt.status is Status.REMOVED and receipt.after is not None and receipt.after.rows == 0
    assert bench.verify().passed


def test_killed_between_the_index_and_the_file_of_ids(tmp_path: Path) -> None:
    case = FaissCase(tmp_path / "store", "Flat", None, named=True)
    bench = Bench(case, tmp_path)
    store, keys = bench.work.open_store(), bench.work.open_keys()
    for unit in store.units():
        keep_baseline(store.locate(unit, keys), keys, bench.work.baseline)
    store.purge(store.locate(str(case.file), keys), keys, bench.work.receipts)
    assert set(case.gone) <= set(pq.read_table(case.ids)["face_id"].to_pylist())
    (receipt,) = bench.purge()
    assert receipt.status is Status.REMOVED and receipt.rows_removed == len(case.gone)
    assert not set(case.gone) & set(pq.read_table(case.ids)["face_id"].to_pylist())
    assert bench.verify().passed


def test_a_number_nobody_is_named_for_stops_it(tmp_path: Path) -> None:
    case = FaissCase(tmp_path / "store", "Flat", None, named=True)
    case._write_ids([f"face-{row:04d}" for row in range(5, ROWS)], np.arange(5, ROWS))
    keys = KeySet.write(tmp_path / "keys.arrow", [pa.array(case.gone)])
    match = store_of(case).locate(str(case.file), keys)
    assert match.problem is not None and match.problem.startswith(f"5 of {ROWS} vectors have a number")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ids": ""}, 'key = "faiss_id"'),
        ({"key": "faiss_id"}, "key must be the column of ids"),
        ({"path": "nowhere"}, "no FAISS index there"),
    ],
)
def test_what_the_job_file_says_wrongly(tmp_path: Path, changes: dict[str, str], says: str) -> None:
    case = FaissCase(tmp_path / "store", "Flat", None, named=True)
    with pytest.raises(InputError, match=says):
        FaissStore(case.section.model_copy(update=changes)).units()


def test_a_number_that_is_somebody_elses_id_is_no_residue(tmp_path: Path) -> None:
    """Ids that are numbers, in a file that says whose which is: 17 in the index is not the person 17."""
    case = FaissCase(tmp_path / "store", "Flat", None, named=True)
    case._write_ids([str(ROWS - 1 - row) for row in range(ROWS)], np.arange(ROWS))
    case.gone = ["3", "17"]
    bench = Bench(case, tmp_path)
    bench.purge()
    assert bench.verify().passed
