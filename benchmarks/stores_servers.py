"""Stores on servers that end with the run: objects on S3 (moto's), DeepFace's tables in PostgreSQL."""

import atexit
import contextlib
import io
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.job import StoreSection

if TYPE_CHECKING:
    from pathlib import Path

    from stores_cases import Matrix, Vectors

CRITERIA = {"model_name": "Dlib", "detector_backend": "skip"}


@cache
def s3_options() -> dict[str, str]:
    """Where a server of objects listens, started when it is first asked for."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(server.kill)
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return {"endpoint_url": f"http://127.0.0.1:{port}", "region": "us-east-1"}
        time.sleep(0.1)
    raise RuntimeError("the S3 server did not start")


def _client() -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
    import boto3

    return boto3.client("s3", endpoint_url=s3_options()["endpoint_url"], region_name="us-east-1")


def write_s3(folder: "Path", names: list[str], vectors: "Matrix") -> StoreSection:
    """Four objects in a bucket that keeps versions."""
    from stores_cases import as_table

    del folder
    options, bucket = s3_options(), f"faces-{secrets.token_hex(4)}"
    client = _client()
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    step = -(-len(names) // 4)
    for part in range(4):
        rows = slice(part * step, (part + 1) * step)
        _put(client, bucket, f"faces/{part}.parquet", as_table(names[rows], vectors[rows]))
    return StoreSection(kind="parquet", path=f"s3://{bucket}/faces/", holds="vectors", options=options)


def _put(client: Any, bucket: str, key: str, table: pa.Table) -> None:  # noqa: ANN401
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd")
    client.put_object(Bucket=bucket, Key=key, Body=content.getvalue())


def _objects(store: StoreSection) -> dict[str, pa.Table]:
    client, bucket = _client(), store.path.split("/")[2]
    keys = [one["Key"] for one in client.list_objects_v2(Bucket=bucket)["Contents"]]
    return {key: pq.read_table(io.BytesIO(client.get_object(Bucket=bucket, Key=key)["Body"].read())) for key in keys}


def delete_from_s3(store: StoreSection, names: list[str]) -> None:
    """Put each object again without the rows; the old version stays."""
    for key, table in _objects(store).items():
        kept = table.filter(pc.invert(pc.is_in(table.column("face_id"), pa.array(names))))
        _put(_client(), store.path.split("/")[2], key, kept)


def read_s3(store: StoreSection) -> "Vectors":
    """The current objects."""
    from stores_cases import as_vectors

    return as_vectors(pa.concat_tables(_objects(store).values()))


def _server() -> tuple[str, str]:
    """A PostgreSQL of one's own: its URI and the folder of its files."""
    import pgserver
    import psycopg

    # Not below a folder of ours, to which the user that the server runs as may have no access.
    place = tempfile.TemporaryDirectory(prefix="lethe-postgres-", ignore_cleanup_errors=True)
    atexit.register(place.cleanup)
    server = pgserver.get_server(place.name)
    atexit.register(server.cleanup)
    with psycopg.connect(server.get_uri(), autocommit=True) as database:
        database.execute("ALTER SYSTEM SET autovacuum = off")
        database.execute("SELECT pg_reload_conf()")
    return server.get_uri(), place.name


def write_postgres(folder: "Path", names: list[str], vectors: "Matrix") -> StoreSection:
    """DeepFace's `embeddings` and the index it builds, by its own client."""
    from deepface import DeepFace
    from deepface.modules.database import postgres

    del folder
    uri, data = _server()
    postgres._SCHEMA_CHECKED.clear()
    random = np.random.default_rng(5)
    rows = [
        {
            "img_name": name,
            "face": random.random((4, 4, 3)),
            "embedding": vector.astype(float).tolist(),
            "aligned": True,
            "l2_normalized": False,
            **CRITERIA,
        }
        for name, vector in zip(names, vectors, strict=True)
    ]
    with contextlib.closing(postgres.PostgresClient(uri)) as client:
        client.insert_embeddings(rows)
        DeepFace.build_index(**CRITERIA, database_type="postgres", connection=client.conn)
    return StoreSection(kind="deepface", path=uri, data=data, key="img_name", holds="vectors")


PGVECTOR = "embeddings_dlib_skip_aligned_raw"


def write_pgvector(folder: "Path", names: list[str], vectors: "Matrix") -> StoreSection:
    """The table deepface 0.0.103 makes for pgvector, with its HNSW index; its client would load a model for it."""
    import psycopg

    del folder
    uri, data = _server()
    random = np.random.default_rng(5)
    with psycopg.connect(uri, autocommit=True) as database:
        database.execute("CREATE EXTENSION vector")
        database.execute(
            f"CREATE TABLE {PGVECTOR} (id SERIAL PRIMARY KEY, img_name TEXT NOT NULL, face BYTEA NOT NULL,"
            " face_shape INT[] NOT NULL, model_name TEXT NOT NULL, detector_backend TEXT NOT NULL,"
            f" aligned BOOLEAN DEFAULT true, l2_normalized BOOLEAN DEFAULT false,"
            f" embedding vector({vectors.shape[1]}) NOT NULL, created_at TIMESTAMPTZ DEFAULT now(),"
            " face_hash TEXT NOT NULL, embedding_hash TEXT NOT NULL, UNIQUE (face_hash, embedding_hash))"
        )
        columns = "img_name, face, face_shape, model_name, detector_backend, embedding, face_hash, embedding_hash"
        with database.cursor().copy(f"COPY {PGVECTOR} ({columns}) FROM STDIN") as copy:
            for name, vector in zip(names, vectors, strict=True):
                face = random.random((4, 4, 3)).astype(np.float32).tobytes()
                hashes = secrets.token_hex(32), secrets.token_hex(32)
                copy.write_row((name, face, [4, 4, 3], *CRITERIA.values(), str(vector.tolist()), *hashes))
        database.execute(f"CREATE INDEX ON {PGVECTOR} USING hnsw (embedding vector_l2_ops)")
    return StoreSection(kind="deepface", path=uri, data=data, key="img_name", holds="vectors")


def _table(store: StoreSection) -> str:
    import psycopg

    with psycopg.connect(store.path) as database:
        found = database.execute("SELECT to_regclass(%s)", (PGVECTOR,)).fetchone()
    return PGVECTOR if found and found[0] else "embeddings"


def delete_from_postgres(store: StoreSection, names: list[str]) -> None:
    """DELETE and VACUUM."""
    import psycopg

    table = _table(store)
    with psycopg.connect(store.path, autocommit=True) as database:
        database.execute(f"DELETE FROM {table} WHERE img_name = ANY(%s)", (names,))
        database.execute(f"VACUUM {table}")
        database.execute("CHECKPOINT")


def read_postgres(store: StoreSection) -> "Vectors":
    """The embeddings of the rows."""
    import psycopg

    table = _table(store)
    kind = "real[]" if table == PGVECTOR else "float8[]"
    with psycopg.connect(store.path) as database:
        rows = database.execute(f"SELECT img_name, embedding::{kind} FROM {table}").fetchall()
    return {name: np.array(vector) for name, vector in rows}
