"""Stores as people have them, one of each kind: how it is written, how its users delete, how they read.

A new kind is one function that writes, and an entry in CASES.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from stores_servers import (
    delete_from_postgres,
    delete_from_s3,
    read_postgres,
    read_s3,
    write_pgvector,
    write_postgres,
    write_s3,
)

from schemas.job import StoreSection

if TYPE_CHECKING:
    from pyiceberg.table import Table

Matrix = npt.NDArray[np.float32]
"""Vectors, shape `(people, dimensions)`."""

Vectors = dict[str, npt.NDArray[np.floating]]

os.environ.setdefault("DEEPFACE_BACKEND_ENGINE", "onnx")


@dataclass(frozen=True)
class StoreCase:
    """One row of the table. `delete` is what the users of the store call deleting, and `ordinary` says it in words."""

    title: str
    ordinary: str
    write: Callable[[Path, list[str], Matrix], StoreSection]
    delete: Callable[[StoreSection, list[str]], None]
    read: Callable[[StoreSection], Vectors]
    packages: tuple[str, ...]
    people: int = 20_000
    dimensions: int = 512


def as_table(names: list[str], vectors: Matrix) -> pa.Table:
    """Ids and vectors."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    return pa.table({"face_id": names, "vector": column.cast(pa.list_(pa.float32()))})


def as_vectors(table: pa.Table) -> Vectors:
    """Ids and vectors back from a table of both."""
    names = table.column("face_id").to_pylist()
    flat = table.column("vector").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return dict(zip(names, flat.reshape(len(names), -1), strict=True)) if names else {}


