"""The audit as an auditor does it: a plan, a blind draw, labels, a verdict, and every way to cheat refused."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy import stats

from pipelines.audit import Draw
from runners.audit import draw_sample, judge_audit
from runners.audit_plan import AuditOptions
from runners.demo import write_demo
from runners.stages import Session, plan, score
from schemas.audits import GROUP_OF_TIER, KEY, SAMPLE
from schemas.errors import InputError, ManifestError
from schemas.files import digest_file
from schemas.job import load_job
from tests.jobs import digests, read_scores, write_records

OPTIONS = AuditOptions(n=1200, seed=11, target_recall=0.5)
OUTPUTS = ("plan.json", "sample.parquet", "key.parquet", "seal.json")


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo with its manifests."""
    folder = tmp_path_factory.mktemp("audit") / "job"
    write_demo(folder, subjects=2000, seed=7)
    plan(start(folder))
    return folder


@pytest.fixture
def demo(planned: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(planned, tmp_path / "demo"))


@pytest.fixture
def audited(demo: Path) -> Path:
    """The same with a sample drawn."""
    draw_sample(start(demo), OPTIONS)
    return demo


def start(folder: Path) -> Session:
    return Session.start(load_job(folder), [])


def truth(folder: Path) -> dict[str, str]:
    table = pq.read_table(folder / "truth.parquet")
    return dict(zip(table.column("subject_id").to_pylist(), table.column("country").to_pylist(), strict=True))


def sampled(folder: Path) -> list[str]:
    subjects: list[str] = pq.read_table(folder / "out" / "audit" / "sample.parquet").column("subject_id").to_pylist()
    return subjects


def write_labels(folder: Path, country: Callable[[str], str | None], subjects: list[str] | None = None) -> Path:
    subjects = sampled(folder) if subjects is None else subjects
    file = folder / "labels.parquet"
    codes = pa.array([country(subject) for subject in subjects], pa.string())
    pq.write_table(pa.table({"subject_id": subjects, "country": codes}), file)
    return file


def judge(folder: Path, country: Callable[[str], str | None] | None = None) -> dict[str, Any]:
    labels = write_labels(folder, country or truth(folder).__getitem__)
    result: dict[str, Any] = judge_audit(start(folder), labels)["audit"]
    assert result == json.loads((folder / "out" / "audit" / "audit.json").read_text())
    return result


def test_the_sample_is_blind(audited: Path) -> None:
    sample = pq.read_table(audited / "out" / "audit" / "sample.parquet")
    assert sample.schema.equals(SAMPLE, check_metadata=True)
    assert sample.column_names == ["subject_id", "record_ids", "face_ids"]
    key = pq.read_table(audited / "out" / "audit" / "key.parquet")
    assert key.schema.equals(KEY, check_metadata=True)
    assert set(key.column("subject_id").to_pylist()) == set(sampled(audited))
    assert set(key.column("tier").to_pylist()) == set(GROUP_OF_TIER)
    # Nor does the order tell anything: those to be erased are spread over all of it.
    erased = set(key.filter(pc.equal(key.column("tier"), "erase")).column("subject_id").to_pylist())
    places = [place / len(sample) for place, subject in enumerate(sampled(audited)) if subject in erased]
    assert stats.kstest(places, "uniform").pvalue > 0.001


def test_the_sample_names_every_record_of_its_subjects(audited: Path) -> None:
    (placements,) = (audited / "out" / "work").glob("*/placements")
    known: dict[str, list[tuple[str, str]]] = {}
    for row in pq.read_table(placements).to_pylist():
        known.setdefault(row["subject_id"], []).append((row["record_id"], row["face_id"]))
    for row in pq.read_table(audited / "out" / "audit" / "sample.parquet").to_pylist():
        assert list(zip(row["record_ids"], row["face_ids"], strict=True)) == known[row["subject_id"]]


def test_the_draw_is_what_the_plan_says(audited: Path) -> None:
    registered = json.loads((audited / "out" / "audit" / "plan.json").read_text())
    scores = read_scores(audited / "out")
    key = pq.read_table(audited / "out" / "audit" / "key.parquet").to_pylist()
    assert len({(row["subject_id"], row["jurisdiction"]) for row in key}) == len(key)
    for row in key:
        assert {name: scores[row["subject_id"], row["jurisdiction"]][name] for name in KEY.names} == row
    for name, of in registered["jurisdictions"].items():
        mine = [row for row in key if row["jurisdiction"] == name]
        assert len(mine) == sum(of["drawn"].values()) == 1200
        for group, drawn in of["drawn"].items():
            assert sum(GROUP_OF_TIER[row["tier"]] == group for row in mine) == drawn > 0
        assert sum(stratum["population"] for stratum in of["strata"]) == registered["subjects"]
        for stratum in of["strata"]:
            chances = [
                each["probability"]
                for (_, jurisdiction), each in scores.items()
                if (jurisdiction, each["tier"], each["evidence_class"])
                == (name, stratum["tier"], stratum["evidence_class"])
            ]
            assert (stratum["population"], stratum["expected"]) == (len(chances), pytest.approx(sum(chances), abs=1e-5))


