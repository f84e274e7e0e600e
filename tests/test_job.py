"""The job file: what is accepted, and what a wrong one is told."""

from pathlib import Path

import pytest

from schemas.errors import InputError
from schemas.job import load_job
from schemas.s3 import Place

GOOD = """
[job]
out = "out"
jurisdictions = ["uk", "fr"]
[records]
path = "records/"
[records.columns]
record_id = "id"
[policy]
erase_at = 0.9
[[store]]
kind = "parquet"
path = "faces/"
holds = "vectors"
[[store]]
kind = "parquet"
path = "old/faces/"
holds = "vectors"
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "job.toml"
    file.write_text(text)
    return file


def test_paths_are_relative_to_the_job_file(tmp_path: Path) -> None:
    job = load_job(write(tmp_path, GOOD))
    assert job.out == tmp_path / "out"
    assert job.path(job.records.path) == tmp_path / "records"
    assert load_job(tmp_path) == job


def test_records_and_stores_may_be_on_s3(tmp_path: Path) -> None:
    text = GOOD.replace('"records/"', '"s3://bucket/in/"\n[records.options]\nregion = "eu-west-3"').replace(
        '"faces/"', '"s3://bucket/faces/*.parquet"'
    )
    job = load_job(write(tmp_path, text))
    assert job.source == Place("bucket", "in/", None, (("region", "eu-west-3"),))
    assert job.locate(job.store[0]).path == "s3://bucket/faces/*.parquet"
    assert load_job(write(tmp_path, GOOD)).source == tmp_path / "records"


def test_stores_of_the_same_folder_name_get_names_of_their_own(tmp_path: Path) -> None:
    assert list(load_job(write(tmp_path, GOOD)).stores) == ["faces", "faces-2"]


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (GOOD.replace("erase_at", "erase_a"), "did you mean 'erase_at'?"),
        (GOOD.replace("[policy]", "[polizy]"), "did you mean 'policy'?"),
        (GOOD.replace('"uk"', '"gb"'), "jurisdiction 'gb' is not known"),
        (GOOD.replace('"uk"', '"us-il"'), "signals resolve countries"),
        (GOOD.replace('holds = "vectors"', 'holds = "vector"'), "'vectors', 'hashes' or 'records'"),
        (GOOD.replace('record_id = "id"', 'recordid = "id"'), "did you mean 'record_id'?"),
        (GOOD.replace("0.9", "1.5"), "less than 1"),
        (GOOD.replace("0.9", "0.01"), "review_at = 0.05 is above erase_at = 0.01"),
        (GOOD.replace('path = "records/"', ""), "'path' is missing"),
        (GOOD + "=", "is not TOML"),
        (GOOD.replace('"records/"', '"s3://bucket/in/"\noptions = { regio = "x" }'), "unknown option 'regio'"),
        (GOOD.replace('"records/"', '"s3://bucket/in/"\noptions = { secret_key = "x" }'), "come from the environment"),
        (GOOD.replace('"records/"', '"in/"\noptions = { region = "x" }'), "options are for s3:// paths"),
        (GOOD.replace('"records/"', '"s3:///in/"'), "names no bucket"),
        (GOOD.replace('"records/"', '"gs://bucket/in/"'), "speaks the S3 API alone"),
        (GOOD.replace('"faces/"', '"gs://bucket/in/"'), "speaks the S3 API alone"),
        (GOOD.replace('"out"', '"s3://bucket/out"'), r".job. out = 's3://bucket/out' must be a path on this machine"),
        (GOOD + '[signals]\ngeoip = "s3://b/g.mmdb"\n', r".signals. geoip = .* must be a path on this machine"),
        (GOOD + '[model]\npath = "s3://b/m.json"\n', r".model. path = .* must be a path on this machine"),
    ],
)
def test_a_wrong_job_file_is_told_what_to_write(tmp_path: Path, broken: str, told: str) -> None:
    with pytest.raises(InputError, match="(?s)" + told.replace("[", r"\[").replace("?", r"\?")):
        load_job(write(tmp_path, broken))


def test_a_missing_job_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lethe demo"):
        load_job(tmp_path / "nowhere.toml")


def test_the_digest_names_what_decides_the_result(tmp_path: Path) -> None:
    digest = load_job(write(tmp_path, GOOD)).digest
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = GOOD.replace('out = "out"', 'out = "other"') + '[truth]\npath = "truth.parquet"\n'
    assert load_job(write(elsewhere, moved)).digest == digest
    assert load_job(write(elsewhere, GOOD.replace("0.9", "0.91"))).digest != digest
