"""DeepFace's SQLite database keeps the contract of all stores."""

import os
import random
import shutil
import signal
import sqlite3
import time
import zlib
from contextlib import closing
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from pipelines.baseline import keep_baseline
from schemas.errors import InputError
from schemas.job import StoreSection
from stores.audit.check import view_file
from stores.audit.sqlite import cuts
from stores.audit.verdict import Status
from stores.contract import Status as Step
from stores.keys import KeySet
from stores.kinds import open_store
from tests.deepface_case import CRITERIA, PEOPLE, build_index, nearest, people
from tests.store_contract import Bench, Case, StoreContract, Vectors, same


class SqliteCase(Case):
    def __init__(self, folder: Path, *, journal: str = "delete", page_size: int = 4096) -> None:
        from deepface.modules.database.sqlite import SqliteClient

        folder.mkdir(parents=True)
        self.file = folder / "faces.db"
        with closing(sqlite3.connect(self.file)) as db:
            db.execute(f"PRAGMA page_size = {page_size}")
            db.execute(f"PRAGMA journal_mode = {journal}")
            db.execute("VACUUM")
        names = [f"photos/person-{number:04d}.jpg" for number in range(PEOPLE)]
        with closing(SqliteClient(str(self.file))) as client:
            client.insert_embeddings(people(names))
            build_index("sqlite", client.conn)
        self.section = StoreSection(kind="deepface", path=str(self.file), key="img_name", holds="vectors")
        self.gone = names[::11]

    def contents(self) -> Vectors:
        with closing(sqlite3.connect(self.file)) as db:
            rows = db.execute("SELECT img_name, embedding FROM embeddings").fetchall()
        return {name: np.frombuffer(vector, "<f8") for name, vector in rows}

    def insert(self, name: str) -> None:
        from deepface.modules.database.sqlite import SqliteClient

        with closing(SqliteClient(str(self.file))) as client:
            client.insert_embeddings(people([name], seed=zlib.crc32(name.encode())))

    def delete_plainly(self, names: list[str]) -> None:
        with closing(sqlite3.connect(self.file)) as db:
            db.executemany("DELETE FROM embeddings WHERE img_name = ?", [(name,) for name in names])
            db.commit()

    def search(self, vector: npt.NDArray[np.floating]) -> list[str] | None:
        from deepface.modules.database.sqlite import SqliteClient

        with closing(SqliteClient(str(self.file))) as client:
            found = nearest(client.get_embeddings_index(**CRITERIA, aligned=True, l2_normalized=False), vector)
            names = {one["id"]: one["img_name"] for one in client.search_by_id(found)}
        assert len(names) == len(found), "the index knows somebody without a name"
        return list(names.values())


class TestDeepFaceSqlite(StoreContract):
    def make(self, folder: Path) -> Case:
        return SqliteCase(folder)


class TestDeepFaceSqliteWal(StoreContract):
    def make(self, folder: Path) -> Case:
        return SqliteCase(folder, journal="wal", page_size=1024)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(SqliteCase(tmp_path / "store"), tmp_path)


def test_an_index_that_outlived_its_rows_is_found_and_built_again(bench: Bench) -> None:
    """DELETE, VACUUM and build_index, as people do: the vectors are all still in the index."""
    case, keys = bench.case, bench.work.open_keys()
    assert isinstance(case, SqliteCase)
    store = bench.work.open_store()
    before = case.contents()
    keep_baseline(store.locate("embeddings", keys), keys, bench.work.baseline)
    case.delete_plainly(case.gone)
    with closing(sqlite3.connect(case.file)) as db:
        db.execute("VACUUM")
        build_index("sqlite", db)
    assert bench.readable() == len(case.gone)
    bench.purge()
    assert bench.verify().status is Status.CLEAN
    for name in before:
        assert not set(case.search(before[name]) or []) & set(case.gone)


def test_an_index_of_nobody_goes(tmp_path: Path) -> None:
    case = SqliteCase(tmp_path / "store")
    case.gone = list(case.contents())
    bench = Bench(case, tmp_path)
    bench.purge()
    with closing(sqlite3.connect(case.file)) as db:
        assert db.execute("SELECT count(*) FROM embeddings_index").fetchone() == (0,)
    assert bench.verify().status is Status.CLEAN


def test_a_key_that_is_no_column_is_refused_with_those_that_are(tmp_path: Path) -> None:
    case = SqliteCase(tmp_path / "store")
    store = open_store(case.section.model_copy(update={"key": "face_id"}))
    keys = KeySet.write(tmp_path / "keys", [pa.array(case.gone)])
    with pytest.raises(InputError, match="no column 'face_id', it has id, img_name, face,"):
        store.locate("embeddings", keys)