def test_one_label_serves_several_jurisdictions(audited: Path) -> None:
    """The same hash for all of them: far fewer to label than three samples would need."""
    assert 1200 <= len(sampled(audited)) < 2 * 1200


def test_the_same_options_draw_the_same_and_others_draw_others(demo: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(demo, tmp_path / "copy"))
    first, again = draw_sample(start(demo), OPTIONS), draw_sample(start(demo), OPTIONS)
    assert first == again
    draw_sample(start(copy), OPTIONS)
    assert digests(copy / "out" / "audit") == digests(demo / "out" / "audit")
    shutil.rmtree(copy / "out" / "audit")
    draw_sample(start(copy), dataclasses.replace(OPTIONS, seed=12))
    assert set(sampled(copy)) != set(sampled(demo))


def test_another_audit_does_not_replace_the_registered_one(audited: Path) -> None:
    before = digests(audited / "out" / "audit")
    with pytest.raises(InputError, match="repeated until it passes proves nothing"):
        draw_sample(start(audited), dataclasses.replace(OPTIONS, seed=12))
    assert digests(audited / "out" / "audit") == before


def test_a_plan_can_be_looked_at_before_it_is_registered(demo: Path) -> None:
    shown = draw_sample(start(demo), OPTIONS, register=False)["audit"]
    assert not (demo / "out" / "audit").exists()
    assert draw_sample(start(demo), OPTIONS)["audit"]["plan"] == shown["plan"]


def test_every_subject_has_the_same_chance() -> None:
    """Over 2,000 keys, everybody of a population of 40 is among the 10 smallest hashes equally often."""
    subjects = pa.array([f"subject-{i}" for i in range(40)], pa.large_string())
    draws = [Draw(key, {}, {}).hashes(subjects).argsort()[:10] for key in range(2000)]
    drawn = np.bincount(np.concatenate(draws), minlength=40)
    assert stats.chisquare(drawn).pvalue > 0.001


def test_a_shard_hands_on_a_handful_and_never_too_few() -> None:
    subjects = pa.array([f"subject-{i}" for i in range(200_000)], pa.large_string())
    for key in range(20):
        draw = Draw(key, {"uk": {"missed": 100}}, {"uk": {"missed": 200_000}})
        near = int((draw.hashes(subjects) <= np.uint64(draw.limit("uk", "missed"))).sum())
        assert 100 <= near < 500
    assert Draw(1, {"uk": {"missed": 90}}, {"uk": {"missed": 100}}).limit("uk", "missed") == 2**64 - 1


def test_labels_that_are_the_truth_pass(audited: Path) -> None:
    result = judge(audited)
    assert result["verdict"] == "pass"
    for of in result["jurisdictions"].values():
        assert of["verdict"] == "pass"
        assert 0.5 <= of["recall_least"] <= of["recall"] <= of["recall_most"]
        assert of["precision_least"] > 0.8
        assert of["unknown"] == {"cannot_tell": 0, "disagree": 0, "unlabelled": 0}
    italy = result["jurisdictions"]["it"]
    assert italy["recall_least"] <= true_recall(audited, "it", "IT") <= italy["recall_most"]


def true_recall(folder: Path, jurisdiction: str, country: str) -> float:
    """The share of residents that are erased or reviewed."""
    known = truth(folder)
    tiers = [
        row["tier"]
        for (subject, name), row in read_scores(folder / "out").items()
        if name == jurisdiction and known[subject] == country
    ]
    return sum(tier in ("erase", "review") for tier in tiers) / len(tiers)


