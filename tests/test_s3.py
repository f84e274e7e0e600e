"""A whole job on object storage: records and stores on S3, from the demo to the verdict."""

import hashlib
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from pipelines.inventory import Inventory, read_unit, take_inventory
from runners.demo import write_demo
from runners.engines.jars import job_server_jar
from schemas.errors import InputError, LetheError
from schemas.s3 import Place
from tests.jobs import lethe
from tests.s3_server import S3Server, credentials

__all__ = ["credentials"]

Capture = pytest.CaptureFixture[str]
STORES = ("faces", "hashes", "records")


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    running = S3Server.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "job"
    write_demo(folder, subjects=60, seed=7)
    return folder


def on_s3(pristine: Path, folder: Path, bucket: str, options: dict[str, str]) -> Path:
    """The job of a demo whose records and stores are in a bucket."""
    folder.mkdir()
    for name in ("geoip.mmdb", "truth.parquet"):
        shutil.copy(pristine / name, folder / name)
    text = (pristine / "job.toml").read_text()
    where = "{ " + ", ".join(f'{name} = "{value}"' for name, value in options.items()) + " }"
    for store in STORES:
        text = text.replace(f'path = "{store}/"', f'path = "s3://{bucket}/demo/{store}/"\noptions = {where}')
    (folder / "job.toml").write_text(text)
    return folder


def entries(out: Path) -> dict[str, str]:
    """The digest of every part of every manifest."""
    parts = sorted((out / "manifests").rglob("*.parquet"))
    assert parts
    return {str(part.relative_to(out)): hashlib.sha256(part.read_bytes()).hexdigest() for part in parts}


def erased(out: Path) -> set[str]:
    tables = [pq.read_table(file) for file in sorted((out / "manifests").rglob("*.parquet"))]
    return {row for table in tables for row in table.filter(pc.field("tier") == "erase").column("face_id").to_pylist()}


def faces_in(server: S3Server, bucket: str, store: str) -> list[str]:
    listed = server.client.list_objects_v2(Bucket=bucket, Prefix=f"demo/{store}/")["Contents"]
    bodies = [server.client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read() for item in listed]
    return [face for body in bodies for face in pq.read_table(pa.BufferReader(body))["face_id"].to_pylist()]


def upload_demo(server: S3Server, bucket: str, pristine: Path) -> None:
    """Every object twice: there is an older version of each."""
    for store in STORES:
        for _ in range(2):
            server.put_folder(bucket, pristine / store, f"demo/{store}/")


def engine_options(engine: str) -> list[str]:
    """What to write after the command; skips where Flink's half in Java is not there."""
    if engine == "local":
        return []
    try:
        job_server_jar("flink")
    except InputError:
        pytest.skip("the pinned jars are not there: python -m runners.engines.jars flink")
    if shutil.which("java") is None:
        pytest.skip("Flink needs Java, which is not installed")
    return ["--", "--runner=FlinkRunner", "--flink_master=[local]"]


@pytest.mark.parametrize("engine", ["local", pytest.param("flink", marks=pytest.mark.slow)])
def test_a_job_on_s3_does_what_it_does_on_disk(
    server: S3Server, pristine: Path, tmp_path: Path, capsys: Capture, engine: str
) -> None:
    options = engine_options(engine)
    bucket = server.bucket()
    upload_demo(server, bucket, pristine)
    before = {store: faces_in(server, bucket, store) for store in STORES}
    local, demo = (
        Path(shutil.copytree(pristine, tmp_path / "local")),
        on_s3(pristine, tmp_path / "remote", bucket, server.options),
    )
    lethe(capsys, "plan", local)
    summary = lethe(capsys, "run", demo, "--execute", *options)
    assert entries(demo / "out") == entries(local / "out")
    told = summary["verification"]["stores"]
    assert {name: (store["verdict"], store["rows"]) for name, store in told.items()} == dict.fromkeys(
        STORES, ("CLEAN", "INTACT")
    ), told
    gone = erased(demo / "out")
    assert gone
    for store in STORES:
        assert faces_in(server, bucket, store) == [face for face in before[store] if face not in gone]
    versions = server.versions(bucket)
    assert len(versions) == len({key for _, key, _ in versions}), "older versions are left"

    again = lethe(capsys, "run", demo, "--execute")
    assert again["run_id"] == summary["run_id"]
    assert server.versions(bucket) == versions
    assert {name: store["rows_removed"] for name, store in again["purge"]["stores"].items()} == {
        name: store["rows_removed"] for name, store in summary["purge"]["stores"].items()
    }


