import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers.cooccurrence import compare_pairs
from classifiers.em import fit
from classifiers.episodes import find_episodes
from classifiers.estimate import Estimate, estimate_model, split_labels
from classifiers.histories import count_histories
from classifiers.measures import area_under_curve, reliability
from classifiers.model import ResidenceModel, load_model, parse_model
from classifiers.model_file import model_document
from classifiers.residence import score_subjects
from pipelines.estimate import choose_subjects
from runners.demo import write_demo
from runners.demo_world import World
from runners.estimate import estimate
from runners.stages import Session
from schemas.countries import COUNTRIES, NONE
from schemas.errors import InputError
from schemas.evidence import SIGNALS
from schemas.job import load_job
from tests.estimate_world import TERRITORIES, Drawn, draw_from_model, draw_from_world, recast
from tests.jobs import lethe, read_scores, write_job, write_records

SHIPPED = load_model()
BLOCKS = ("prior", "place", "speakers", "own_language", "second_place", "move", "calibration")
SOURCES = dict.fromkeys([*BLOCKS, *(kind.name for kind in SIGNALS)], "test")

OTHER_WORLD = dataclasses.replace(World(), away=0.08, traveller=0.4, episodes=3.2, coordinates=0.3, address=0.6)
"""Not the default: people leave more traces, and travel less."""


def estimated(drawn: Drawn, labelled: float = 0.0) -> Estimate:
    episodes = find_episodes(drawn.evidence, SHIPPED.trust)
    known = np.random.default_rng(160).random(len(drawn.home)) < labelled
    home = np.where(known, drawn.home, NONE).astype(np.int16)
    counted = count_histories(episodes, home, np.ones(len(home), np.bool_))
    return estimate_model(counted, SHIPPED, TERRITORIES, "a test")


class Figures:
    """How good a model is on drawn subjects, jurisdiction by jurisdiction."""

    def __init__(self, drawn: Drawn, model: ResidenceModel) -> None:
        chances, residents, rich = drawn.probabilities(model), drawn.residents, drawn.rich
        columns = list(zip(chances.T, residents.T, strict=True))
        self.auc = [area_under_curve(p, r) for p, r in columns]
        self.calibration = [reliability(p, r).error for p, r in columns]
        self.precision = [r[p >= 0.95].mean() for p, r in columns]
        self.recall_rich = [(p[rich & r] >= 0.05).mean() for p, r in columns]
        self.flagged_rich = [(p[rich] >= 0.05).mean() for p, _ in columns]


@pytest.fixture(scope="module")
def world() -> Drawn:
    return draw_from_world(OTHER_WORLD, 40_000, 3)


@pytest.fixture(scope="module")
def result(world: Drawn) -> Estimate:
    return estimated(world)


def test_the_model_that_ships_is_roughly_calibrated_before_any_estimate(world: Drawn) -> None:
    assert max(Figures(world, SHIPPED).calibration) <= 0.05


def test_an_estimate_without_labels_is_good_in_another_world(world: Drawn, result: Estimate) -> None:
    figures = Figures(world, parse_model(result.document))
    assert min(figures.auc) >= 0.95
    assert max(figures.calibration) <= 0.01
    assert min(figures.precision) >= 0.98
    assert min(figures.recall_rich) >= 0.95
    assert max(figures.flagged_rich) <= 0.08


def test_an_estimate_finds_how_people_move(result: Estimate) -> None:
    found = result.report["parameters"]
    assert found["tau"] == [round(SHIPPED.tau, 5), pytest.approx(OTHER_WORLD.away, abs=0.01)]
    assert found["rho"][1] == pytest.approx(OTHER_WORLD.traveller, abs=0.06)
    assert found["prior"]["fr"][1] == pytest.approx(5.3 / sum(one.share for one in OTHER_WORLD.countries), abs=0.005)
    assert found["second_place"][1] < 0.02  # nobody in a demo has one
    assert found["hit"]["gps"]["coordinates"][1] == pytest.approx(OTHER_WORLD.coordinates_right, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("away", "precision"), [(0.16, 0.975), (0.3, 0.965)])
def test_worlds_in_which_people_move_more(away: float, precision: float) -> None:
    drawn = draw_from_world(dataclasses.replace(OTHER_WORLD, away=away), 40_000, 3)
    figures = Figures(drawn, parse_model(estimated(drawn).document))
    assert min(figures.auc) >= 0.95
    assert max(figures.calibration) <= 0.01
    assert min(figures.precision) >= precision
    assert min(figures.recall_rich) >= 0.88
    assert max(figures.flagged_rich) <= 0.10


