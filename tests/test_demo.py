import dataclasses
import hashlib
import os
from collections import Counter
from pathlib import Path

import geoip2.database
import numpy as np
import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from classifiers.gather import name_subjects
from classifiers.network import NetworkDatabase, locate_address
from runners.demo import DemoSummary, write_demo
from runners.demo_draw import NOTHING, draw_episodes, draw_people
from runners.demo_phrases import PHRASES
from runners.demo_text import phones
from runners.demo_world import World
from schemas.countries import COUNTRIES, LANGUAGES
from schemas.errors import InputError
from schemas.evidence import NullReason
from schemas.job import load_job
from schemas.records import RECORD, plan_reading

SUBJECTS, SEED = 1200, 3


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> DemoSummary:
    return write_demo(tmp_path_factory.mktemp("demo") / "job", SUBJECTS, SEED)


@pytest.fixture(scope="module")
def records(summary: DemoSummary) -> pa.Table:
    return pq.read_table(summary.folder / "records").combine_chunks()


@pytest.fixture(scope="module")
def truth(summary: DemoSummary) -> dict[str, str]:
    table = pq.read_table(summary.folder / "truth.parquet")
    return dict(zip(table["subject_id"].to_pylist(), table["country"].to_pylist(), strict=True))


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def subjects_of(records: pa.Table) -> list[str]:
    text = records.select(["subject_id", "record_id"]).cast(
        pa.schema([("subject_id", pa.large_string()), ("record_id", pa.large_string())])
    )
    return name_subjects(text["subject_id"].combine_chunks(), text["record_id"].combine_chunks()).to_pylist()


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(summary: DemoSummary, tmp_path: Path) -> None:
    again = write_demo(tmp_path / "again", SUBJECTS, SEED)
    assert digests(again.folder) == digests(summary.folder)
    other = digests(write_demo(tmp_path / "other", SUBJECTS, SEED + 1).folder)
    same = {name for name, digest in digests(summary.folder).items() if other.get(name) == digest}
    assert same == {"job.toml", "geoip.mmdb"}


def test_a_demo_that_is_there_is_left_alone(summary: DemoSummary) -> None:
    before = {path: path.stat().st_mtime_ns for path in summary.folder.rglob("*")}
    assert write_demo(summary.folder, SUBJECTS, SEED) == summary
    assert {path: path.stat().st_mtime_ns for path in summary.folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("subjects", "seed", "world"),
    [(SUBJECTS + 1, SEED, None), (SUBJECTS, SEED + 1, None), (SUBJECTS, SEED, World(away=0.3))],
)
def test_another_demo_is_never_overwritten(summary: DemoSummary, subjects: int, seed: int, world: World | None) -> None:
    before = digests(summary.folder)
    with pytest.raises(
        InputError, match=f"holds a demo of {SUBJECTS} subjects, seed {SEED}, and nothing is overwritten"
    ):
        write_demo(summary.folder, subjects, seed, world)
    assert digests(summary.folder) == before


def test_something_else_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds something else"):
        write_demo(tmp_path, SUBJECTS, SEED)
    with pytest.raises(InputError, match="holds something else"):
        write_demo(tmp_path / "thesis.txt", SUBJECTS, SEED)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_empty_folder_is_filled_even_if_one_stands_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_demo(Path("."), 10, 0)
    expected = ["demo.json", "faces", "geoip.mmdb", "hashes", "job.toml", "records", "truth.parquet"]
    assert sorted(os.listdir(".")) == expected


@pytest.mark.parametrize(("subjects", "seed"), [(0, 1), (9, 1), (-5, 1), (100, -1)])
def test_impossible_sizes_are_refused(tmp_path: Path, subjects: int, seed: int) -> None:
    with pytest.raises(InputError):
        write_demo(tmp_path / "demo", subjects, seed)
    assert not (tmp_path / "demo").exists()


def test_the_smallest_demo_and_the_largest_seed(tmp_path: Path) -> None:
    assert write_demo(tmp_path / "demo", 10, 2**70).records >= 10


