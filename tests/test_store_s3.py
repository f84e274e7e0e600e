"""The store of Parquet objects on S3 keeps the contract of all stores, and what only object storage can get wrong."""

import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import schemas.s3
from pipelines.purge import locate_unit
from schemas.errors import InputError, LetheError
from schemas.files import TEMPORARY_PREFIX
from schemas.job import StoreSection
from schemas.s3 import Place
from stores.audit.verdict import Rows, Status
from stores.contract import Status as Step
from stores.keys import KeySet
from stores.parquet_s3 import ParquetS3Store
from tests.s3_server import S3Server, credentials
from tests.store_contract import Bench, Case, StoreContract, Vectors, same

__all__ = ["credentials"]

FILES, ROWS, DIMENSIONS = 3, 200, 64


class S3Case(Case):
    """Three objects below `faces/`; two of them have older versions, with more people in them."""

    def __init__(self, server: S3Server, bucket: str) -> None:
        self.server, self.bucket = server, bucket
        self.section = StoreSection(
            kind="parquet", path=f"s3://{bucket}/faces/", holds="vectors", options=server.options
        )
        random = np.random.default_rng(4)
        for file in range(FILES):
            names = [f"face-{file}-{row:04d}" for row in range(ROWS)]
            vectors = random.standard_normal((ROWS, DIMENSIONS), np.float32)
            self.write(file, names, vectors)
            if file:
                self.write(file, names[:-3], vectors[:-3])
        self.gone = [f"face-{file}-{row:04d}" for file in range(FILES) for row in range(0, ROWS - 3, 17)]

    def key(self, file: int) -> str:
        """The key of one object."""
        return f"faces/part {file}/ü.parquet"

    def write(self, file: int, names: list[str], vectors: np.ndarray) -> None:
        """Put one object, as anybody would."""
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        content = io.BytesIO()
        pq.write_table(pa.table({"face_id": names, "vector": column}), content, row_group_size=50)
        self.server.client.put_object(Bucket=self.bucket, Key=self.key(file), Body=content.getvalue())

    def table(self, file: int) -> tuple[list[str], np.ndarray]:
        """Ids and vectors of one object."""
        body = self.server.client.get_object(Bucket=self.bucket, Key=self.key(file))["Body"].read()
        table = pq.read_table(pa.BufferReader(body))
        return table["face_id"].to_pylist(), np.array(table["vector"].to_pylist(), np.float32).reshape(-1, DIMENSIONS)

    def contents(self) -> Vectors:
        found: Vectors = {}
        for file in range(FILES):
            names, vectors = self.table(file)
            found |= dict(zip(names, vectors, strict=True))
        return found

    def insert(self, name: str) -> None:
        names, vectors = self.table(0)
        self.write(0, [*names, name], np.concatenate([vectors, np.full((1, DIMENSIONS), 0.5, np.float32)]))

    def delete_plainly(self, names: list[str]) -> None:
        for file in range(FILES):
            there, vectors = self.table(file)
            kept = [i for i, name in enumerate(there) if name not in names]
            self.write(file, [there[i] for i in kept], vectors[kept])


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    running = S3Server.start()
    yield running
    running.stop()


class TestS3(StoreContract):
    versioning = "Enabled"

    @pytest.fixture(autouse=True)
    def _server(self, server: S3Server) -> None:
        self.server = server

    def make(self, folder: Path) -> Case:
        folder.mkdir(parents=True)
        return S3Case(self.server, self.server.bucket(self.versioning))


@pytest.mark.slow
class TestS3WithoutVersions(TestS3):
    versioning = ""


@pytest.fixture
def bench(server: S3Server, tmp_path: Path) -> Bench:
    """A store whose first object has no older version, and the other two have one each."""
    return Bench(S3Case(server, server.bucket()), tmp_path)


def case_of(bench: Bench) -> S3Case:
    assert isinstance(bench.case, S3Case)
    return bench.case


def ids(bench: Bench, key: str) -> set[str]:
    """Of all versions of one key."""
    case = case_of(bench)
    return {version for _, there, version in case.server.versions(case.bucket) if there == key}