def test_what_is_no_database_of_deepface_is_refused(tmp_path: Path) -> None:
    section = StoreSection(kind="deepface", path=str(tmp_path / "faces.db"), key="id", holds="vectors")
    with pytest.raises(InputError, match="there is no SQLite database"):
        open_store(section)
    with closing(sqlite3.connect(section.path)) as db:
        db.execute("CREATE TABLE other (a)")
    with pytest.raises(InputError, match="no table embeddings of DeepFace's"):
        open_store(section).locate("embeddings", KeySet.write(tmp_path / "keys", [pa.array(["1"])]))
    with pytest.raises(InputError, match="mysql://"):
        open_store(section.model_copy(update={"path": "mysql://server/faces"}))


def test_rows_can_be_named_by_their_number(tmp_path: Path) -> None:
    case = SqliteCase(tmp_path / "store")
    case.section = case.section.model_copy(update={"key": "id"})
    names = list(case.contents())
    case.gone = ["3", "17"]
    bench = Bench(case, tmp_path)
    bench.purge()
    assert set(names) - set(case.contents()) == {names[2], names[16]}
    assert bench.verify().status is Status.CLEAN


def test_other_programs_may_have_the_database_open(bench: Bench) -> None:
    case = bench.case
    assert isinstance(case, SqliteCase)
    with closing(sqlite3.connect(case.file)) as other:
        other.execute("PRAGMA journal_mode = wal")
        assert other.execute("SELECT count(*) FROM embeddings").fetchone() == (PEOPLE,)
        (receipt,) = bench.purge()
        assert receipt.compacted_at
        assert other.execute("SELECT count(*) FROM embeddings").fetchone() == (PEOPLE - len(case.gone),)
        assert bench.verify().status is Status.CLEAN
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM embeddings").fetchone()
        case.insert("newcomer")
        assert bench.verify().status is Status.UNVERIFIED
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_writer_in_the_way_is_no_success(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stores.deepface_sqlite._PATIENCE", 0.1)
    case = bench.case
    assert isinstance(case, SqliteCase)
    with closing(sqlite3.connect(case.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        (receipt,) = bench.purge()
        assert receipt.status is Step.FAILED and "another program" in (receipt.detail or "")
    assert len(case.contents()) == PEOPLE
    (receipt,) = bench.purge()
    assert receipt.status is Step.REMOVED and receipt.compacted_at


def test_a_copy_beside_the_database_is_found(bench: Bench) -> None:
    case = bench.case
    assert isinstance(case, SqliteCase)
    shutil.copy(case.file, f"{case.file}.bak")
    bench.purge()
    assert bench.readable() >= len(case.gone)
    assert bench.readable("id") == len(case.gone)


@pytest.mark.parametrize("page_size", [512, 1024])
def test_what_two_pages_share_is_found(tmp_path: Path, page_size: int) -> None:
    """A long row is cut by its pages; laid together, every stretch of every vector is in one piece again."""
    case = SqliteCase(tmp_path / "store", page_size=page_size)
    with closing(sqlite3.connect(case.file)) as db:
        db.execute("DROP TABLE embeddings_index")
        db.execute("UPDATE embeddings SET face = randomblob(4000 + 37 * id)")
        db.commit()
        vectors = [one for (one,) in db.execute("SELECT embedding FROM embeddings WHERE id % 7 = 0")]
    data = view_file(case.file)
    raw, pieces = data.tobytes(), b"".join(piece.tobytes() for piece in cuts(data))
    stretches = [one[at : at + 32] for one in vectors for at in range(0, len(one) - 31, 8)]
    cut = [one for one in stretches if one not in raw]
    assert cut
    assert all(one in pieces for one in cut)


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize("seed", range(5))
def test_a_kill_at_any_moment_loses_nobody(tmp_path: Path, journal: str, seed: int) -> None:
    case = SqliteCase(tmp_path / "store", journal=journal)
    bench = Bench(case, tmp_path)
    before = case.contents()
    pid = os.fork()
    if not pid:
        faiss.omp_set_num_threads(1)  # threads do not survive a fork
        bench.purge()
        os._exit(0)
    time.sleep(random.Random(seed).uniform(0, 0.25))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    bench.purge()
    assert same(case.contents(), {name: vector for name, vector in before.items() if name not in case.gone})
    verdict = bench.verify()
    assert verdict.status is Status.CLEAN, verdict.reasons
    for name in case.gone:
        assert not set(case.search(before[name]) or []) & set(case.gone)


def test_what_another_program_left_half_written_is_rolled_back_by_a_purge_only(bench: Bench) -> None:
    case = bench.case
    assert isinstance(case, SqliteCase)
    pid = os.fork()
    if not pid:
        db = sqlite3.connect(case.file, isolation_level=None)
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM embeddings WHERE id > 10")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    before = bench.footprint()
    match = bench.work.open_store().locate("embeddings", bench.work.open_keys())
    assert "a program died while it wrote" in (match.problem or "")
    assert bench.footprint() == before
    (receipt,) = bench.purge()
    assert receipt.status is Step.REMOVED and receipt.compacted_at
    assert len(case.contents()) == PEOPLE - len(case.gone)
    assert bench.verify().status is Status.CLEAN
