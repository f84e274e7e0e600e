"""The whole job as a user runs it: counts that add up, nothing done twice, nothing destroyed that should not be."""

import datetime
import json
import random
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from runners.demo import write_demo
from tests.jobs import FACES_STORE, digests, lethe, read_scores, write_faces, write_job, write_records

Capture = pytest.CaptureFixture[str]
GOLDEN = Path(__file__).parent / "golden" / "run.json"
MONTHS = [datetime.datetime(2024, month, 5, tzinfo=datetime.UTC) for month in range(1, 10)]
STORES = ("faces", "hashes", "records")
TIMED = ("run.json", "verification.json", "report.html")
"""They say when the stores were verified last."""
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d")


def timeless(summary: dict[str, Any]) -> str:
    return MOMENT.sub("", json.dumps(summary))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo that nobody has run yet."""
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder / "job", subjects=400, seed=7)
    return folder / "job"


@pytest.fixture
def demo(pristine: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(pristine, tmp_path / "demo"))


def erased_faces(out: Path) -> set[str]:
    tables = [pq.read_table(file) for file in sorted((out / "manifests").rglob("*.parquet"))]
    return {row for table in tables for row in table.filter(pc.field("tier") == "erase").column("face_id").to_pylist()}


def faces_in(folder: Path) -> list[str]:
    return [
        face for file in sorted(folder.glob("*.parquet")) for face in pq.read_table(file).column("face_id").to_pylist()
    ]


def assert_sums(summary: dict[str, Any]) -> None:
    score = summary["score"]
    assert score["read"] == score["scored"] + score["quarantined"]
    for jurisdiction in summary["jurisdictions"].values():
        listed = sum(jurisdiction["entries"].values())
        assert jurisdiction["records"] == score["read"] == listed + jurisdiction["kept"] + jurisdiction["quarantined"]
        assert sum(jurisdiction["subjects"].values()) == score["subjects"]


def test_the_golden_run(demo: Path, capsys: Capture) -> None:
    """The counts of one run, written down; a change that is meant to move them writes them anew."""
    summary = lethe(capsys, "run", demo, "--execute")
    assert_sums(summary)
    found = {
        "score": summary["score"],
        "entries": {name: each["entries"] for name, each in summary["jurisdictions"].items()},
        "removed": {name: store["rows_removed"] for name, store in summary["purge"]["stores"].items()},
        "verdicts": {name: store["verdict"] for name, store in summary["verification"]["stores"].items()},
    }
    assert found == json.loads(GOLDEN.read_text())


def test_the_same_faces_go_from_every_embedded_database(tmp_path: Path, capsys: Capture) -> None:
    """DeepFace's, FAISS's, Lance's and Delta's own software wrote them; what a dry run finds is what is removed."""
    write_demo(tmp_path / "demo", subjects=400, seed=7, databases=("deepface", "faiss", "lance", "delta"))
    dry = lethe(capsys, "run", tmp_path / "demo")["purge"]["stores"]
    assert {store["rows_matched"] for store in dry.values()} == {109}
    done = lethe(capsys, "run", tmp_path / "demo", "--execute")
    assert len(done["purge"]["stores"]) == len(STORES) + 4
    for name, store in done["purge"]["stores"].items():
        assert (store["rows_removed"], store["uncompacted"]) == (109, []), name
    for name, store in done["verification"]["stores"].items():
        assert (store["verdict"], store["rows_lost"]) == ("CLEAN", 0), (name, store["reasons"])


def test_what_is_listed_is_gone_and_everything_else_is_there(demo: Path, capsys: Capture) -> None:
    before = {store: faces_in(demo / store) for store in STORES}
    lethe(capsys, "run", demo, "--execute")
    erased = erased_faces(demo / "out")
    assert erased
    for store in STORES:
        assert faces_in(demo / store) == [face for face in before[store] if face not in erased]


def test_a_second_run_changes_nothing(demo: Path, capsys: Capture) -> None:
    """Only that it was verified once more is told: with the new time."""
    first = lethe(capsys, "run", demo, "--execute")
    left, told = digests(demo, "work", ".lock", *TIMED), [(demo / "out" / file).read_text() for file in TIMED]
    verified = lethe(capsys, "verify", demo)
    assert timeless(verified["verification"]) == timeless(first["verification"])
    assert timeless(lethe(capsys, "run", demo, "--execute")) == timeless(first)
    assert timeless(lethe(capsys, "run", demo)) == timeless(first)
    assert digests(demo, "work", ".lock", *TIMED) == left
    assert [MOMENT.sub("", (demo / "out" / file).read_text()) for file in TIMED] == [
        MOMENT.sub("", one) for one in told
    ]


def test_nothing_is_destroyed_without_execute(demo: Path, capsys: Capture) -> None:
    before = digests(demo, "out")
    dry = lethe(capsys, "run", demo)
    assert digests(demo, "out") == before
    assert dry["purge"]["executed"] is False
    assert not (demo / "out" / "receipts").exists()
    assert "no purge was executed" in lethe(capsys, "verify", demo, code=2)["error"]
    done = lethe(capsys, "purge", demo, "--execute")
    for store in STORES:
        planned, removed = dry["purge"]["stores"][store], done["purge"]["stores"][store]
        assert planned["rows_matched"] == removed["rows_removed"] > 0
        assert planned["bytes_to_rewrite"] == removed["bytes_to_rewrite"]


def test_one_changed_byte_anywhere_in_a_manifest_refuses_the_purge(demo: Path, capsys: Capture) -> None:
    lethe(capsys, "run", demo)
    stores = digests(demo, "out")
    draw = random.Random(1)
    for file in sorted((demo / "out" / "manifests").rglob("*.*")):
        whole = file.read_bytes()
        for _ in range(3):
            at = draw.randrange(len(whole))
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << draw.randrange(8)]) + whole[at + 1 :])
            assert lethe(capsys, "purge", demo, "--execute", code=4)["error"]
        file.write_bytes(whole)
    assert digests(demo, "out") == stores


def test_a_manifest_is_stale_when_policy_model_or_records_have_changed(demo: Path, capsys: Capture) -> None:
    lethe(capsys, "run", demo)
    job = demo / "job.toml"
    text = job.read_text()
    job.write_text(text.replace("erase_at = 0.95", "erase_at = 0.5"))
    assert "the job file has changed" in lethe(capsys, "purge", demo, "--execute", code=4)["error"]
    job.write_text(text)
    model = json.loads((Path(__file__).parent.parent / "classifiers" / "data" / "model.json").read_text())
    model["place"]["tau"] = 0.3
    (demo / "model.json").write_text(json.dumps(model))
    job.write_text(text.replace("# [model]\n# path", "[model]\npath"))
    assert lethe(capsys, "purge", demo, "--execute", code=4)["error"]
    job.write_text(text)
    write_records(demo / "records" / "late.parquet", {"subject_id": ["late"]})
    assert "the records have changed" in lethe(capsys, "purge", demo, "--execute", code=4)["error"]


def test_the_proof_of_an_erasure_is_not_overwritten(demo: Path, capsys: Capture) -> None:
    lethe(capsys, "run", demo, "--execute")
    proof = digests(demo / "out", "work", ".lock")
    write_records(demo / "records" / "late.parquet", {"subject_id": ["late"]})
    assert "keep that proof" in lethe(capsys, "run", demo, code=2)["error"]
    assert digests(demo / "out", "work", ".lock") == proof


def test_neither_engine_nor_workers_nor_the_order_of_records_change_a_score(
    demo: Path, tmp_path: Path, capsys: Capture
) -> None:
    lethe(capsys, "plan", demo, "--", "--direct_num_workers=1")
    one = digests(demo / "out" / "scores"), digests(demo / "out" / "manifests")
    shutil.rmtree(demo / "out")
    for elsewhere in ("--direct_num_workers=3", "--runner=BundleBasedDirectRunner"):
        lethe(capsys, "plan", demo, "--", elsewhere)
        assert (digests(demo / "out" / "scores"), digests(demo / "out" / "manifests")) == one
        shutil.rmtree(demo / "out")

    records = pa.concat_tables([pq.read_table(file) for file in sorted((demo / "records").glob("*.parquet"))])
    usable = records.filter(pc.is_valid(records.column("record_id")))
    usable = usable.filter(pc.not_equal(usable.column("latitude"), 512.0).combine_chunks().fill_null(True))
    first = pa.array([not seen for seen in _seen_before(usable.column("record_id").to_pylist())])
    usable = usable.filter(first)
    order = list(range(len(usable)))
    random.Random(3).shuffle(order)
    scores = []
    for name, table, group in (("straight", usable, 10_000), ("shuffled", usable.take(pa.array(order)), 77)):
        folder = tmp_path / name
        shutil.copytree(demo, folder, ignore=shutil.ignore_patterns("out", "records"))
        (folder / "records").mkdir()
        pq.write_table(table, folder / "records" / "all.parquet", row_group_size=group)
        lethe(capsys, "score", folder)
        scores.append(read_scores(folder / "out"))
    assert scores[0] == scores[1]


def test_residue_in_any_file_of_a_store_fails_the_verification(demo: Path, capsys: Capture) -> None:
    spared = pq.read_table(demo / "faces" / "part-00000.parquet")
    lethe(capsys, "run", demo, "--execute")
    gone = spared.filter(pc.is_in(spared.column("face_id"), pa.array(sorted(erased_faces(demo / "out"))))).slice(0, 1)
    forgotten = demo / "faces" / ".lethe-tmp-forgotten"
    pq.write_table(gone.select(["vector"]), forgotten, compression="zstd")
    summary = lethe(capsys, "verify", demo, code=3)
    faces = summary["verification"]["stores"]["faces"]
    assert faces["verdict"] == "RESIDUE" and faces["residue"] >= 1
    assert any(forgotten.name in reason for reason in faces["reasons"])
    forgotten.unlink()
    lethe(capsys, "verify", demo)


def test_a_lost_row_fails_the_verification(demo: Path, capsys: Capture) -> None:
    lethe(capsys, "run", demo, "--execute")
    file = demo / "hashes" / "part-00001.parquet"
    table = pq.read_table(file)
    pq.write_table(table.slice(1), file)
    hashes = lethe(capsys, "verify", demo, code=3)["verification"]["stores"]["hashes"]
    assert (hashes["rows"], hashes["rows_lost"]) == ("LOST", 1)


def test_finishing_destroys_what_could_find_the_vectors_again(demo: Path, capsys: Capture) -> None:
    lethe(capsys, "run", demo, "--execute")
    (secret,) = (demo / "out" / "work").glob("*/secret")
    assert any(secret.rglob("*.arrow"))
    lethe(capsys, "verify", demo, "--finish")
    assert not secret.exists()
    lethe(capsys, "verify", demo)
    lethe(capsys, "run", demo, "--execute")


def test_a_store_that_cannot_be_read_whole_is_not_called_clean(tmp_path: Path, capsys: Capture) -> None:
    write_records(tmp_path / "records" / "a.parquet", {"latitude": [48.85], "longitude": [2.35]})
    write_faces(tmp_path / "faces" / "good.parquet", ["face-00000", "other"])
    write_faces(tmp_path / "faces" / "cut.parquet", [f"x{i}" for i in range(500)])
    cut = tmp_path / "faces" / "cut.parquet"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    summary = lethe(capsys, "run", write_job(tmp_path, FACES_STORE), "--execute", code=3)
    assert summary["purge"]["stores"]["faces"]["unreadable"] == ["cut.parquet"]
    assert summary["verification"]["stores"]["faces"]["verdict"] == "UNVERIFIED"


def test_metadata_that_names_somebody_erased_goes_and_the_store_is_still_whole(tmp_path: Path, capsys: Capture) -> None:
    paris = {"latitude": [48.85] * 9, "longitude": [2.35] * 9, "captured_at": MONTHS, "subject_id": ["s"] * 9}
    write_records(tmp_path / "records" / "a.parquet", paris)
    faces = write_faces(tmp_path / "faces" / "f.parquet", [*(f"face-{i:05d}" for i in range(9)), "other"])
    noted = faces.replace_schema_metadata({"sample": "face-00003", "owner": "city"})
    pq.write_table(noted, tmp_path / "faces" / "f.parquet")
    summary = lethe(capsys, "run", write_job(tmp_path, FACES_STORE), "--execute")
    assert summary["verification"]["stores"]["faces"]["rows"] == "INTACT"
    left = pq.read_table(tmp_path / "faces" / "f.parquet")
    assert left.schema.metadata == {b"owner": b"city"}
    assert left.column("face_id").to_pylist() == ["other"]


def test_explain_adds_up_to_the_score(demo: Path, capsys: Capture) -> None:
    lethe(capsys, "score", demo)
    scores = read_scores(demo / "out")
    for subject in sorted({subject for subject, _ in scores})[:5]:
        explanation = lethe(capsys, "explain", demo, "--subject", subject)["explanation"]
        for row in explanation["jurisdictions"]:
            name = row["jurisdiction"]
            assert row["score_mb"] == row["prior_mb"] + sum(bar["weight_mb"] for bar in row["bars"])
            assert row["score_mb"] == scores[subject, name]["score_mb"]
            episodes = [each for each in explanation.get("episodes", []) if each["jurisdiction"] == name]
            assert sum(each["weight_mb"] for each in episodes) == row["score_mb"] - row["prior_mb"]
            assert row["reason"].endswith(".")
    assert "no subject of that id" in lethe(capsys, "explain", demo, "--subject", "nobody", code=2)["error"]


def test_the_policy_decides_about_subjects_without_evidence(tmp_path: Path, capsys: Capture) -> None:
    for decision, tier, listed in (("review", "insufficient", 1), ("erase", "erase", 1), ("keep", "keep", 0)):
        folder = tmp_path / decision
        write_records(folder / "records" / "a.parquet", {"subject_id": ["silent"]})
        job = write_job(folder, f'[policy]\ninsufficient_evidence = "{decision}"\n')
        summary = lethe(capsys, "plan", job)
        assert read_scores(folder / "out")["silent", "fr"]["tier"] == tier
        assert sum(summary["jurisdictions"]["fr"]["entries"].values()) == listed


def test_a_policy_that_requires_approval_refuses_what_is_not_signed(demo: Path, capsys: Capture) -> None:
    from tests.test_approval import write_key

    key = write_key(demo, "auditor")
    job = demo / "job.toml"
    required = 'require_approval = true\napprovers = ["auditor.pub.pem"]\n'
    job.write_text(job.read_text().replace("[policy]\n", "[policy]\n" + required))
    assert "not signed" in lethe(capsys, "run", demo, "--execute", code=4)["error"]
    assert not (demo / "out" / "receipts").exists()
    lethe(capsys, "approve", demo, "--key", key)
    lethe(capsys, "run", demo, "--execute")


def test_commands_that_come_too_early_say_what_comes_first(demo: Path, capsys: Capture) -> None:
    assert "`lethe plan JOB` writes them" in lethe(capsys, "purge", demo, code=2)["error"]
    (demo / "bare.toml").write_text(f'[job]\nout = "bare"\n[records]\npath = "{demo}/records"\n')
    assert "names no [[store]]" in lethe(capsys, "run", demo / "bare.toml", "--execute", code=2)["error"]
    assert "`lethe score` first" in lethe(capsys, "explain", demo, "--subject", "x", code=2)["error"]
    lethe(capsys, "plan", demo)
    shutil.rmtree(demo / "out" / "manifests" / "fr")
    assert "is gone" in lethe(capsys, "purge", demo, "--execute", code=4)["error"]


def test_the_plain_direct_runner_is_refused(demo: Path, capsys: Capture) -> None:
    error = lethe(capsys, "score", demo, "--", "--runner=DirectRunner", code=2)["error"]
    assert "run it unverified" in error


def _seen_before(values: list[str]) -> list[bool]:
    seen: set[str] = set()
    return [value in seen or bool(seen.add(value)) for value in values]  # type: ignore[func-returns-value]


def test_the_audit_and_the_measures_are_commands(demo: Path, capsys: Capture) -> None:
    """A run is planned, audited with the truth as labels, measured, and a model estimated from its own records."""
    lethe(capsys, "plan", demo)
    drawn = lethe(capsys, "audit", "sample", demo, "--n", 300, "--seed", 1, "--recall", 0.5)["audit"]
    sample = pq.read_table(demo / "out" / "audit" / "sample.parquet")
    truth = pq.read_table(demo / "truth.parquet")
    labels = truth.filter(pc.is_in(truth.column("subject_id").cast(pa.large_string()), sample.column("subject_id")))
    pq.write_table(labels, demo / "labels.parquet")
    judged = lethe(capsys, "audit", "result", demo, "--labels", demo / "labels.parquet", "--seal", drawn["seal"])
    assert judged["audit"]["verdict"] == "pass"

    evaluation = lethe(capsys, "evaluate", demo, "--truth", demo / "truth.parquet")["evaluation"]
    assert set(evaluation["jurisdictions"]) == {"uk", "fr", "it"}
    threshold = lethe(capsys, "threshold", demo, "--labels", demo / "truth.parquet", "--recall", 0.6)["threshold"]
    assert threshold["labelled"] == len(truth)
    model = demo / "estimated.json"
    assert lethe(capsys, "estimate", demo, "--out", model)["estimate"]["out"] == str(model)
    job = demo / "job.toml"
    job.write_text(job.read_text().replace("[policy]\n", '[model]\npath = "estimated.json"\n\n[policy]\n'))
    assert_sums(lethe(capsys, "run", demo))