def test_locating_fetches_the_footer_and_the_key_column_alone(server: S3Server, tmp_path: Path) -> None:
    bucket, rows = server.bucket(), 4_000
    case = S3Case(server, bucket)
    case.write(0, [f"face-{row}" for row in range(rows)], np.random.default_rng(1).random((rows, 512), np.float32))
    store = ParquetS3Store(case.section.path, "face_id", server.options)
    fetched: list[int] = []
    store.place.client().meta.events.register(
        "after-call.s3.GetObject", count := lambda parsed, **_: fetched.append(parsed["ContentLength"])
    )
    keys = KeySet.write(tmp_path / "keys.arrow", [pa.array(["face-7"])])
    match = store.locate(store.place.url(case.key(0)), keys)
    store.place.client().meta.events.unregister("after-call.s3.GetObject", count)
    assert match.rows == 1
    assert match.file.size > rows * 512 * 4
    assert sum(fetched) < match.file.size / 20


def test_headers_tags_and_grants_stay(bench: Bench) -> None:
    case = case_of(bench)
    name = {"Bucket": case.bucket, "Key": case.key(0)}
    told = {
        "Metadata": {"made-by": "nightly job"},
        "ContentType": "application/vnd.apache.parquet",
        "CacheControl": "no-store",
        "StorageClass": "STANDARD_IA",
        "ServerSideEncryption": "AES256",
    }
    body = case.server.client.get_object(**name)["Body"].read()
    case.server.client.put_object(**name, **told, Body=body, Tagging="team=faces&level=a%2Bb", ACL="public-read")
    grants = case.server.client.get_object_acl(**name)["Grants"]
    receipts = bench.purge()
    assert not any("access" in lost for receipt in receipts for lost in receipt.dropped)
    head = case.server.client.head_object(**name)
    assert {field: head[field] for field in told} == told
    tags = case.server.client.get_object_tagging(**name)["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "faces", "level": "a+b"}
    found = case.server.client.get_object_acl(**name)["Grants"]
    assert sorted(map(str, found)) == sorted(map(str, grants))


def test_a_deleted_object_gives_up_the_versions_that_hold_somebody(bench: Bench) -> None:
    case = case_of(bench)
    client, nobody = case.server.client, {"Bucket": case.bucket, "Key": "faces/nobody.parquet"}
    held = {"Bucket": case.bucket, "Key": case.key(1)}
    innocent = io.BytesIO()
    pq.write_table(pa.table({"face_id": ["somebody-else"], "vector": [[1.5] * DIMENSIONS]}), innocent)
    for name in (nobody, held):
        client.put_object(**name, Body=innocent.getvalue())
        client.delete_object(**name)
    kept = ids(bench, nobody["Key"])
    newest = client.list_object_versions(Bucket=case.bucket, Prefix=held["Key"])["Versions"][0]["VersionId"]
    assert locate_unit(f"s3://{case.bucket}/{case.key(1)}", bench.work)["status"] == Step.MATCHED
    assert locate_unit(f"s3://{case.bucket}/{nobody['Key']}", bench.work)["status"] == Step.UNCHANGED
    receipts = {receipt.path: receipt for receipt in bench.purge()}
    assert receipts[f"s3://{case.bucket}/{case.key(1)}"].compacted_at
    assert ids(bench, nobody["Key"]) == kept
    left = [one for one in case.server.versions(case.bucket) if one[1] == held["Key"]]
    assert [kind for kind, _, _ in left] == ["Versions", "DeleteMarkers"]
    assert left[0][2] == newest
    verdict = bench.verify()
    assert (verdict.status, verdict.rows) == (Status.CLEAN, Rows.INTACT), verdict.reasons


def test_a_key_of_which_all_versions_go_leaves_no_marker(bench: Bench) -> None:
    case = case_of(bench)
    case.server.client.delete_object(Bucket=case.bucket, Key=case.key(2))
    bench.purge()
    assert not ids(bench, case.key(2))
    assert bench.verify().status is Status.CLEAN


def test_a_lock_means_that_it_is_not_done(server: S3Server, tmp_path: Path) -> None:
    bench = Bench(S3Case(server, server.bucket(ObjectLockEnabledForBucket=True)), tmp_path)
    case = case_of(bench)
    old = server.client.list_object_versions(Bucket=case.bucket, Prefix=case.key(1))["Versions"][-1]["VersionId"]
    name = {"Bucket": case.bucket, "Key": case.key(1), "VersionId": old}
    server.client.put_object_legal_hold(**name, LegalHold={"Status": "ON"})
    done = bench.purge()
    assert [receipt.compacted_at is None for receipt in done] == [False, True, False]
    assert "legal hold" in (done[1].detail or "")
    assert done[1].status is Step.REMOVED
    assert bench.verify().status is Status.RESIDUE
    server.client.put_object_legal_hold(**name, LegalHold={"Status": "OFF"})
    assert all(receipt.compacted_at and not receipt.detail for receipt in bench.purge())
    assert bench.verify().status is Status.CLEAN


def test_unfinished_uploads_go_or_are_told(bench: Bench) -> None:
    case = case_of(bench)
    other = {"Bucket": case.bucket, "Key": "faces/new.parquet"}
    case.server.client.create_multipart_upload(Bucket=case.bucket, Key=case.key(0))
    upload = case.server.client.create_multipart_upload(**other)["UploadId"]
    bench.purge()
    left = case.server.client.list_multipart_uploads(Bucket=case.bucket)["Uploads"]
    assert [one["Key"] for one in left] == [other["Key"]]
    verdict = bench.verify()
    assert verdict.status is Status.UNVERIFIED
    assert any("never finished" in reason for reason in verdict.reasons)
    case.server.client.abort_multipart_upload(**other, UploadId=upload)
    assert bench.verify().status is Status.CLEAN


def test_a_server_that_ignores_conditions_loses_nothing(bench: Bench) -> None:
    """Another writer comes just before the upload, and the server does not heed If-Match."""
    case, keys, store = case_of(bench), bench.work.open_keys(), bench.work.open_store()
    unit = store.units()[0]
    match = store.locate(unit, keys)
    events = Place.of(case.section.path, case.server.options).client().meta.events

    def slip_in(params: dict[str, Any], **_: object) -> None:
        del params["headers"]["If-Match"]
        case.insert("newcomer")

    events.register("before-call.s3.PutObject", slip_in)
    receipt = store.purge(match, keys, bench.work.receipts)
    events.unregister("before-call.s3.PutObject", slip_in)
    assert receipt.status is Step.CONFLICT
    assert "newcomer" in case.contents()
    bench.purge()
    assert "newcomer" in case.contents()
    assert not set(case.contents()) & set(case.gone)


def test_a_large_object_is_written_in_parts(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stores.s3_versions._PART", 5 << 20)  # the least that the API allows
    bench = Bench(S3Case(server, server.bucket()), tmp_path)
    rows, case = 3_000, case_of(bench)
    vectors = np.random.default_rng(2).random((rows, 1024), np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 1024)
    content = io.BytesIO()
    pq.write_table(pa.table({"face_id": [f"face-0-{row:04d}" for row in range(rows)], "vector": column}), content)
    server.client.put_object(Bucket=case.bucket, Key=case.key(0), Body=content.getvalue(), Metadata={"a": "b"})
    assert bench.purge()[0].compacted_at
    head = server.client.head_object(Bucket=case.bucket, Key=case.key(0))
    assert head["Metadata"] == {"a": "b"}
    assert head["ETag"].strip('"').endswith("-3")
    assert not server.client.list_multipart_uploads(Bucket=case.bucket).get("Uploads")
    verdict = bench.verify()
    assert (verdict.status, verdict.rows) == (Status.CLEAN, Rows.INTACT), verdict.reasons


@pytest.mark.slow
def test_more_versions_than_one_request_may_name(bench: Bench) -> None:
    case = case_of(bench)
    body = case.server.client.get_object(Bucket=case.bucket, Key=case.key(0))["Body"].read()
    for _ in range(1_100):
        case.server.client.put_object(Bucket=case.bucket, Key=case.key(0), Body=body)
    assert all(receipt.compacted_at for receipt in bench.purge())
    assert len(case.server.versions(case.bucket)) == FILES


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("faces/_delta_log/00000000000000000000.json", "Delta"),
        ("_delta_log/00000000000000000000.json", "Delta"),
        ("faces/deep/metadata/v1.metadata.json", "Iceberg"),
        ("faces/.hoodie/hoodie.properties", "Hudi"),
        ("faces/x.lance/data/1.lance", "Lance"),
    ],
)
def test_a_table_is_refused(bench: Bench, key: str, kind: str) -> None:
    case = case_of(bench)
    case.server.client.put_object(Bucket=case.bucket, Key=key, Body=b"{}")
    with pytest.raises(InputError, match=f"is or holds a {kind} table"):
        bench.work.open_store().units()