def write_parquet(folder: Path, names: list[str], vectors: Matrix) -> StoreSection:
    """Four files as pyarrow writes them."""
    folder.mkdir(parents=True)
    step = -(-len(names) // 4)
    for part in range(4):
        rows = slice(part * step, (part + 1) * step)
        pq.write_table(as_table(names[rows], vectors[rows]), folder / f"{part}.parquet", compression="zstd")
    return StoreSection(kind="parquet", path=str(folder), holds="vectors")


def delete_from_parquet(store: StoreSection, names: list[str]) -> None:
    """Read, filter, write beside it under a new name, as a data lake's job does that keeps what it read."""
    for file in sorted(Path(store.path).glob("*.parquet")):
        table = pq.read_table(file)
        kept = table.filter(pc.invert(pc.is_in(table.column("face_id"), pa.array(names))))
        old = file.with_name(f".{file.name}.old")
        file.rename(old)
        pq.write_table(kept, file, compression="zstd")


def read_parquet(store: StoreSection) -> Vectors:
    """With pyarrow."""
    return as_vectors(pq.read_table(store.path))


def write_deepface(journal: str) -> Callable[[Path, list[str], Matrix], StoreSection]:
    """A database of DeepFace's own client, with the index that it builds."""

    def write(folder: Path, names: list[str], vectors: Matrix) -> StoreSection:
        from deepface import DeepFace
        from deepface.modules.database.sqlite import SqliteClient

        folder.mkdir(parents=True)
        file = folder / "faces.db"
        with closing(sqlite3.connect(file)) as database:
            database.execute(f"PRAGMA journal_mode = {journal}")
        criteria = {"model_name": "Dlib", "detector_backend": "skip"}
        random = np.random.default_rng(5)
        with closing(SqliteClient(str(file))) as client:
            client.insert_embeddings(
                [
                    {
                        "img_name": name,
                        "face": random.random((4, 4, 3)),
                        "embedding": vector.astype(float).tolist(),
                        "aligned": True,
                        "l2_normalized": False,
                        **criteria,
                    }
                    for name, vector in zip(names, vectors, strict=True)
                ]
            )
            DeepFace.build_index(**criteria, database_type="sqlite", connection=client.conn)
        return StoreSection(kind="deepface", path=str(file), key="img_name", holds="vectors")

    return write


def delete_from_deepface(store: StoreSection, names: list[str]) -> None:
    """DELETE and VACUUM: DeepFace has no call for it."""
    with closing(sqlite3.connect(store.path)) as database:
        database.executemany("DELETE FROM embeddings WHERE img_name = ?", [(name,) for name in names])
        database.commit()
        database.execute("VACUUM")


def read_deepface(store: StoreSection) -> Vectors:
    """The embeddings of the rows."""
    with closing(sqlite3.connect(store.path)) as database:
        rows = database.execute("SELECT img_name, embedding FROM embeddings").fetchall()
    return {name: np.frombuffer(vector, "<f8") for name, vector in rows}


def write_delta(folder: Path, names: list[str], vectors: Matrix) -> StoreSection:
    """Four commits of delta-rs."""
    from deltalake import write_deltalake

    step = -(-len(names) // 4)
    for part in range(4):
        rows = slice(part * step, (part + 1) * step)
        write_deltalake(folder, as_table(names[rows], vectors[rows]), mode="append")
    return StoreSection(kind="delta", path=str(folder), holds="vectors")


def delete_from_delta(store: StoreSection, names: list[str]) -> None:
    """`DeltaTable.delete`."""
    from deltalake import DeltaTable

    listed = ", ".join(f"'{name}'" for name in names)
    DeltaTable(store.path).delete(f"face_id IN ({listed})")


def read_delta(store: StoreSection) -> Vectors:
    """The current version."""
    from deltalake import DeltaTable

    return as_vectors(DeltaTable(store.path).to_pyarrow_table())


def write_lance(folder: Path, names: list[str], vectors: Matrix) -> StoreSection:
    """One fragment, with an IVF_FLAT index by cosine."""
    import lance

    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    lance.write_dataset(pa.table({"face_id": names, "vector": column}), str(folder))
    lance.dataset(str(folder)).create_index("vector", "IVF_FLAT", metric="cosine", num_partitions=16)
    return StoreSection(kind="lance", path=str(folder), holds="vectors")


def delete_from_lance(store: StoreSection, names: list[str]) -> None:
    """`LanceDataset.delete`, `compact_files`, `cleanup_old_versions`, all with their defaults."""
    import datetime

    import lance

    listed = ", ".join(f"'{name}'" for name in names)
    dataset = lance.dataset(store.path)
    dataset.delete(f"face_id IN ({listed})")
    dataset.optimize.compact_files()
    dataset.cleanup_old_versions(datetime.timedelta(0))


def read_lance(store: StoreSection) -> Vectors:
    """The current version."""
    import lance

    return as_vectors(lance.dataset(store.path).to_table())


def write_faiss(recipe: str) -> Callable[[Path, list[str], Matrix], StoreSection]:
    """One index in a file, with a table of who has which number."""

    def write(folder: Path, names: list[str], vectors: Matrix) -> StoreSection:
        import faiss

        folder.mkdir(parents=True)
        index = faiss.index_factory(vectors.shape[1], recipe)
        numbers = np.arange(len(names)) * 3 + 1_000_000
        index.train(vectors)
        index.add_with_ids(vectors, numbers)
        faiss.write_index(index, str(folder / "faces.index"))
        ids = folder.parent / "numbers.parquet"
        pq.write_table(pa.table({"faiss_id": numbers, "face_id": names}), ids)
        return StoreSection(kind="faiss", path=str(folder / "faces.index"), ids=str(ids), holds="vectors")

    return write


def delete_from_faiss(store: StoreSection, names: list[str]) -> None:
    """`remove_ids` and `write_index`, where the index can; an HNSW index cannot, and nothing happens to its file."""
    import faiss

    table = pq.read_table(store.ids)
    gone = table.filter(pc.is_in(table.column("face_id"), pa.array(names))).column("faiss_id").to_numpy()
    index = faiss.read_index(store.path)
    try:
        index.remove_ids(gone)
    except RuntimeError:
        return
    faiss.write_index(index, store.path)


def read_faiss(store: StoreSection) -> Vectors:
    """Every vector of the index, by the id of its number."""
    import faiss

    names = dict(zip(*(column.to_pylist() for column in pq.read_table(store.ids).columns), strict=True))
    index = faiss.read_index(store.path)
    if hasattr(index, "index"):
        numbers, core = faiss.vector_to_array(index.id_map), faiss.downcast_index(index.index)
        vectors = core.reconstruct_n(0, core.ntotal)
    else:
        lists = [faiss.rev_swig_ptr(index.invlists.get_ids(i), index.invlists.list_size(i)) for i in range(index.nlist)]
        numbers = np.concatenate(lists).copy()
        index.set_direct_map_type(faiss.DirectMap.Hashtable)
        vectors = np.stack([index.reconstruct(int(number)) for number in numbers])
    return {names[int(number)]: vector for number, vector in zip(numbers, vectors, strict=True)}


def write_iceberg(folder: Path, names: list[str], vectors: Matrix) -> StoreSection:
    """Four snapshots of one table, with a SQLite catalog beside it."""
    from pyiceberg.catalog import load_catalog

    folder.mkdir(parents=True)
    options = {
        "name": "faces",
        "type": "sql",
        "uri": f"sqlite:///{folder.parent / 'catalog.db'}",
        "warehouse": folder.as_uri(),
    }
    catalog = load_catalog(**options)
    catalog.create_namespace("people")
    table = catalog.create_table("people.faces", schema=as_table(names[:1], vectors[:1]).schema)
    step = -(-len(names) // 4)
    for part in range(4):
        rows = slice(part * step, (part + 1) * step)
        table.append(as_table(names[rows], vectors[rows]))
    return StoreSection(kind="iceberg", path=str(folder), table="people.faces", holds="vectors", options=options)


def _iceberg(store: StoreSection) -> "Table":
    from pyiceberg.catalog import load_catalog

    return load_catalog(**store.options).load_table(store.table)


def delete_from_iceberg(store: StoreSection, names: list[str]) -> None:
    """`Table.delete` and `expire_snapshots`."""
    import datetime

    from pyiceberg.expressions import In

    table = _iceberg(store)
    table.delete(In("face_id", set(names)))
    until = datetime.datetime.now() + datetime.timedelta(days=1)
    table.maintenance.expire_snapshots().older_than(until).commit()


def read_iceberg(store: StoreSection) -> Vectors:
    """The current snapshot."""
    return as_vectors(_iceberg(store).scan().to_arrow())


CASES = (
    StoreCase(
        "Parquet files, zstd",
        "rewritten with pyarrow, old files kept hidden",
        write_parquet,
        delete_from_parquet,
        read_parquet,
        ("pyarrow",),
    ),
    StoreCase(
        "Parquet on S3, versioned",
        "each object put again",
        write_s3,
        delete_from_s3,
        read_s3,
        ("boto3",),
    ),
    StoreCase(
        "DeepFace, PostgreSQL",
        "DELETE, VACUUM",
        write_postgres,
        delete_from_postgres,
        read_postgres,
        ("psycopg", "pgserver"),
        people=5_000,
        dimensions=128,
    ),
    StoreCase(
        "DeepFace, pgvector with HNSW",
        "DELETE, VACUUM",
        write_pgvector,
        delete_from_postgres,
        read_postgres,
        ("psycopg", "pgserver"),
        people=5_000,
    ),
    StoreCase(
        "DeepFace, SQLite",
        "DELETE, VACUUM",
        write_deepface("delete"),
        delete_from_deepface,
        read_deepface,
        ("deepface", "faiss-cpu"),
        people=5_000,
        dimensions=128,
    ),
    StoreCase(
        "DeepFace, SQLite with a WAL",
        "DELETE, VACUUM",
        write_deepface("wal"),
        delete_from_deepface,
        read_deepface,
        ("deepface", "faiss-cpu"),
        people=5_000,
        dimensions=128,
    ),
    StoreCase("Delta Lake", "delete", write_delta, delete_from_delta, read_delta, ("deltalake",)),
    StoreCase(
        "Lance with IVF_FLAT",
        "delete, compact, clean up by default",
        write_lance,
        delete_from_lance,
        read_lance,
        ("pylance",),
    ),
    StoreCase(
        "Iceberg, SQL catalog",
        "delete, expire snapshots",
        write_iceberg,
        delete_from_iceberg,
        read_iceberg,
        ("pyiceberg",),
    ),
    StoreCase(
        "FAISS IDMap2,Flat", "remove_ids", write_faiss("IDMap2,Flat"), delete_from_faiss, read_faiss, ("faiss-cpu",)
    ),
    StoreCase(
        "FAISS IVF64,Flat", "remove_ids", write_faiss("IVF64,Flat"), delete_from_faiss, read_faiss, ("faiss-cpu",)
    ),
    StoreCase(
        "FAISS IDMap2,HNSW32",
        "none: HNSW cannot",
        write_faiss("IDMap2,HNSW32"),
        delete_from_faiss,
        read_faiss,
        ("faiss-cpu",),
        people=5_000,
    ),
)
