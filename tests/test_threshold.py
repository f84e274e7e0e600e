"""The review threshold from labelled residents: what is promised, how many labels it takes, what it does not cover."""

import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runners.audit import draw_sample
from runners.audit_plan import AuditOptions
from runners.demo import write_demo
from runners.stages import Session, plan, score
from runners.threshold import threshold
from schemas.errors import InputError
from schemas.job import load_job
from tests.jobs import read_scores

TERRITORIES = {"uk": {"GB"}, "it": {"IT"}}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("threshold") / "job"
    write_demo(folder, subjects=3000, seed=3)
    score(start(folder))
    return folder


def start(folder: Path) -> Session:
    return Session.start(load_job(folder), [])


def truth(folder: Path) -> dict[str, str]:
    table = pq.read_table(folder / "truth.parquet")
    return dict(zip(table.column("subject_id").to_pylist(), table.column("country").to_pylist(), strict=True))


def label(folder: Path, file: Path, n: int, seed: int = 1) -> Path:
    known = truth(folder)
    subjects = random.Random(seed).sample(sorted(known), n)
    pq.write_table(pa.table({"subject_id": subjects, "country": [known[each] for each in subjects]}), file)
    return file


def certify(folder: Path, labels: Path, recall: float = 0.8, confidence: float = 0.9) -> dict[str, Any]:
    found: dict[str, Any] = threshold(start(folder), labels, recall, confidence)["threshold"]
    return found


def test_the_threshold_is_the_score_of_a_labelled_resident(scored: Path, tmp_path: Path) -> None:
    labels = label(scored, tmp_path / "labels.parquet", 2000)
    found = certify(scored, labels)
    scores, known = read_scores(scored / "out"), truth(scored)
    subjects = pq.read_table(labels).column("subject_id").to_pylist()
    for name, territory in TERRITORIES.items():
        of = found["jurisdictions"][name]
        rows = [
            scores[subject, name] for subject in subjects if known[subject] in territory and (subject, name) in scores
        ]
        ranked = sorted((row["probability"] for row in rows if row["evidence_class"] != "none"), reverse=True)
        assert of["review_at"] == ranked[of["rank"] - 1]
        assert of["residents"] == len(ranked) == of["rank"] + of["misses_allowed"]
        assert of["residents_without_evidence"] == len(rows) - len(ranked) > 0
    lowest = min(of["review_at"] for of in found["jurisdictions"].values())
    assert found["review_at"] == min(lowest, 0.95)


def test_it_flags_what_it_promises(scored: Path, tmp_path: Path) -> None:
    """Of 20 samples of labels, hardly any leads to less recall than was asked for."""
    scores, known = read_scores(scored / "out"), truth(scored)
    residents = [
        row["probability"]
        for (subject, name), row in scores.items()
        if name == "it" and known.get(subject) == "IT" and row["evidence_class"] != "none"
    ]
    kept = 0
    for seed in range(20):
        found = certify(scored, label(scored, tmp_path / "labels.parquet", 1500, seed))["jurisdictions"]["it"]
        flagged = sum(chance >= found["review_at"] for chance in residents) / len(residents)
        kept += flagged >= 0.8
    assert kept >= 16


def test_what_it_prints_goes_into_the_job_file(scored: Path, tmp_path: Path) -> None:
    found = certify(scored, label(scored, tmp_path / "labels.parquet", 2000))
    job = tmp_path / "job.toml"
    job.write_text(f'[records]\npath = "records/"\n[policy]\n{found["policy"]}\n')
    assert load_job(job).policy.review_at == found["review_at"]


def test_too_few_labels_say_how_many_more(scored: Path, tmp_path: Path) -> None:
    found = certify(scored, label(scored, tmp_path / "labels.parquet", 600), recall=0.95, confidence=0.95)
    assert found["review_at"] is None and found["policy"] is None
    for of in found["jurisdictions"].values():
        assert of["review_at"] is None
        assert of["more_residents"] == 59 - of["residents"] > 0
        assert of["more_labels"] > of["more_residents"]
        assert f"{of['more_residents']} more are needed" in of["reason"]


def test_no_resident_among_the_labels(scored: Path, tmp_path: Path) -> None:
    known = truth(scored)
    abroad = [subject for subject, country in known.items() if country == "US"][:50]
    file = tmp_path / "labels.parquet"
    pq.write_table(pa.table({"subject_id": abroad, "country": ["US"] * len(abroad)}), file)
    of = certify(scored, file, 0.95, 0.95)["jurisdictions"]["fr"]
    assert (of["review_at"], of["more_residents"], of["more_labels"]) == (None, 59, None)


def test_doubt_and_disagreement_are_left_out_and_counted(scored: Path, tmp_path: Path) -> None:
    known = truth(scored)
    subjects = random.Random(4).sample(sorted(known), 1000)
    ann = [None if place % 10 == 0 else known[subject] for place, subject in enumerate(subjects)]
    bob = ["IT" if place % 10 == 1 else known[subject] for place, subject in enumerate(subjects)]
    both = {"subject_id": subjects * 2, "country": ann + bob, "annotator": ["ann"] * 1000 + ["bob"] * 1000}
    file = tmp_path / "labels.parquet"
    pq.write_table(pa.table(both), file)
    of = certify(scored, file)["jurisdictions"]["it"]
    assert of["cannot_tell"] > 150
    assert of["residents"] + of["residents_without_evidence"] + of["elsewhere"] + of["cannot_tell"] in (999, 1000)


def test_labels_of_nobody_and_a_job_that_is_not_scored(scored: Path, tmp_path: Path) -> None:
    file = tmp_path / "labels.parquet"
    pq.write_table(pa.table({"subject_id": ["nobody"], "country": ["IT"]}), file)
    with pytest.raises(InputError, match="none of the labelled subjects was scored"):
        certify(scored, file)
    with pytest.raises(InputError, match="the recall is 95"):
        certify(scored, file, recall=95)
    folder = Path(shutil.copytree(scored, tmp_path / "changed"))
    (folder / "job.toml").write_text((folder / "job.toml").read_text().replace("erase_at = 0.95", "erase_at = 0.9"))
    with pytest.raises(InputError, match="has not been scored"):
        certify(folder, file)


def test_a_subject_that_was_not_scored_is_counted(scored: Path, tmp_path: Path) -> None:
    file = label(scored, tmp_path / "labels.parquet", 100)
    table = pq.read_table(file)
    pq.write_table(pa.concat_tables([table, pa.table({"subject_id": ["nobody"], "country": ["IT"]})]), file)
    found = certify(scored, file)
    assert (found["labelled"], found["not_scored"]) == (101, 1)


def test_labels_of_the_audit_are_refused(scored: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(scored, tmp_path / "audited"))
    plan(start(folder))
    draw_sample(start(folder), AuditOptions(n=1500, seed=1, target_recall=0.4))
    sample = pq.read_table(folder / "out" / "audit" / "sample.parquet").column("subject_id").to_pylist()
    file = tmp_path / "labels.parquet"
    pq.write_table(pa.table({"subject_id": sample, "country": ["IT"] * len(sample)}), file)
    with pytest.raises(InputError, match="needs labels of a uniform random sample"):
        certify(folder, file)
