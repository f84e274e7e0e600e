"""Tables of DeepFace's in a real PostgreSQL with pgvector, written by DeepFace's own client or as it writes them."""

import secrets
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg

from schemas.job import StoreSection
from tests.deepface_case import CRITERIA, PEOPLE, build_index, nearest, people
from tests.store_contract import Case, Vectors

Connection = psycopg.Connection[tuple[Any, ...]]

PGVECTOR = "embeddings_dlib_skip_aligned_raw"
_PGVECTOR_TABLE = f"""
    CREATE TABLE {PGVECTOR} (
        id SERIAL PRIMARY KEY, img_name TEXT NOT NULL, face BYTEA NOT NULL, face_shape INT[] NOT NULL,
        model_name TEXT NOT NULL, detector_backend TEXT NOT NULL, aligned BOOLEAN DEFAULT true,
        l2_normalized BOOLEAN DEFAULT false, embedding vector(%d) NOT NULL, created_at TIMESTAMPTZ DEFAULT now(),
        face_hash TEXT NOT NULL, embedding_hash TEXT NOT NULL, UNIQUE (face_hash, embedding_hash)
    );
    CREATE INDEX {PGVECTOR}_euclidean_idx ON {PGVECTOR} USING hnsw (embedding %s);
"""
"""As deepface 0.0.103 makes it; its own client would load a model to know how long a vector is."""


class PostgresCase(Case):
    """`embeddings` and `embeddings_index`; names are new ones each time, since all cases share a server's files."""

    table = "embeddings"

    def __init__(self, uri: str, data: str, dimensions: int = 128) -> None:
        self.uri, self.dimensions = uri, dimensions
        token = secrets.token_hex(4)
        names = [f"photos/{token}-{number:04d}.jpg" for number in range(PEOPLE)]
        self.section = StoreSection(kind="deepface", path=uri, key="img_name", holds="vectors", data=data)
        self.gone = names[::11]
        self.create()
        self.write(names, seed=7)
        self.index()

    def create(self) -> None:
        from deepface.modules.database import postgres

        postgres._SCHEMA_CHECKED.clear()

    @contextmanager
    def client(self) -> Iterator[Any]:
        from deepface.modules.database.postgres import PostgresClient

        with closing(PostgresClient(self.uri)) as client:
            yield client

    def write(self, names: list[str], seed: int) -> None:
        with self.client() as client:
            client.insert_embeddings(people(names, seed, self.dimensions))

    def index(self) -> None:
        with self.client() as client:
            build_index("postgres", client.conn)

    def connect(self) -> Connection:
        return psycopg.connect(self.uri, autocommit=True)

    def contents(self) -> Vectors:
        with self.connect() as db:
            rows = db.execute(f"SELECT img_name, embedding::real[] FROM {self.table}").fetchall()
        return {name: np.array(vector) for name, vector in rows}

    def insert(self, name: str) -> None:
        self.write([name], seed=zlib.crc32(name.encode()))

    def delete_plainly(self, names: list[str]) -> None:
        with self.connect() as db:
            db.execute(f"DELETE FROM {self.table} WHERE img_name = ANY(%s)", (names,))

    def search(self, vector: npt.NDArray[np.floating]) -> list[str] | None:
        with self.client() as client:
            found = nearest(client.get_embeddings_index(**CRITERIA, aligned=True, l2_normalized=False), vector)
            names = {one["id"]: one["img_name"] for one in client.search_by_id(found)}
        assert len(names) == len(found), "the index knows somebody without a name"
        return list(names.values())

    def close(self) -> None:
        with self.connect() as db:
            db.execute(f"DROP TABLE IF EXISTS {self.table}, embeddings_index")


class PgvectorCase(PostgresCase):
    """One table per model and detector, with an index of pgvector's."""

    table = PGVECTOR
    operators = "vector_l2_ops"

    def create(self) -> None:
        with self.connect() as db:
            db.execute("CREATE EXTENSION IF NOT EXISTS vector")
            db.execute(_PGVECTOR_TABLE % (self.dimensions, self.operators))

    def write(self, names: list[str], seed: int) -> None:
        with self.connect() as db:
            for one in people(names, seed, self.dimensions):
                db.execute(
                    f"INSERT INTO {PGVECTOR} (img_name, face, face_shape, model_name, detector_backend, embedding,"
                    " face_hash, embedding_hash) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                    (
                        one["img_name"],
                        one["face"].astype(np.float32).tobytes(),
                        list(one["face"].shape),
                        *CRITERIA.values(),
                        str(one["embedding"]),
                        secrets.token_hex(32),
                        secrets.token_hex(32),
                    ),
                )

    def index(self) -> None:
        """The server keeps it."""

    def search(self, vector: npt.NDArray[np.floating]) -> list[str] | None:
        with self.connect() as db:
            db.execute("SET enable_seqscan = off")
            query = f"SELECT img_name FROM {PGVECTOR} ORDER BY embedding <-> %s::vector LIMIT 5"
            return [name for (name,) in db.execute(query, (str(vector.tolist()),))]


class CosineCase(PgvectorCase):
    """An index that keeps the vectors scaled to length 1, beside a table that does not."""

    operators = "vector_cosine_ops"

    def search(self, vector: npt.NDArray[np.floating]) -> list[str] | None:
        return None


@contextmanager
def running_server() -> Iterator[tuple[str, str]]:
    """A server of one's own: its URI and its data directory."""
    import pgserver

    # Not below pytest's folder, to which the user that the server runs as may lose access.
    with tempfile.TemporaryDirectory(prefix="lethe-postgres-") as folder:
        server = pgserver.get_server(folder)
        with psycopg.connect(server.get_uri(), autocommit=True) as db:
            for setting in ("autovacuum", "fsync"):
                db.execute(f"ALTER SYSTEM SET {setting} = off")
            db.execute("SELECT pg_reload_conf()")
            # Three databases are three times the files to look at.
            for name in ("template0", "template1"):
                db.execute(f"ALTER DATABASE {name} IS_TEMPLATE false")
                db.execute(f"DROP DATABASE {name}")
        yield server.get_uri(), folder
        server.cleanup()
