"""Canaries in databases: rows appended by the store's own software; one function a kind.

They come as in Parquet: canaries alone first, where a store keeps what was written together together, then canaries at
the ends of a part with bystanders between them. Indexes that only a rebuild brings up to date (Lance's, DeepFace's) are
left as they are: to build them is the controller's business, and a purge does.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

import numpy as np
import pyarrow as pa

from schemas.errors import InputError
from schemas.job import StoreSection
from stores.audit.deepface_rows import to_batch
from stores.audit.readers import open_reader
from stores.canaries import Planting, draw_rows

_SETTINGS = ("face_shape", "model_name", "detector_backend", "aligned", "l2_normalized")
"""What new rows of DeepFace's have in common with one that is there."""


def plan_lance(store: StoreSection, keys: Sequence[str], token: str) -> Planting:
    """Two appends to the first table: a fragment of canaries alone, and a mixed one."""
    import lance

    from stores.lance import LanceStore

    def append(rows: pa.Table) -> None:
        lance.write_dataset(rows, unit, mode="append")

    unit = LanceStore(store).units()[0]
    return _plan_appends(store, unit, keys, token, append)


def plan_delta(store: StoreSection, keys: Sequence[str], token: str) -> Planting:
    """Two appends: a file of canaries alone, and a mixed one; two new versions in the log."""
    from deltalake import write_deltalake

    from stores.delta import DeltaStore

    def append(rows: pa.Table) -> None:
        write_deltalake(unit, rows, mode="append")

    (unit,) = DeltaStore(store.path, store.key).units()
    return _plan_appends(store, unit, keys, token, append)


def _plan_appends(
    store: StoreSection, unit: str, keys: Sequence[str], token: str, append: Callable[[pa.Table], None]
) -> Planting:
    with refusals():
        rows = open_reader(store).read(unit)
        sample = next((batch for batch in rows.batches if len(batch)), None)
        parts = draw_rows(rows.fields, store.key, sample, keys, token)

    def write() -> None:
        with refusals():
            for part in parts:
                append(part)

    return Planting((unit,), pa.concat_tables(parts), write)


def plan_deepface(store: StoreSection, keys: Sequence[str], token: str) -> Planting:
    """Rows as DeepFace registers them, in one transaction, with the settings of the first that is there.

    Source: deepface 0.0.103, `insert_embeddings` in modules/database/sqlite.py.
    """
    from stores.deepface_rows import TABLE
    from stores.deepface_sqlite import DeepFaceSqlite

    DeepFaceSqlite(store.path, store.key).identify(TABLE)
    with refusals():
        there = open_reader(store).read(TABLE)
        schema, sample = there.fields, next(there.batches, None)
    if store.key not in schema.names:
        raise InputError(f"DeepFace's table {TABLE} has no column {store.key!r}, it has {', '.join(schema.names)}")
    if sample is None:
        raise InputError("it holds nobody yet, so there are no settings of a model to give canaries as well")
    settings = {name: sample[name][0].as_py() for name in _SETTINGS}
    people = pa.schema([schema.field(store.key), pa.field("embedding", pa.list_(pa.float64()), nullable=False)])
    parts = draw_rows(people, store.key, sample.select(people.names), keys, token)
    drawn = pa.concat_tables(parts).to_pylist()
    rows = [{"img_name": one[store.key], **one, **settings, **_registered(one["embedding"], settings)} for one in drawn]
    names = list(rows[0])
    told = pa.schema([schema.field(name) for name in names])
    table = pa.Table.from_batches([to_batch(told, [tuple(row.values()) for row in rows])])

    def write() -> None:
        columns = ", ".join(f'"{name}"' for name in names)
        inserted = f"INSERT INTO {TABLE} ({columns}) VALUES ({', '.join('?' * len(names))})"
        with refusals(), closing(sqlite3.connect(store.path)) as db, db:
            db.executemany(inserted, [tuple(row.values()) for row in rows])

    return Planting((f"{store.path} ({TABLE})",), table, write)


def _registered(embedding: Sequence[float], settings: dict[str, object]) -> dict[str, object]:
    """The columns that DeepFace computes of a crop (here noise, of the usual size) and a vector."""
    crop = np.random.default_rng().random(json.loads(str(settings["face_shape"])))
    vector = np.asarray(embedding, "<f8").tobytes()
    return {
        "face": crop.astype(np.float32).tobytes(),
        "embedding": vector,
        "face_hash": hashlib.sha256(json.dumps(crop.tolist()).encode()).hexdigest(),
        "embedding_hash": hashlib.sha256(vector).hexdigest(),
    }


@contextmanager
def refusals() -> Iterator[None]:
    """What a store's own software raises, as an InputError that says no more than its type: it may quote a value."""
    try:
        yield
    except (sqlite3.Error, pa.ArrowException, OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"its own software refused it ({type(error).__name__}); see that it can be written to"
        ) from error