def test_the_counts_add_up(summary: DemoSummary, records: pa.Table, truth: dict[str, str]) -> None:
    assert summary.as_dict()["records"] == len(records) == summary.records == summary.faces
    assert len(truth) == summary.truth_rows
    for store in ("faces", "hashes"):
        keys = pq.read_table(summary.folder / store, columns=["face_id"])["face_id"]
        assert len(keys) == summary.faces
        assert set(keys.to_pylist()) == set(records["face_id"].to_pylist())
        assert keys.to_pylist() != records["face_id"].to_pylist()


def test_records_have_the_columns_of_the_design_in_several_files_and_row_groups(summary: DemoSummary) -> None:
    files = sorted((summary.folder / "records").iterdir())
    assert len(files) > 3
    for file in files:
        opened = pq.ParquetFile(file)
        assert opened.metadata.num_row_groups > 2
        assert opened.schema_arrow.names == RECORD.names
        reading = plan_reading(opened.schema_arrow, {}, file.name)
        batch = opened.read().combine_chunks().to_batches()[0]
        assert reading.conform(batch).schema == RECORD


def test_vectors_are_unit_vectors_and_every_file_shows_many_subjects(summary: DemoSummary, records: pa.Table) -> None:
    subject = dict(zip(records["face_id"].to_pylist(), records["subject_id"].to_pylist(), strict=True))
    for file in (summary.folder / "faces").iterdir():
        table = pq.read_table(file)
        vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, 128)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
        assert len({subject[face] for face in table["face_id"].to_pylist()}) > SUBJECTS / 2


def test_the_truth_covers_each_subject_once(summary: DemoSummary, records: pa.Table, truth: dict[str, str]) -> None:
    subjects = set(subjects_of(records))
    assert subjects == set(truth)
    assert set(truth.values()) <= {country.code for country in World().countries}
    named = set(records["subject_id"].to_pylist()) - {None}
    assert len(named) < SUBJECTS < summary.truth_rows


def test_ids_are_opaque_and_unique_but_for_the_spoilt_rows(summary: DemoSummary, records: pa.Table) -> None:
    faces, images = records["face_id"].to_pylist(), records["image_id"].to_pylist()
    assert len(set(faces)) == len(faces)
    assert faces != sorted(faces)
    assert {len(face) for face in faces} == {32}
    ids = Counter(record for record in records["record_id"].to_pylist() if record is not None)
    assert sum(count - 1 for count in ids.values()) == summary.bad_rows["duplicate_record_id"]
    shared = [image for image, count in Counter(images).items() if count == 2]
    assert len(shared) > len(images) / 100


def test_every_kind_of_bad_row_is_there_and_counted(summary: DemoSummary, records: pa.Table) -> None:
    latitude = records["latitude"]
    found = {
        "null_record_id": records["record_id"].null_count,
        "latitude_512": pc.sum(pc.equal(latitude, 512)).as_py(),
        "latitude_nan": pc.sum(pc.is_nan(latitude)).as_py(),
        "malformed_address": pc.sum(pc.equal(records["uploader_ip"], "999.1.2.3")).as_py(),
        "broken_url": pc.sum(pc.starts_with(records["source_url"], "http://[")).as_py(),
        "nul_bytes": pc.sum(pc.match_substring(records["caption"], "\x00")).as_py(),
        "huge_caption": pc.sum(pc.greater(pc.binary_length(records["caption"]), 190_000)).as_py(),
    }
    assert found == {kind: count for kind, count in summary.bad_rows.items() if kind != "duplicate_record_id"}
    assert min(summary.bad_rows.values()) > 0
    assert 0.003 < sum(summary.bad_rows.values()) / summary.records < 0.01


def test_addresses_resolve_in_the_database_as_geoip2_reads_it(summary: DemoSummary, records: pa.Table) -> None:
    addresses = records["uploader_ip"].drop_null().unique()
    signal = locate_address(addresses, NetworkDatabase.open(summary.folder / "geoip.mmdb"))
    reasons = Counter(NullReason(reason).name for reason in signal.reason)
    assert set(reasons) == {"PRESENT", "NOT_PUBLIC", "MALFORMED"}
    assert reasons["PRESENT"] > 10 * reasons["NOT_PUBLIC"] > 0
    assert set(np.unique(signal.level)) == set(range(5))
    with geoip2.database.Reader(summary.folder / "geoip.mmdb") as reader:
        for address, value in zip(addresses.to_pylist(), signal.value, strict=True):
            if value >= 0:
                assert reader.city(address).country.iso_code == COUNTRIES[value]
    assert any(":" in address for address in addresses.to_pylist())


