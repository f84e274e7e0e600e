"""DeepFace's PostgreSQL and pgvector tables keep the contract of all stores."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from schemas.errors import InputError
from stores.audit import pglz
from stores.audit.verdict import Status
from stores.contract import Status as Step
from stores.deepface_postgres import without_password
from stores.kinds import open_store
from tests.deepface_postgres_case import CosineCase, PgvectorCase, PostgresCase, running_server
from tests.store_contract import Bench, Case, StoreContract, same

Server = tuple[str, str]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as started:
        yield started


class OnServer(StoreContract):
    deterministic_files = False

    @pytest.fixture(autouse=True)
    def _on(self, server: Server) -> None:
        self.server = server


class TestDeepFacePostgres(OnServer):
    def make(self, folder: Path) -> Case:
        return PostgresCase(*self.server)


class TestDeepFacePgvector(OnServer):
    def make(self, folder: Path) -> Case:
        return PgvectorCase(*self.server)


@pytest.mark.slow
class TestDeepFacePostgresCompressed(OnServer):
    """512 numbers of single precision in double precision: PostgreSQL compresses them."""

    def make(self, folder: Path) -> Case:
        return PostgresCase(*self.server, dimensions=512)


@pytest.mark.slow
class TestDeepFacePgvectorCosine(OnServer):
    def make(self, folder: Path) -> Case:
        return CosineCase(*self.server, dimensions=512)


@pytest.fixture
def bench(server: Server, tmp_path: Path) -> Iterator[Bench]:
    case = PostgresCase(*server)
    yield Bench(case, tmp_path)
    case.close()


def test_an_index_that_outlived_its_rows_is_built_again(bench: Bench) -> None:
    case = bench.case
    assert isinstance(case, PostgresCase)
    before = case.contents()
    case.delete_plainly(case.gone)
    (receipt,) = bench.purge()
    assert receipt.status is Step.UNCHANGED and receipt.compacted_at
    for vector in before.values():
        assert not set(case.search(vector) or []) & set(case.gone)


def test_a_segment_that_a_replica_still_needs_is_no_success(bench: Bench) -> None:
    case = bench.case
    assert isinstance(case, PostgresCase)
    with case.connect() as db:
        db.execute("SELECT pg_create_physical_replication_slot('standby', true)")
        try:
            (receipt,) = bench.purge()
        finally:
            db.execute("SELECT pg_drop_replication_slot('standby')")
        assert receipt.compacted_at is None
        assert "segments of the write-ahead log" in (receipt.detail or "")
        assert db.execute("SHOW wal_recycle").fetchone() == ("on",)
    (receipt,) = bench.purge()
    assert receipt.compacted_at and receipt.detail is None


def test_a_transaction_that_still_sees_the_rows_is_no_success(bench: Bench) -> None:
    case = bench.case
    assert isinstance(case, PostgresCase)
    with psycopg.connect(case.uri) as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT 1 FROM pg_class")
        (receipt,) = bench.purge()
        assert receipt.compacted_at is None
        assert "end them first" in (receipt.detail or "")
    (receipt,) = bench.purge()
    assert receipt.compacted_at


def test_a_user_who_may_not_clean_is_told(bench: Bench) -> None:
    case = bench.case
    assert isinstance(case, PostgresCase)
    with case.connect() as db:
        db.execute("CREATE ROLE clerk LOGIN PASSWORD 'secret-of-clerk'")
        db.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO clerk")
    uri = case.uri.replace("postgres:@", "clerk:secret-of-clerk@")
    section = case.section.model_copy(update={"path": uri})
    try:
        store, keys = open_store(section), bench.work.open_keys()
        assert "secret" not in store.describe().path
        match = store.locate("public.embeddings", keys)
        receipt = store.compact(store.purge(match, keys, bench.work.receipts), keys, bench.work.receipts)
        assert receipt.status is Step.REMOVED and receipt.compacted_at is None
        assert "superuser" in (receipt.detail or "")
        (receipt,) = bench.purge()
        assert receipt.status is Step.REMOVED and receipt.compacted_at
    finally:
        with case.connect() as db:
            db.execute("DROP OWNED BY clerk")
            db.execute("DROP ROLE clerk")


def test_a_lost_connection_is_told_and_the_next_run_finishes(bench: Bench) -> None:
    case = bench.case
    assert isinstance(case, PostgresCase)
    before = case.contents()
    store, keys = bench.work.open_store(), bench.work.open_keys()
    match = store.locate("public.embeddings", keys)

    def hang_up(batches: Iterable[pa.RecordBatch]) -> None:
        next(iter(batches))
        with case.connect() as db:
            db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        list(batches)

    receipt = store.purge(match, keys, bench.work.receipts, hang_up)
    assert receipt.status is Step.FAILED
    assert same(case.contents(), before)
    (receipt,) = bench.purge()
    assert receipt.status is Step.REMOVED and receipt.compacted_at


def test_without_the_files_of_the_server_nothing_is_proven(bench: Bench, tmp_path: Path) -> None:
    case = bench.case
    elsewhere = Bench(case, tmp_path)
    case.section = case.section.model_copy(update={"data": str(tmp_path)})
    elsewhere = Bench(case, tmp_path)
    elsewhere.purge()
    verdict = elsewhere.verify()
    assert verdict.status is Status.UNVERIFIED
    assert any("the data directory of the server" in reason for reason in verdict.reasons)


def test_what_is_no_table_of_deepface_is_refused(bench: Bench, tmp_path: Path) -> None:
    section, keys = bench.case.section, bench.work.open_keys()
    with pytest.raises(InputError, match="no table 'photos' with the columns of DeepFace"):
        open_store(section.model_copy(update={"table": "photos"})).units()
    with pytest.raises(InputError, match="no column 'face_id', it has id, img_name"):
        open_store(section.model_copy(update={"key": "face_id"})).locate("public.embeddings", keys)


def test_a_password_is_never_shown() -> None:
    shown = without_password("postgresql://me:s3cret@host:5432/faces?sslmode=require&password=s3cret")
    assert shown == "postgresql://me@host:5432/faces?sslmode=require"


def test_a_long_value_is_known_as_the_server_compresses_it(server: Server) -> None:
    """Byte for byte, for values that compress little, much, and not at all."""
    uri, _ = server
    random = np.random.default_rng(3)
    values = [
        b"".join(random.standard_normal(700, np.float32).astype("<f8")),
        bytes(random.integers(0, 4, 9000, np.uint8)),
        random.bytes(500) + bytes(30000) + random.bytes(5000),
        random.bytes(4000),
    ]
    with psycopg.connect(uri, autocommit=True) as db:
        db.execute("CREATE TABLE long_values (id int, value bytea)")
        try:
            for number, value in enumerate(values):
                db.execute("INSERT INTO long_values VALUES (%s, %s)", (number, value))
            toast = db.execute("SELECT reltoastrelid::regclass::text FROM pg_class WHERE relname = 'long_values'")
            (name,) = toast.fetchone() or ("",)
            chunks = db.execute(f"SELECT chunk_data FROM {name} ORDER BY chunk_id, chunk_seq").fetchall()
        finally:
            db.execute("DROP TABLE long_values")
    kept = b"".join(bytes(chunk) for (chunk,) in chunks)
    for value in values[:3]:
        packed = pglz.compress(value)
        assert packed is not None and packed in kept
    assert pglz.compress(values[3]) is None and values[3] in kept
