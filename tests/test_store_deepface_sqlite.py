"""DeepFace's SQLite database keeps the contract of all stores."""

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt

from schemas.job import StoreSection
from tests.deepface_case import CRITERIA, PEOPLE, build_index, nearest, people
from tests.store_contract import Case, StoreContract, Vectors


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