def test_scores_that_miss_residents_fail(demo: Path) -> None:
    """Everybody in Italy who is to be erased, or nearly, is kept instead, before the manifests are written."""
    session = start(demo)
    score(session)
    for file in (demo / "out" / "scores").glob("*.parquet"):
        scores = pq.read_table(file)
        likely = pc.greater(scores.column("probability"), 0.5)
        hidden = pc.and_(pc.equal(scores.column("jurisdiction"), "it"), likely)
        tier = pc.if_else(hidden, "keep", scores.column("tier"))
        pq.write_table(scores.set_column(3, scores.schema.field("tier"), tier), file)
    plan(start(demo), anew=True)
    draw_sample(start(demo), OPTIONS)
    result = judge(demo)
    assert (result["verdict"], result["jurisdictions"]["it"]["verdict"]) == ("fail", "fail")
    assert "recall is at most" in result["jurisdictions"]["it"]["reason"]
    assert result["jurisdictions"]["fr"]["verdict"] == "pass"
    kept = [row for row in result["jurisdictions"]["it"]["strata"] if row["tier"] == "keep"]
    assert any(row["unlikely"] == 0 or row["residents"] > row["drawn"] / 50 for row in kept)


def test_a_precision_that_is_not_reached_fails(demo: Path) -> None:
    draw_sample(start(demo), dataclasses.replace(OPTIONS, target_precision=0.9))
    known = truth(demo)
    wrong = judge(
        demo, lambda subject: "DE" if known[subject] in ("FR", "RE", "GP") and hash_half(subject) else known[subject]
    )
    assert wrong["jurisdictions"]["fr"]["verdict"] == "fail"
    assert "precision is between" in wrong["jurisdictions"]["fr"]["reason"]
    assert judge(demo)["jurisdictions"]["it"]["verdict"] == "pass"


def hash_half(subject: str) -> bool:
    return sum(subject.encode()) % 2 == 0


def test_what_nobody_can_tell_counts_against_the_audit(audited: Path) -> None:
    known = truth(audited)
    result = judge(audited, lambda subject: None if sum(subject.encode()) % 9 == 0 else known[subject])
    assert result["verdict"] == "inconclusive"
    italy = result["jurisdictions"]["it"]
    assert italy["unknown"]["cannot_tell"] > 50
    assert "who count against the audit" in italy["reason"]


def test_labels_that_are_missing_count_like_doubt(audited: Path) -> None:
    known = truth(audited)
    doubted = judge(audited, lambda subject: None if hash_half(subject) else known[subject])
    labelled = [subject for subject in sampled(audited) if not hash_half(subject)]
    left_out = judge_audit(start(audited), write_labels(audited, known.__getitem__, labelled))["audit"]
    for name, of in left_out["jurisdictions"].items():
        assert of["unknown"]["unlabelled"] == doubted["jurisdictions"][name]["unknown"]["cannot_tell"] > 0
        assert of["recall_least"] == doubted["jurisdictions"][name]["recall_least"]


def test_too_small_a_sample_says_how_many_more(demo: Path) -> None:
    """The target lies below the truth, too near to it for so few labels."""
    target = round(true_recall(demo, "it", "IT") - 0.04, 3)
    draw_sample(start(demo), dataclasses.replace(OPTIONS, n=900, target_recall=target))
    italy = judge(demo)["jurisdictions"]["it"]
    assert italy["verdict"] == "inconclusive"
    assert italy["recall_least"] < target < italy["recall_most"]
    if italy["labels_needed"] is None:
        assert "however many" in italy["reason"] and italy["recall"] < target
    else:
        assert f"about {italy['labels_needed'] - 900} more labels" in italy["reason"]


def test_an_audit_that_could_never_pass_is_not_begun(demo: Path) -> None:
    with pytest.raises(InputError, match="at least 1?[0-9]+ are needed"):
        draw_sample(start(demo), dataclasses.replace(OPTIONS, n=100, target_recall=0.95))
    assert not (demo / "out" / "audit").exists()


def test_two_annotators(audited: Path) -> None:
    known = truth(audited)
    subjects = sampled(audited)
    first = [known[subject] for subject in subjects]
    second = ["US" if place % 40 == 0 else country for place, country in enumerate(first)]
    both = {
        "subject_id": subjects * 2,
        "country": first + second,
        "annotator": ["ann"] * len(first) + ["bob"] * len(first),
    }
    file = audited / "labels.parquet"
    pq.write_table(pa.table(both), file)
    result = judge_audit(start(audited), file)["audit"]
    differ = sum(one != other for one, other in zip(first, second, strict=True))
    assert result["annotators"] == 2
    assert result["agreement"]["subjects"] == len(subjects)
    assert result["agreement"]["agreement"] == pytest.approx(1 - differ / len(subjects))
    assert 0.9 < result["agreement"]["kappa"] < 1
    agreed = judge(audited)
    assert agreed["agreement"] is None
    for name, of in result["jurisdictions"].items():
        assert of["unknown"]["disagree"] > 0
        assert of["recall_least"] < agreed["jurisdictions"][name]["recall_least"]


