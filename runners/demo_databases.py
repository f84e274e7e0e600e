"""The demo's faces once more, in the databases and indexes that controllers really have, written by their own software.

    deepface/faces.db      DeepFace's SQLite database, with the search index that its `build_index` stores in it
    faiss/faces.faiss      a FAISS index of inverted lists, and `numbers.parquet`, which says whose number is whose
    lance/faces.lance      a Lance table with an index
    delta/faces            a Delta table, of several versions if there are many faces

What is in them is drawn like the demo's other stores; their bytes are not the same twice: databases note the time.
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from runners.demo_stores import DIMENSIONS
from runners.demo_text import opaque_ids

_AT_ONCE = 10_000
_LISTS = 16
_CROP = (4, 4, 3)
"""Height, width and colours of a face crop: enough for a demo."""
_CRITERIA = {"model_name": "Dlib", "detector_backend": "skip"}

Vectors = npt.NDArray[np.float32]


def write_deepface(folder: Path, total: int, seed: int) -> None:
    """Register every face with DeepFace's own client, crop and all, and have DeepFace build its index."""
    os.environ.setdefault("DEEPFACE_BACKEND_ENGINE", "onnx")  # else it loads whatever framework is installed
    os.environ.setdefault("DEEPFACE_LOG_LEVEL", str(logging.ERROR))  # it writes to standard output
    from deepface import DeepFace
    from deepface.modules.database.sqlite import SqliteClient

    with closing(sqlite3.connect(folder / "deepface" / "faces.db")) as connection:
        client = SqliteClient(connection=connection)
        for names, vectors in _faces(total, seed):
            crops = np.random.default_rng([seed, len(names)]).random((len(names), *_CROP))
            client.insert_embeddings(
                [
                    {"img_name": name, "face": crop, "embedding": vector, "aligned": True, "l2_normalized": False}
                    | _CRITERIA
                    for name, crop, vector in zip(names.to_pylist(), crops, vectors.tolist(), strict=True)
                ],
                batch_size=_AT_ONCE,
            )
        DeepFace.build_index(**_CRITERIA, database_type="sqlite", connection=connection)


def write_faiss(folder: Path, total: int, seed: int) -> None:
    """An index of inverted lists with numbers of its own, and the table that tells whose they are."""
    import faiss

    parts = list(_faces(total, seed))
    vectors = np.concatenate([part for _, part in parts])
    numbers = np.random.default_rng([seed, 9]).permutation(total).astype(np.int64)
    index = faiss.index_factory(DIMENSIONS, f"IVF{min(_LISTS, total)},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add_with_ids(vectors, numbers)
    faiss.write_index(index, str(folder / "faiss" / "faces.faiss"))
    names = pa.concat_arrays([part for part, _ in parts])
    pq.write_table(pa.table({"face_id": names, "faiss_id": numbers}), folder / "faiss" / "numbers.parquet")


def write_lance(folder: Path, total: int, seed: int) -> None:
    """A Lance table, appended to as it grew, with an index over its vectors."""
    import lance

    path = str(folder / "lance" / "faces.lance")
    for number, (names, vectors) in enumerate(_faces(total, seed)):
        table = lance.write_dataset(_table(names, vectors), path, mode="append" if number else "create")
    table.create_index("vector", "IVF_FLAT", num_partitions=min(_LISTS, total), metric="cosine")


def write_delta(folder: Path, total: int, seed: int) -> None:
    """A Delta table of several commits."""
    from deltalake import write_deltalake

    for names, vectors in _faces(total, seed):
        write_deltalake(folder / "delta" / "faces", _table(names, vectors), mode="append")


def _table(names: pa.Array, vectors: Vectors) -> pa.Table:
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSIONS)
    return pa.table({"face_id": names, "vector": column})


def _faces(total: int, seed: int) -> Iterator[tuple[pa.Array, Vectors]]:
    """The face ids of all records and a unit vector each, so many at once, in the order of the records."""
    for first in range(0, total, _AT_ONCE):
        numbers = np.arange(first, min(first + _AT_ONCE, total))
        vectors = np.random.default_rng([seed, first, 5]).standard_normal((len(numbers), DIMENSIONS), np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        yield opaque_ids(seed, "face", numbers), vectors


DATABASES: dict[str, tuple[Callable[[Path, int, int], None], str]] = {
    "deepface": (write_deepface, 'path = "deepface/faces.db"\nkey = "img_name"'),
    "faiss": (write_faiss, 'path = "faiss/faces.faiss"\nids = "faiss/numbers.parquet"'),
    "lance": (write_lance, 'path = "lance/faces.lance"'),
    "delta": (write_delta, 'path = "delta/faces"\nname = "faces-delta"'),
}
"""By kind of store: what writes it, and where a job file says it is."""


def section(kind: str) -> str:
    """The job file's `[[store]]` of one kind."""
    return f'\n[[store]]\nkind = "{kind}"\n{DATABASES[kind][1]}\nholds = "vectors"\n'
