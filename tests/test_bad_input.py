"""Input as it comes: every kind of bad record has a clear outcome, and none is lost."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.jobs import FACES_STORE, lethe, read_scores, write_faces, write_job, write_records

Capture = pytest.CaptureFixture[str]


def quarantine(out: Path) -> list[dict[str, object]]:
    return pq.read_table(out / "quarantine").to_pylist() if (out / "quarantine").is_dir() else []


def reasons(out: Path) -> dict[object, object]:
    return {row["record_id"]: row["reason"] for row in quarantine(out)}


def test_rows_that_cannot_be_used_are_quarantined_with_their_reason(tmp_path: Path, capsys: Capture) -> None:
    write_records(
        tmp_path / "records" / "a.parquet",
        {
            "record_id": ["good", None, "", "no-face", "twice", "twice", "north", "west", "shared-1", "shared-2"],
            "face_id": ["f0", "f1", "f2", None, "f4", "f5", "f6", "f7", "f8", "f8"],
            "subject_id": ["s0", "s1", "s2", "s3", "s4", "s4", "s0", "s7", "s8", "s9"],
            "latitude": [48.85, 1.0, 1.0, 1.0, 1.0, 1.0, 512.0, 1.0, 1.0, 1.0],
            "longitude": [2.35, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -181.0, 1.0, 1.0],
        },
    )
    score = lethe(capsys, "score", write_job(tmp_path))["score"]
    assert (score["read"], score["scored"], score["quarantined"]) == (10, 2, 8)
    found = reasons(tmp_path / "out")
    assert found["twice"] == "record_id was already read; the first record in file order is the one scored"
    assert found["no-face"] == "face_id is null or empty: its vector cannot be found in any store"
    assert found["north"] == found["west"] == "latitude is outside -90..90 or longitude outside -180..180"
    assert (
        found["shared-1"]
        == found["shared-2"]
        == ("face_id is given to more than one subject; a person has to decide whose it is")
    )
    assert {row["row"] for row in quarantine(tmp_path / "out")} == {1, 2, 3, 5, 6, 7, 8, 9}


def test_a_subject_with_a_quarantined_record_is_never_quietly_kept(tmp_path: Path, capsys: Capture) -> None:
    tokyo = {"latitude": [35.68, 35.68, 512.0], "longitude": [139.69, 139.69, 1.0]}
    write_records(tmp_path / "records" / "a.parquet", {"subject_id": ["whole", "broken", "broken"], **tokyo})
    lethe(capsys, "score", write_job(tmp_path))
    scores = read_scores(tmp_path / "out")
    assert scores["whole", "uk"]["tier"] == "keep"
    assert scores["broken", "uk"]["tier"] == "review"
    assert scores["broken", "uk"]["probability"] == scores["whole", "uk"]["probability"]


def test_values_that_say_nothing_silence_one_signal_with_a_reason(tmp_path: Path, capsys: Capture) -> None:
    n = 6
    write_records(
        tmp_path / "records" / "a.parquet",
        {
            "subject_id": [f"s{i}" for i in range(n)],
            "latitude": [float("nan"), 0.0, None, float("inf"), 1.0, 1.0],
            "longitude": [1.0, 0.0, 1.0, 1.0, None, float("-inf")],
            "source_url": ["http://[broken", "no url", "https://", "mailto:a@b", "\0\0", "https://exa mple.com/"],
            "uploader_ip": ["999.1.2.3", "1.2", "::ffff:zz", "0x1", "127.0.0.1", " "],
            "caption": ["a\0b", "x" * 200_000, "\U0001f600" * 50, "", None, "+44 " + "9" * 5000],
        },
    )
    score = lethe(capsys, "score", write_job(tmp_path))["score"]
    assert (score["read"], score["scored"], score["quarantined"]) == (n, n, 0)
    rows = read_scores(tmp_path / "out")
    bars = {bar["family"]: bar for bar in rows["s0", "uk"]["bars"]}
    assert bars["device"]["null_reason"] == "malformed"
    assert {bar["null_reason"] for bar in rows["s1", "uk"]["bars"] if bar["family"] == "device"} == {"null_island"}
    assert all(bar["weight_mb"] == 0 for bar in rows["s0", "uk"]["bars"] if bar["null_reason"])


def test_text_that_is_not_utf8_is_read_and_ids_that_are_not_are_quarantined(tmp_path: Path, capsys: Capture) -> None:
    lone_surrogate = b"\xed\xa0\x80"
    binary = {
        "record_id": pa.array([b"good", lone_surrogate], pa.binary()),
        "caption": pa.array([b"Bonjour " + lone_surrogate, b"\xff\xfe"], pa.binary()),
    }
    write_records(tmp_path / "records" / "a.parquet", binary)
    score = lethe(capsys, "score", write_job(tmp_path))["score"]
    assert (score["scored"], score["quarantined"]) == (1, 1)
    assert [row["reason"] for row in quarantine(tmp_path / "out")] == ["an id is not valid UTF-8"]


def test_a_file_cut_in_half_is_told_and_the_others_are_scored(tmp_path: Path, capsys: Capture) -> None:
    write_records(tmp_path / "records" / "good.parquet", {"subject_id": ["a", "b"]})
    write_records(tmp_path / "records" / "cut.parquet", {"subject_id": [str(i) for i in range(500)]})
    cut = tmp_path / "records" / "cut.parquet"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (tmp_path / "records" / "nothing.parquet").write_bytes(b"")
    score = lethe(capsys, "score", write_job(tmp_path))["score"]
    assert (score["files"], score["unreadable_files"], score["read"], score["scored"]) == (3, 2, 2, 2)
    rows = quarantine(tmp_path / "out")
    assert {row["file"] for row in rows} == {"cut.parquet", "nothing.parquet"}
    assert all(str(row["reason"]).startswith("the file cannot be opened as Parquet") for row in rows)


def test_a_row_group_with_broken_pages_is_quarantined_row_by_row(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "records" / "a.parquet"
    write_records(file, {"subject_id": [f"subject-{i}" for i in range(200_000)]}, row_group=100_000)
    start = pq.read_metadata(file).row_group(1).column(2).data_page_offset
    content = bytearray(file.read_bytes())
    content[start : start + 4000] = b"\xff" * 4000
    file.write_bytes(content)
    score = lethe(capsys, "score", write_job(tmp_path))["score"]
    assert (score["read"], score["scored"], score["quarantined"]) == (200_000, 100_000, 100_000)
    assert sorted(row["row"] for row in quarantine(tmp_path / "out")) == list(range(100_000, 200_000))  # type: ignore[type-var]


def test_empty_files_and_no_rows_at_all_are_a_run_like_any_other(tmp_path: Path, capsys: Capture) -> None:
    write_records(tmp_path / "records" / "none.parquet", {"subject_id": pa.array([], pa.string())})
    write_faces(tmp_path / "faces" / "f.parquet", ["somebody-else"])
    summary = lethe(capsys, "run", write_job(tmp_path, FACES_STORE), "--execute")
    assert (summary["score"]["read"], summary["purge"]["faces"]) == (0, 0)
    assert summary["verification"]["stores"]["faces"]["verdict"] == "CLEAN"


def test_records_without_a_subject_are_their_own(tmp_path: Path, capsys: Capture) -> None:
    write_records(tmp_path / "records" / "a.parquet", {"record_id": ["7", "8", "9"], "subject_id": [None, "7", ""]})
    lethe(capsys, "score", write_job(tmp_path))
    assert {subject for subject, _ in read_scores(tmp_path / "out")} == {"record:7", "7", "record:9"}


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (lambda folder: None, "does not exist"),
        (lambda folder: (folder / "records").mkdir(), "no Parquet file under"),
        (
            lambda folder: write_records(folder / "records" / "a.parquet", {"latitude": ["north"]}),
            "column 'latitude' has type string",
        ),
        (
            lambda folder: pq.write_table(pa.table({"face_id": ["f"]}), _made(folder / "records") / "a.parquet"),
            "record_id needs a column 'record_id'",
        ),
        (lambda folder: (_made(folder / "records") / "a.parquet").write_bytes(b"PAR1"), "none of the 1 Parquet files"),
    ],
)
def test_input_that_cannot_be_read_stops_the_job_before_any_work(
    tmp_path: Path, capsys: Capture, prepare: object, told: str
) -> None:
    prepare(tmp_path)  # type: ignore[operator]
    assert told in lethe(capsys, "run", write_job(tmp_path), code=2)["error"]
    assert not (tmp_path / "out" / "scores").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[signals]\ngeoip = "nowhere.mmdb"\n', "nowhere.mmdb"),
        ('[model]\npath = "nowhere.json"\n', "nowhere.json"),
        ('[[store]]\nkind = "parquet"\npath = "nowhere/"\nholds = "vectors"\n', "nowhere"),
        (FACES_STORE.replace("faces/", "records/") + 'key = "face"\n', "face"),
    ],
)
def test_what_a_job_names_and_does_not_exist_is_told_before_anything_is_destroyed(
    tmp_path: Path, capsys: Capture, text: str, told: str
) -> None:
    write_records(tmp_path / "records" / "a.parquet", {"subject_id": ["a"]})
    assert told in lethe(capsys, "run", write_job(tmp_path, text), "--execute", code=2)["error"]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