def test_the_job_file_is_one_that_lethe_runs(summary: DemoSummary) -> None:
    job = load_job(summary.folder / "job.toml")
    assert job.job.jurisdictions == ("uk", "fr", "it")
    assert {name: (store.holds, store.key) for name, store in job.stores.items()} == {
        "faces": ("vectors", "face_id"),
        "hashes": ("hashes", "face_id"),
        "records": ("records", "face_id"),
    }
    assert job.truth is not None
    assert job.signals.geoip is not None
    paths = [job.records.path, job.signals.geoip, job.truth.path, *(store.path for store in job.store)]
    assert all(job.path(path).exists() for path in paths)


def test_one_account_is_in_one_country_a_month() -> None:
    world = World()
    people = draw_people(world, np.random.default_rng(1), 0, 4000)
    episodes = draw_episodes(world, np.random.default_rng(2), people, 4000)
    places: dict[tuple[int, int], set[int]] = {}
    for account, month, place in zip(episodes.account, episodes.month, episodes.place, strict=True):
        if account != NOTHING:
            places.setdefault((account, month), set()).add(place)
    assert max(len(found) for found in places.values()) == 1
    assert max(Counter(episodes.account[episodes.account < NOTHING]).values()) > 20


@pytest.mark.parametrize("away", [0.08, 0.3])
def test_a_world_is_drawn_as_its_parameters_say(away: float) -> None:
    world = dataclasses.replace(World(), away=away, coordinates_right=1.0)
    people = draw_people(world, np.random.default_rng(5), 0, 30_000)
    episodes = draw_episodes(world, np.random.default_rng(6), people, 30_000)
    home = people.home[episodes.person]
    # An away place may happen to be the home country.
    stays = (1 - away) + away * world.visit_shares[people.home].mean()
    assert (episodes.place == home).mean() == pytest.approx(stays, abs=0.01)
    np.testing.assert_allclose(np.bincount(people.home) / 30_000, world.home_shares, atol=0.01)
    fixed = episodes.coordinates != NOTHING
    assert (episodes.coordinates == episodes.place)[fixed].all()
    assert fixed[~people.dark[episodes.person]].mean() == pytest.approx(world.coordinates, abs=0.01)
    assert (episodes.address[people.dark[episodes.person]] == NOTHING).all()
    counts = np.bincount(episodes.person)
    assert (counts.min(), counts.mean()) == (1, pytest.approx(world.episodes, abs=0.1))


def test_the_evidence_is_as_patchy_as_the_world_is(records: pa.Table) -> None:
    share = {name: 1 - records[name].null_count / len(records) for name in records.column_names}
    assert 0.1 < share["latitude"] < 0.2
    assert 0.35 < share["uploader_ip"] < 0.6
    assert 0.6 < share["caption"] < 0.9
    assert share["subject_id"] < 1
    assert share["uploader_id"] < 1
    length = pc.mean(pc.utf8_length(records["caption"].filter(pc.less(pc.binary_length(records["caption"]), 1000))))
    assert 50 < length.as_py() < 90


def test_every_language_of_the_world_has_phrases_that_fit_together() -> None:
    assert len(PHRASES) >= 20
    assert set(PHRASES) <= set(LANGUAGES)
    assert set(World().languages) <= set(PHRASES)
    for phrases in PHRASES.values():
        assert len(phrases.openings) * len(phrases.clauses) * len(phrases.closings) >= 400
        assert all(text == text.strip() for text in (*phrases.openings, *phrases.clauses))


def test_phone_numbers_are_valid_numbers_of_their_country() -> None:
    world = World()
    country = np.repeat(np.arange(len(world.countries)), 20)
    for code, text in zip(country, phones(world, np.random.default_rng(4), country).to_pylist(), strict=True):
        region = world.countries[code].code
        matches = list(phonenumbers.PhoneNumberMatcher(text, region))
        assert [phonenumbers.region_code_for_number(match.number) for match in matches] == [region]
