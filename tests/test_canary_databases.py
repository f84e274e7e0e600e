"""Synthetic people planted in databases vanish with the rest, and one that a purge leaves there is found."""

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import faiss
import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from runners.cli import main
from runners.demo import write_demo
from tests.jobs import digests, lethe

Capture = pytest.CaptureFixture[str]
DATABASES = ("lance", "delta", "deepface", "faiss")
NAMES = {"lance": "faces.lance", "delta": "faces-delta", "deepface": "faces.db", "faiss": "faces.faiss"}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo with canaries in four databases."""
    demo = tmp_path_factory.mktemp("planted") / "demo"
    write_demo(demo, subjects=60, seed=7, databases=DATABASES)
    assert main(["canary", "plant", str(demo), "--execute", "--json"]) == 0
    return demo


@pytest.fixture(scope="module")
def purged(planted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, purged."""
    demo = Path(shutil.copytree(planted, tmp_path_factory.mktemp("purged") / "demo"))
    assert main(["run", str(demo), "--execute", "--json"]) == 0
    return demo


def canaries(demo: Path, kind: str) -> pa.Table:
    """The rows of canaries, without bystanders, that were planted in one database."""
    rows = pa.ipc.open_file(demo / "out" / "canaries" / f"{NAMES[kind]}.arrow").read_all()
    key = "img_name" if kind == "deepface" else "face_id"
    return rows.filter(pc.match_substring(rows.column(key), "canary-face"))


def check(capsys: Capture, demo: Path, code: int = 0) -> dict[str, Any]:
    return dict(lethe(capsys, "canary", "check", demo, code=code)["canary_check"]["stores"])


def test_nothing_is_written_without_execute(tmp_path: Path, capsys: Capture) -> None:
    demo = tmp_path / "demo"
    write_demo(demo, subjects=20, seed=8, databases=DATABASES)
    before = digests(demo, "out")
    told = lethe(capsys, "canary", "plant", demo)["canaries"]
    assert digests(demo, "out") == before
    assert set(NAMES.values()) <= set(told["stores"])
    assert told["not_planted"] == {}


def test_they_are_rows_like_others(planted: Path) -> None:
    assert lance.dataset(planted / "lance" / "faces.lance").count_rows("face_id LIKE '%canary-face%'") == 36
    faces = DeltaTable(planted / "delta" / "faces").to_pyarrow_table()
    assert pc.sum(pc.match_substring(faces["face_id"], "canary-face")).as_py() == 36
    index = faiss.read_index(str(planted / "faiss" / "faces.faiss"))
    rows = canaries(planted, "faiss")
    vectors = rows["vector"].combine_chunks().flatten().to_numpy().reshape(len(rows), -1)
    index.nprobe = index.nlist
    _, nearest = index.search(np.ascontiguousarray(vectors[4:9]), 64)
    for number, found in zip(rows["faiss_id"].to_pylist()[4:9], nearest.tolist(), strict=True):
        assert number in found
    assert set(rows["faiss_id"].to_pylist()) <= set(
        pq.read_table(planted / "faiss" / "numbers.parquet")["faiss_id"].to_pylist()
    )


def test_deepface_knows_them(planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client returns them with the faces of the same model, and would refuse the same vector of the same crop."""
    monkeypatch.setenv("DEEPFACE_BACKEND_ENGINE", "onnx")
    from deepface.modules.database.sqlite import SqliteClient

    with closing(sqlite3.connect(planted / "deepface" / "faces.db")) as db:
        client = SqliteClient(connection=db)
        known = client.fetch_all_embeddings("Dlib", "skip", True, False)
        assert sum("canary-face" in one["img_name"] for one in known) == 36
        for vector, digest in db.execute("SELECT embedding, embedding_hash FROM embeddings"):
            assert hashlib.sha256(vector).hexdigest() == digest
        assert db.execute("SELECT count(DISTINCT face_shape || length(face)) FROM embeddings").fetchone() == (1,)


def test_they_vanish_with_the_rest(purged: Path, capsys: Capture) -> None:
    stores = check(capsys, purged)
    for name in NAMES.values():
        assert (stores[name]["verdict"], stores[name]["readable"], stores[name]["traces"]) == ("gone", 0, 0)
        assert stores[name]["sought"] >= 72
        assert (stores[name]["bystanders"], stores[name]["bystanders_intact"]) == (28, True)


@pytest.mark.parametrize("kind", DATABASES)
def test_one_that_was_left_is_found(purged: Path, tmp_path: Path, capsys: Capture, kind: str) -> None:
    row = canaries(purged, kind).slice(3, 1)
    folder = purged / kind
    shutil.copytree(folder, tmp_path / kind)
    try:
        _leave(folder, kind, row)
        found = check(capsys, purged, code=3)
        assert found[NAMES[kind]]["verdict"] == "left"
        assert found[NAMES[kind]]["traces"] > 0
        assert found["faces"]["verdict"] == "gone"
    finally:
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / kind, folder)


def _leave(folder: Path, kind: str, row: pa.Table) -> None:
    """Put a canary back into a database, as its software would; hidden by a delete where the software keeps such."""
    match kind:
        case "lance":
            lance.write_dataset(row, folder / "faces.lance", mode="append").delete("face_id LIKE '%canary-face%'")
        case "delta":
            write_deltalake(folder / "faces", row, mode="append")
            DeltaTable(folder / "faces").delete("face_id LIKE '%canary-face%'")
        case "deepface":
            (told,) = row.to_pylist()
            values = {**told, "face": b"crop", "embedding": np.asarray(told["embedding"], "<f8").tobytes()}
            with closing(sqlite3.connect(folder / "faces.db")) as db, db:
                columns, marks = ", ".join(values), ", ".join("?" * len(values))
                db.execute(f"INSERT INTO embeddings ({columns}) VALUES ({marks})", tuple(values.values()))
        case "faiss":
            index = faiss.read_index(str(folder / "faces.faiss"))
            vector = row["vector"].combine_chunks().flatten().to_numpy().reshape(1, -1)
            index.add_with_ids(vector, np.array(row["faiss_id"].to_pylist()))
            faiss.write_index(index, str(folder / "faces.faiss"))


def test_a_kind_without_a_way_to_plant_says_so(planted: Path, tmp_path: Path, capsys: Capture) -> None:
    demo = Path(shutil.copytree(planted, tmp_path / "demo"))
    shutil.rmtree(demo / "out")
    job = demo / "job.toml"
    remote = '\n[[store]]\nkind = "parquet"\npath = "s3://bucket/faces/"\nname = "remote"\nholds = "vectors"\n'
    job.write_text(job.read_text() + remote)
    told = lethe(capsys, "canary", "plant", demo)["canaries"]
    assert list(told["not_planted"]) == ["remote"]
    assert json.dumps(told["stores"]).count("faces.lance") > 0
