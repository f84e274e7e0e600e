"""`lethe evaluate`: figures that can be worked out by hand from scores and truth, and truth files that are refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines.score
from runners import stages
from runners.demo import write_demo
from runners.stages import Session
from schemas.errors import InputError
from schemas.job import load_job
from schemas.jurisdictions import find_jurisdiction
from tests.jobs import lethe, read_scores, write_job, write_records

Figures = dict[str, Any]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo with its scores and manifests, in several shards."""
    folder = tmp_path_factory.mktemp("demo") / "job"
    write_demo(folder, subjects=500, seed=7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipelines.score, "rows_at_once", lambda _: 800)
        stages.plan(open_session(folder))
    assert len(list((folder / "out" / "scores").iterdir())) > 2
    return folder


@pytest.fixture
def job(scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it."""
    monkeypatch.setattr(pipelines.score, "rows_at_once", lambda _: 800)
    return Path(shutil.copytree(scored, tmp_path / "job"))


def open_session(folder: Path) -> Session:
    return Session.start(load_job(folder), [])


def evaluate(folder: Path, truth: Path | None = None) -> Figures:
    stages.evaluate(open_session(folder), truth or folder / "truth.parquet")
    return dict(json.loads((folder / "out" / "evaluation.json").read_bytes()))


def write_truth(folder: Path, subjects: list[Any], countries: list[Any]) -> Path:
    file = folder / "other.parquet"
    pq.write_table(pa.table({"subject_id": subjects, "country": countries}), file)
    return file


def read_truth(folder: Path) -> dict[str, str]:
    table = pq.read_table(folder / "truth.parquet")
    return dict(zip(*(table.column(name).to_pylist() for name in ("subject_id", "country")), strict=True))


@pytest.mark.parametrize("name", ["uk", "fr", "it"])
@pytest.mark.parametrize("kind", ["all", "rich", "poor", "none"])
def test_every_figure_is_the_one_that_follows_from_scores_and_truth(job: Path, name: str, kind: str) -> None:
    found = evaluate(job)["jurisdictions"][name]["evidence"][kind]
    truth, territory = read_truth(job), find_jurisdiction(name).territory
    rows = [row for (_, one), row in read_scores(job / "out").items() if one == name]
    rows = [row for row in rows if kind in ("all", row["evidence_class"])]
    resident = np.array([truth[row["subject_id"]] in territory for row in rows])
    chance, score = (np.array([row[each] for row in rows]) for each in ("probability", "score_mb"))
    tier = np.array([row["tier"] for row in rows])
    assert (found["subjects"], found["residents"]) == (len(rows), resident.sum())
    assert found["brier"] == pytest.approx(((chance - resident) ** 2).mean(), abs=1e-6)
    order = np.sign(score[resident][:, None] - score[~resident][None, :])
    assert found["auc"] == pytest.approx((order.mean() + 1) / 2, abs=1e-6)
    assert sum(each["subjects"] for each in found["reliability"]) == len(rows)
    assert sum(each["residents"] for each in found["reliability"]) == resident.sum()
    gaps = [each["subjects"] * abs(each["probability"] - each["share"]["value"]) for each in found["reliability"]]
    assert found["ece"] == pytest.approx(sum(gaps) / len(rows), abs=1e-5)
    for rule, flagged in (("erase", tier == "erase"), ("flag", (tier == "erase") | (tier == "review"))):
        right, each = int((flagged & resident).sum()), found["rules"][rule]
        assert (each["flagged"], each["correct"]) == (flagged.sum(), right)
        assert each["recall"]["value"] == pytest.approx(right / resident.sum(), abs=1e-6)
        assert each["recall"]["low"] <= each["recall"]["value"] <= each["recall"]["high"]
        assert each["precision"]["value"] == (pytest.approx(right / flagged.sum(), abs=1e-6) if flagged.any() else None)
    wrong, missed = found["errors"]["wrongly_erased"], found["errors"]["missed"]
    assert wrong["actual"] == (~resident & (tier == "erase")).sum()
    assert wrong["expected"] == pytest.approx((1 - chance[tier == "erase"]).sum(), abs=1e-6)
    assert missed["actual"] == (resident & (tier == "keep")).sum()
    assert sum(each["subjects"] for each in found["errors"].values()) == len(rows)


def test_filters_judge_by_the_evidence_of_the_bars_and_lethe_is_compared_at_their_recall(job: Path) -> None:
    found = evaluate(job)["jurisdictions"]["it"]["evidence"]["all"]
    truth = read_truth(job)
    rows = {subject: row["bars"] for (subject, name), row in read_scores(job / "out").items() if name == "it"}
    flagged = {
        subject
        for subject, bars in rows.items()
        if any(bar["family"] == "network" and "IT x" in bar["evidence"] for bar in bars)
    }
    ip = found["rules"]["ip"]
    assert (ip["flagged"], ip["correct"]) == (len(flagged), sum(truth[subject] == "IT" for subject in flagged))
    assert ip["flagged"] > ip["at_equal_recall"]["flagged"] >= ip["correct"] > 0
    assert found["rules"]["any"]["flagged"] >= max(ip["flagged"], found["rules"]["domain"]["flagged"])


def test_the_confusion_counts_everybody_once_and_starts_at_home(job: Path) -> None:
    found = evaluate(job)["jurisdictions"]["fr"]
    rows, whole = found["confusion"], found["evidence"]["all"]
    territory = find_jurisdiction("fr").territory
    assert sum(row["subjects"] for row in rows) == whole["subjects"]
    for rule, each in whole["rules"].items():
        assert sum(row[rule] for row in rows) == each["flagged"]
        assert sum(row[rule] for row in rows if row["country"] in territory) == each["correct"]
    assert [row["resident"] for row in rows] == sorted((row["country"] in territory for row in rows), reverse=True)


def test_subjects_that_only_one_side_knows_are_counted(job: Path) -> None:
    truth = read_truth(job)
    subjects = sorted({subject for subject, _ in read_scores(job / "out")})
    chosen = subjects[::2]
    file = write_truth(job, [*chosen, "stranger", "record:x"], [*(truth[subject] for subject in chosen), "FR", "BE"])
    found = evaluate(job, file)["truth"]
    counts = {"named": len(chosen) + 2, "scored": len(chosen), "never_scored": 2}
    assert {**counts, "unknown": len(subjects) - len(chosen)}.items() <= found.items()
    noted = open_session(job).state.finished("evaluation")
    assert noted and noted["unknown"] == len(subjects) - len(chosen)


def test_neither_the_order_nor_the_type_of_the_truth_changes_a_figure(job: Path) -> None:
    first = evaluate(job)
    truth = pq.read_table(job / "truth.parquet")
    shuffled = truth.take(np.random.default_rng(1).permutation(len(truth)))
    columns = [shuffled.column("country").dictionary_encode(), shuffled.column("subject_id").cast(pa.large_binary())]
    pq.write_table(pa.table(columns, ["country", "subject_id"]), job / "other.parquet", row_group_size=37)
    again = evaluate(job, job / "other.parquet")
    assert first.pop("truth")["scored"] == again.pop("truth")["scored"]
    assert again == first


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"subject_id": ["a", "b"], "country": ["FR", "UK"]}, r"'UK' \(did you mean 'GB'\?\)"),
        ({"subject_id": ["a", "b"], "country": ["FR", "gr"]}, r"from row 2 on: 'gr' \(did you mean 'GR'\?\)"),
        ({"subject_id": ["a"], "country": ["Italy"]}, "not ISO 3166 alpha-2 codes in capitals, from row 1 on: 'Italy'"),
        ({"subject_id": list("abcdefg"), "country": list("1234567")}, "and 2 more"),
        ({"subject_id": ["a", "b", "c", "a"], "country": ["FR", "FR", "BE", "FR"]}, "rows 1 and 4"),
        ({"subject": ["a"], "country": ["FR"]}, "'subject_id' is missing; did you mean 'subject'"),
        ({"subject_id": ["a"], "land": ["FR"]}, "'country' is missing"),
        ({"subject_id": ["a", None], "country": ["FR", "FR"]}, "row 2 has no subject_id"),
        ({"subject_id": ["a", "b"], "country": ["FR", ""]}, "row 2 has no country"),
        ({"subject_id": ["a"], "country": [1.5]}, "has type double; it must be text"),
        ({"subject_id": ["stranger"], "country": ["FR"]}, "none of the 1 subjects"),
        ({"subject_id": pa.array([], pa.string()), "country": pa.array([], pa.string())}, "none of the 0 subjects"),
        ({"subject_id": ["a"], "country": pa.array([b"\xff\x00" * 99], pa.binary())}, "not ISO 3166"),
    ],
)
def test_a_truth_that_cannot_be_used_is_refused(job: Path, columns: dict[str, Any], message: str) -> None:
    pq.write_table(pa.table(columns), job / "other.parquet")
    before = (job / "out" / "run.json").read_bytes()
    with pytest.raises(InputError, match=message):
        evaluate(job, job / "other.parquet")
    assert (job / "out" / "run.json").read_bytes() == before
    assert not (job / "out" / "evaluation.json").exists()
    assert not list((job / "out").rglob("truth")), "no copy of where people live is left"


def test_a_file_that_is_not_there_or_not_parquet_is_refused(job: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        evaluate(job, job / "none.parquet")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        evaluate(job, job / "job.toml")


def test_what_is_not_scored_or_scored_otherwise_is_not_evaluated(job: Path, tmp_path: Path) -> None:
    write_records(tmp_path / "new" / "records" / "a.parquet", {"subject_id": ["s"]})
    write_job(tmp_path / "new")
    with pytest.raises(InputError, match="nothing is scored yet"):
        evaluate(tmp_path / "new", job / "truth.parquet")
    text = (job / "job.toml").read_text()
    (job / "job.toml").write_text(text.replace("erase_at = 0.95", "erase_at = 0.9"))
    with pytest.raises(InputError, match="the job file has changed"):
        evaluate(job)


def test_the_page_is_written_anew_and_another_run_forgets_the_evaluation(job: Path) -> None:
    evaluate(job)
    page = job / "out" / "report.html"
    assert "Measured against known residence" in page.read_text(encoding="utf-8")
    (job / "job.toml").write_text((job / "job.toml").read_text().replace("erase_at = 0.95", "erase_at = 0.9"))
    stages.score(open_session(job))
    assert not page.exists() and not (job / "out" / "evaluation.json").exists()
    assert open_session(job).state.finished("evaluation") is None


def test_a_run_of_a_job_that_names_the_truth_is_evaluated_once(job: Path, capsys: Capture) -> None:
    summary = lethe(capsys, "run", job)
    assert summary["evaluation"]["scored"] > 400
    assert lethe(capsys, "run", job)["evaluation"] == summary["evaluation"]
    truth = read_truth(job)
    evaluate(job, write_truth(job, list(truth)[:50], list(truth.values())[:50]))
    assert lethe(capsys, "report", job)["evaluation"]["named"] == 50, "an evaluation asked for is not replaced"


def test_ids_of_strangers_are_compared_as_they_are(tmp_path: Path) -> None:
    names = ["a\x00b", "\u202eé", "x" * 200_000, "𝒳"]
    columns = {"subject_id": names, "latitude": [48.85] * 4, "longitude": [2.35] * 4}
    write_records(tmp_path / "records" / "a.parquet", columns)
    write_job(tmp_path)
    stages.score(open_session(tmp_path))
    found = evaluate(tmp_path, write_truth(tmp_path, [*names, "a"], ["FR", "BE", "FR", "FR", "FR"]))
    assert found["truth"]["scored"] == 4
    assert found["jurisdictions"]["fr"]["evidence"]["all"]["residents"] == 3