def test_errors_say_what_to_do(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def units(path: str, **options: str) -> None:
        ParquetS3Store(path, "face_id", {**server.options, **options}).units()

    with pytest.raises(InputError, match="there is no such bucket"):
        units("s3://not-there/faces/")
    with pytest.raises(InputError, match="no object there whose name ends in .parquet"):
        units(f"s3://{server.bucket()}/faces/")
    with pytest.raises(InputError, match="unknown option 'secret'.*environment"):
        units("s3://somewhere/faces/", secret="s")
    with pytest.raises(LetheError, match="cannot be reached.*check endpoint_url"):
        units("s3://somewhere/faces/", endpoint_url="http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    with pytest.raises(InputError, match="no credentials were found; set AWS_ACCESS_KEY_ID"):
        units("s3://somewhere/faces/", region="eu-west-1")


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("s3://b", {"a.parquet", "f/a.parquet", "f/g/b.PARQUET"}),
        ("s3://b/f", {"f/a.parquet", "f/g/b.PARQUET"}),
        ("s3://b/f/", {"f/a.parquet", "f/g/b.PARQUET"}),
        ("s3://b/f/a.parquet", {"f/a.parquet"}),
        ("s3://b/*.parquet", {"a.parquet"}),
        ("s3://b/**/a.parquet", {"a.parquet", "f/a.parquet"}),
        ("s3://b/f/g/*", {"f/g/b.PARQUET", "f/g/c.txt"}),
        ("s3://b/f/[!b].parquet", {"f/a.parquet"}),
    ],
)
def test_what_a_path_stands_for(path: str, read: set[str]) -> None:
    place = Place.of(path, {})
    keys = ["a.parquet", "f/a.parquet", "f/.a.parquet", "f/g/b.PARQUET", "f/g/c.txt", "fg/d.txt", ".h/e.parquet"]
    assert {key for key in keys if place.is_read(key)} == read
    assert all(key.startswith(place.prefix) for key in read)
    assert Place.of(str(place), {}) == place


@pytest.mark.parametrize(
    "when", ["before-call.s3.PutObject", "after-call.s3.PutObject", "before-call.s3.DeleteObjects"]
)
def test_killed_and_run_again(bench: Bench, when: str) -> None:
    """A process dies just before an object is replaced, just after, or before its older versions are destroyed."""
    case, wanted = case_of(bench), case_of(bench).contents()
    child = os.fork()
    if not child:
        schemas.s3._connect.cache_clear()  # connections of the parent are the parent's
        events = Place.of(case.section.path, case.server.options).client().meta.events
        events.register(when, lambda **_: os.kill(os.getpid(), signal.SIGKILL))
        bench.purge()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    receipts = bench.purge()
    assert all(receipt.status is Step.REMOVED and receipt.compacted_at for receipt in receipts)
    assert same(case.contents(), {name: vector for name, vector in wanted.items() if name not in case.gone})
    assert len(case.server.versions(case.bucket)) == FILES
    assert not list(bench.work.receipts.glob(f"{TEMPORARY_PREFIX}*"))
    verdict = bench.verify()
    assert (verdict.status, verdict.rows) == (Status.CLEAN, Rows.INTACT), verdict.reasons