@pytest.mark.slow
def test_a_server_that_goes_away_is_told_and_a_second_run_finishes(
    pristine: Path, tmp_path: Path, capsys: Capture
) -> None:
    """It stops right after it has taken the first new object, before it could be read back."""
    thread = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    thread.start()
    port = thread.get_host_and_port()[1]
    server = S3Server(port, None)
    bucket = server.bucket()
    upload_demo(server, bucket, pristine)
    demo = on_s3(pristine, tmp_path / "remote", bucket, server.options)
    lethe(capsys, "plan", demo)
    events = Place.of(f"s3://{bucket}/", server.options).client().meta.events

    def stop(**_: object) -> None:
        thread.stop()

    events.register("after-call.s3.PutObject", stop)
    error = lethe(capsys, "purge", demo, "--execute", code=1)["error"]
    events.unregister("after-call.s3.PutObject", stop)
    assert "cannot be reached" in error and "run the same command again" in error
    thread = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    thread.start()
    summary = lethe(capsys, "run", demo, "--execute")
    thread.stop()
    assert {store["verdict"] for store in summary["verification"]["stores"].values()} == {"CLEAN"}
    assert {store["rows"] for store in summary["verification"]["stores"].values()} == {"INTACT"}


def put_records(server: S3Server, bucket: str, key: str, name: str = "row") -> None:
    content, ids = io.BytesIO(), [f"{name}-{i}" for i in range(5)]
    pq.write_table(pa.table({"record_id": ids, "face_id": ids}), content, row_group_size=2)
    server.client.put_object(Bucket=bucket, Key=key, Body=content.getvalue())


def test_records_on_s3_are_read_as_on_disk(server: S3Server, tmp_path: Path) -> None:
    bucket = server.bucket()
    put_records(server, bucket, "in/deep/a b.parquet")
    put_records(server, bucket, "in/.hidden/c.parquet")
    server.client.put_object(Bucket=bucket, Key="in/broken.parquet", Body=b"PAR1 no")
    server.client.put_object(Bucket=bucket, Key="in/empty.parquet", Body=b"")
    server.client.put_object(Bucket=bucket, Key="in/notes.txt", Body=b"not input")
    place = Place.of(f"s3://{bucket}/in", server.options)
    found = take_inventory(place, {})
    assert {file.name: file.fault is None for file in found.files} == {
        "broken.parquet": False,
        "deep/a b.parquet": True,
        "empty.parquet": False,
    }
    rows = [
        row
        for unit in found.units()
        for batch in read_unit(found.root, unit, {}, 2)
        for row in batch.column(0).to_pylist()
    ]
    assert rows == [f"row-{i}" for i in range(5)]
    found.save(tmp_path / "inventory.json")
    assert Inventory.load(tmp_path / "inventory.json") == found
    put_records(server, bucket, "in/deep/a b.parquet", "wor")
    assert take_inventory(place, {}).files != found.files, "as large and of the same second, but another ETag"


def test_records_that_cannot_be_had_are_told(server: S3Server) -> None:
    with pytest.raises(InputError, match="there is no such bucket"):
        take_inventory(Place.of("s3://not-there/records/", server.options), {})
    with pytest.raises(InputError, match="no Parquet file under 's3://"):
        take_inventory(Place.of(f"s3://{server.bucket()}/records/", server.options), {})
    with pytest.raises(LetheError, match="cannot be reached"):
        take_inventory(Place.of("s3://b/records/", {"endpoint_url": "http://127.0.0.1:9", "region": "x"}), {})