def test_labels_of_another_sample_are_refused(audited: Path) -> None:
    labels = write_labels(audited, lambda _: "FR", ["somebody-else"])
    with pytest.raises(InputError, match="1 labels are of subjects that are not in the sample"):
        judge_audit(start(audited), labels)
    with pytest.raises(InputError, match="there are no labels"):
        judge_audit(start(audited), write_labels(audited, lambda _: "FR", []))


@pytest.mark.parametrize("name", OUTPUTS)
def test_one_changed_byte_refuses_the_audit(audited: Path, name: str) -> None:
    labels = write_labels(audited, lambda _: "FR")
    file = audited / "out" / "audit" / name
    whole = file.read_bytes()
    for at in (len(whole) // 3, len(whole) - 2):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(ManifestError):
            judge_audit(start(audited), labels)
    file.unlink()
    with pytest.raises(ManifestError):
        judge_audit(start(audited), labels)
    assert not (audited / "out" / "audit" / "audit.json").exists()


def test_a_sample_that_is_sealed_again_is_not_the_one_written_down(audited: Path) -> None:
    """Whoever may write the folder may write `run.json` too: only what the auditor kept elsewhere cannot be forged."""
    folder = audited / "out" / "audit"
    noted = digest_file(folder / "seal.json")
    key = pq.read_table(folder / "key.parquet")
    pq.write_table(key.slice(1), folder / "key.parquet")
    seal = json.loads((folder / "seal.json").read_text())
    (folder / "seal.json").write_text(json.dumps({**seal, "key": digest_file(folder / "key.parquet")}))
    session = start(audited)
    session.state.record(audit={"seal": digest_file(folder / "seal.json")})
    with pytest.raises(ManifestError, match="and not sha256"):
        judge_audit(start(audited), write_labels(audited, lambda _: "FR"), noted)


def test_a_manifest_that_changed_refuses_the_audit(audited: Path) -> None:
    labels = write_labels(audited, lambda _: "FR")
    file = audited / "out" / "manifests" / "fr" / "manifest.json"
    file.write_text(file.read_text().replace('"kept"', '"kept" '))
    with pytest.raises(ManifestError, match="fr: manifest.json has changed"):
        judge_audit(start(audited), labels)


def test_scores_that_changed_refuse_the_audit(audited: Path) -> None:
    labels = write_labels(audited, lambda _: "FR")
    file = audited / "out" / "scores" / "part-00000.parquet"
    pq.write_table(pq.read_table(file), file, compression="none")
    with pytest.raises(ManifestError, match="the scores have changed"):
        judge_audit(start(audited), labels)
    file.unlink()
    with pytest.raises(ManifestError, match="the scores have changed"):
        judge_audit(start(audited), labels)


def test_a_policy_model_or_input_that_changed_refuses_the_audit(audited: Path) -> None:
    labels = write_labels(audited, lambda _: "FR")
    job = audited / "job.toml"
    text = job.read_text()
    job.write_text(text.replace("review_at = 0.05", "review_at = 0.5"))
    with pytest.raises(ManifestError, match="the job file has changed"):
        judge_audit(start(audited), labels)
    plan(start(audited))
    with pytest.raises(ManifestError, match="seal.json is not the one"):
        judge_audit(start(audited), labels)
    job.write_text(text)
    plan(start(audited))
    write_records(audited / "records" / "late.parquet", {"subject_id": ["late"]})
    with pytest.raises(ManifestError):
        judge_audit(start(audited), labels)


def test_nothing_is_drawn_without_manifests(tmp_path: Path) -> None:
    write_demo(tmp_path / "new", subjects=20, seed=1)
    with pytest.raises(ManifestError, match="lethe plan"):
        draw_sample(start(tmp_path / "new"), OPTIONS)
    with pytest.raises(ManifestError, match="lethe audit sample"):
        judge_audit(start(tmp_path / "new"), tmp_path / "labels.parquet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 3}, "n is 3"),
        ({"seed": -1}, "the seed is -1"),
        ({"target_recall": 1.0}, "the recall is 1.0"),
        ({"confidence": 0.2}, "the confidence is 0.2"),
        ({"target_precision": 95.0}, "the precision is 95.0"),
        ({"sensitivity": 0.0}, "the sensitivity is 0.0"),
    ],
)
def test_options_that_cannot_be_meant(planned: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw_sample(start(planned), dataclasses.replace(OPTIONS, **change))