def test_the_report_says_what_is_covered_and_what_conflicts(result: Estimate) -> None:
    report = result.report
    assert report["coverage"]["gps"] > 0.2
    assert report["coverage"]["phone"] < report["coverage"]["domain"] < report["coverage"]["language"]
    pairs = {(*pair["signals"], pair["within_episode"]): pair for pair in report["pairs"]}
    assert len(pairs) == 15
    for pair in pairs.values():
        assert 0 <= pair["overlap"] <= 1
        assert 0 <= pair["conflict"] <= 1
    assert pairs["gps", "ip", True]["conflict"] == pytest.approx(pairs["gps", "ip", True]["fitted_conflict"], abs=0.02)
    assert report["model_digest"] == parse_model(result.document).digest
    assert json.loads(json.dumps(report)) == report


def test_an_estimate_finds_that_people_keep_their_language(result: Estimate) -> None:
    before, after = result.report["parameters"]["own_language"]
    assert (before, after) == (SHIPPED.strength, parse_model(result.document).strength)
    assert after <= 10
    assert not any(alarm.startswith("language x language") for alarm in result.report["alarms"])


def test_people_who_keep_their_language_raise_an_alarm_in_a_model_without(world: Drawn) -> None:
    anew = dataclasses.replace(SHIPPED, strength=math.inf)
    data = world.histories(anew)
    pairs = {pair.name: pair.alarming for pair in compare_pairs(data, fit(data, anew).model)}
    assert pairs["language x language, two episodes"]


def test_labels_become_part_of_the_estimate() -> None:
    drawn = draw_from_model(recast(SHIPPED), 3_000, 1)
    found = estimated(drawn, 0.3)
    assert found.report["labels"] == pytest.approx(900, abs=100)
    assert found.report["calibration"]["slope"] == pytest.approx(1, abs=0.2)
    assert ("calibration" in found.document) == found.report["calibration"]["applied"]


def test_labels_calibrate_where_evidence_counts_too_much() -> None:
    # Every episode is there twice, a month later: evidence that the model takes for independent.
    drawn = draw_from_model(recast(SHIPPED), 3_000, 1, {"gps": 0.3, "ip": 0.5, "language": 0.5})
    at = drawn.evidence.schema.get_field_index("month")
    later = drawn.evidence.set_column(at, "month", pa.array(drawn.evidence["month"].to_numpy() + 100))
    twice = drawn._replace(evidence=pa.concat_tables([drawn.evidence, later.cast(drawn.evidence.schema)]))
    found = estimated(twice, 0.4)
    assert found.report["calibration"]["applied"]
    assert found.report["calibration"]["high"] < 1
    model = parse_model(found.document)
    assert model.slope == pytest.approx(found.report["calibration"]["slope"], abs=1e-3)
    uncalibrated = dataclasses.replace(model, slope=1.0, intercept=0.0)
    assert max(Figures(twice, model).calibration) < max(Figures(twice, uncalibrated).calibration)


def test_a_calibrated_score_is_still_its_prior_and_bars() -> None:
    drawn = draw_from_model(SHIPPED, 300, 2)
    model = dataclasses.replace(SHIPPED, slope=0.7, intercept=-0.3)
    plain = score_subjects(drawn.evidence, SHIPPED, TERRITORIES).to_pylist()
    for row, before in zip(score_subjects(drawn.evidence, model, TERRITORIES).to_pylist(), plain, strict=True):
        assert row["prior_mb"] == before["prior_mb"] - 300
        assert row["prior_mb"] + sum(bar["weight_mb"] for bar in row["bars"]) == row["score_mb"]
        for bar, bar_before in zip(row["bars"], before["bars"], strict=True):
            assert bar["weight_mb"] == pytest.approx(0.7 * bar_before["weight_mb"], abs=1)


def test_half_of_the_labels_judge_and_half_teach() -> None:
    drawn = draw_from_model(SHIPPED, 400, 2)
    data = drawn.histories(SHIPPED, np.arange(400) % 3 == 0)
    for half in (0, 1):
        judges, others = split_labels(data, half)
        assert others.subjects.sum() == data.subjects.sum()
        taught = int(others.subjects[others.home != NONE].sum())
        judging = int(judges.subjects[judges.home != NONE].sum())
        assert taught + judging == int(data.subjects[data.home != NONE].sum())
        assert abs(taught - judging) <= 1


def test_too_few_signals_are_refused_by_name() -> None:
    drawn = draw_from_model(SHIPPED, 1_000, 2, {"domain": 0.5, "language": 0.8})
    with pytest.raises(InputError, match=r"2 of 5 signals have coverage \(domain, language\).*gps \(0.0%\), ip"):
        estimated(drawn)


def test_too_few_subjects_are_refused() -> None:
    with pytest.raises(InputError, match="subjects have any evidence"):
        estimated(draw_from_model(SHIPPED, 100, 2))


def test_a_model_survives_its_file() -> None:
    model = fit(draw_from_model(recast(SHIPPED), 500, 2).histories(SHIPPED), SHIPPED).model
    extended = dataclasses.replace(model, second=0.1, stay=0.3, move=0.01, slope=0.8, intercept=-0.25)
    read = parse_model(model_document(extended, SOURCES))
    for name in ("second", "stay", "move", "slope", "intercept"):
        assert getattr(read, name) == getattr(extended, name)
    assert read.tau == pytest.approx(model.tau, rel=1e-6)
    for one, other in ((read.prior, model.prior), (read.away, model.away)):
        assert one == pytest.approx(other, rel=2e-6)
    assert np.abs(read.speakers - model.speakers).max() < 1e-3
    assert "calibration" not in model_document(model, SOURCES)


def test_the_model_that_ships_survives_its_file() -> None:
    read = parse_model(model_document(SHIPPED, SOURCES))
    assert read.prior == pytest.approx(SHIPPED.prior, rel=2e-6)
    assert np.abs(read.speakers - SHIPPED.speakers).max() < 1e-4


@pytest.mark.parametrize("slope", [0.0, 50.0, "high"])
def test_a_calibration_out_of_bounds_is_refused(slope: object) -> None:
    document = model_document(dataclasses.replace(SHIPPED, slope=0.8), SOURCES)
    document["calibration"]["slope"] = slope
    with pytest.raises(InputError, match=r"calibration\.slope"):
        parse_model(document)


def test_a_sample_is_the_lowest_hashes_and_everybody_labelled() -> None:
    ids = pa.array([f"subject-{i}" for i in range(1000)], pa.large_string())
    home = np.full(1000, NONE, np.int16)
    home[7] = COUNTRIES.index("FR")
    chosen = choose_subjects(ids, home, 100)
    assert 100 <= chosen.sum() <= 101
    assert chosen[7]
    shuffled = np.random.default_rng(1).permutation(1000)
    assert np.array_equal(choose_subjects(ids.take(pa.array(shuffled)), home[shuffled], 100), chosen[shuffled])


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "job"
    write_demo(folder, 1_500, 7, dataclasses.replace(OTHER_WORLD, away=0.2))
    return folder


def run(demo: Path, out: Path, labels: Path | None = None, *options: str) -> dict[str, Any]:
    summary: dict[str, Any] = estimate(Session.start(load_job(demo), options), out, labels)["estimate"]
    return summary


def test_a_job_is_estimated_and_scored_with_its_own_model(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = demo / "fitted.json"
    summary = run(demo, out)
    assert load_model(out).digest == summary["model_digest"]
    assert summary["parameters"]["tau"][1] == pytest.approx(0.2, abs=0.05)
    assert not list((demo / "out" / "work").glob("estimate-*"))
    assert not (demo / "out" / "run.json").exists()
    job = demo / "fitted.toml"
    text = (demo / "job.toml").read_text().replace('out = "out"', f'out = "{tmp_path}"')
    job.write_text(text.replace("# [model]\n# path", "[model]\npath").replace('"model.json"', '"fitted.json"'))
    assert lethe(capsys, "score", job)["model_digest"] == summary["model_digest"]
    assert read_scores(tmp_path)


def test_the_same_input_gives_the_same_bytes_whatever_the_workers(demo: Path, tmp_path: Path) -> None:
    once, again = tmp_path / "once.json", tmp_path / "again.json"
    run(demo, once, None, "--direct_num_workers=1")
    files = sorted((demo / "records").glob("*.parquet"))
    rows = [pq.read_table(file) for file in files]
    try:
        for file, table in zip(files, rows, strict=True):  # other units, other batches
            pq.write_table(table, file, row_group_size=217)
        run(demo, again, None, "--direct_num_workers=2")
    finally:
        for file, table in zip(files, rows, strict=True):
            pq.write_table(table, file)
    assert once.read_bytes() == again.read_bytes()


def test_labels_of_a_job(demo: Path, tmp_path: Path) -> None:
    truth = pq.read_table(demo / "truth.parquet")
    labels = tmp_path / "labels.parquet"
    some = truth.slice(0, 300)
    nobody = pa.table({"subject_id": ["nobody of that name"], "country": ["FR"]})
    pq.write_table(pa.concat_tables([some, nobody.cast(some.schema)]), labels)
    summary = run(demo, tmp_path / "model.json", labels)
    assert summary["labels"] == pytest.approx(300, abs=5)  # some of their records may be spoilt
    assert summary["labels"] + summary["labels_without_subject"] == 301


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"subject_id": ["a"], "country": ["UK"]}, "GB"),
        ({"subject_id": ["a"], "land": ["GB"]}, "country"),
    ],
)
def test_labels_that_cannot_be_used(demo: Path, tmp_path: Path, columns: dict[str, list[object]], message: str) -> None:
    labels = tmp_path / "labels.parquet"
    pq.write_table(pa.table(columns), labels)
    with pytest.raises(InputError, match=message):
        run(demo, tmp_path / "model.json", labels)


def test_records_that_say_too_little_leave_no_model(tmp_path: Path) -> None:
    write_records(tmp_path / "records" / "a.parquet", {"source_url": ["https://exemple.fr/a"] * 500})
    write_job(tmp_path)
    with pytest.raises(InputError, match="signals have coverage"):
        run(tmp_path, tmp_path / "model.json")
    assert not (tmp_path / "model.json").exists()
