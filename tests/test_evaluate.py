"""The evaluation: its cells, its people, and the whole of it against what it must not write."""

import datetime
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers.measures import Decision
from schemas.countries import NONE, country_index
from schemas.records import RECORD

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("LETHE_SHARED_DATA", ROOT / "../shared/data"))
needs_shared_data = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the shared data is not at {SHARED}")


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[None]:
    """Scripts in `benchmarks/` import each other by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield


@pytest.fixture(scope="module")
def cells(benchmarks: None) -> ModuleType:
    return importlib.import_module("evaluate_cells")


@pytest.fixture(scope="module")
def model(benchmarks: None) -> ModuleType:
    return importlib.import_module("evaluate_model")


@pytest.fixture(scope="module")
def populations(benchmarks: None) -> ModuleType:
    return importlib.import_module("evaluate_populations")


@pytest.fixture(scope="module")
def document(benchmarks: None) -> str:
    return str(importlib.import_module("evaluate").evaluate(SHARED, datetime.date(2026, 11, 22)))


def test_a_decision_is_precision_recall_and_how_many(cells: ModuleType) -> None:
    resident = np.array([True, True, True, False])
    assert cells.decided(Decision.of(np.array([True, False, False, True]), resident)) == "0.500 / 0.333 (2)"
    assert cells.decided(Decision.of(np.zeros(4, bool), resident)) == "– / 0.000 (0)"
    assert cells.decided(Decision.of(np.zeros(4, bool), ~np.ones(4, bool))) == "– / – (0)"


def test_every_row_is_one_record_of_one_subject(populations: ModuleType) -> None:
    country = pa.chunked_array([["FR", "Myanmar (Burma)"]], pa.large_string())
    caption = pa.chunked_array([["un", "deux"]], pa.large_string())
    people = populations.population("sample", "A sample", country, {"caption": caption})
    assert people.records.schema == RECORD
    assert people.records["subject_id"].to_pylist() == ["sample-000000", "sample-000001"]
    assert people.records["latitude"].null_count == 2
    assert people.country.tolist() == [country_index("FR"), NONE]


def test_own_prior_is_a_distribution_in_which_nothing_is_impossible(model: ModuleType) -> None:
    prior = model.own_prior(np.array([country_index("FR")] * 99 + [NONE], np.int16))
    assert prior.sum() == pytest.approx(1)
    assert prior.min() > 0
    assert prior[country_index("FR")] > 0.4


def test_missing_data_is_named(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks/evaluate.py"), "--data", str(tmp_path)]
    done = subprocess.run([*command, "--out", str(tmp_path / "out.md")], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "places.parquet" in done.stderr
    assert "--data" in done.stderr
    assert not (tmp_path / "out.md").exists()


@needs_shared_data
def test_every_set_is_scored_whole(document: str) -> None:
    for name, column in (("places", "7,053 subjects"), ("feeds", "256 subjects"), ("tweets", "10,492 subjects")):
        assert f"{pq.read_metadata(SHARED / f'{name}.parquet').num_rows:,} subjects" == column
        assert column in document
    assert "nan" not in re.findall(r"[a-z]+", document.lower())


@needs_shared_data
@pytest.mark.parametrize(
    ("file", "columns"),
    [
        ("places.parquet", ("phone", "website", "description")),
        ("feeds.parquet", ("url", "title", "text")),
        ("tweets.parquet", ("text",)),
        ("ip_anchors.parquet", ("ip",)),
    ],
)
def test_nothing_of_the_data_is_written(document: str, file: str, columns: tuple[str, ...]) -> None:
    table = pq.read_table(SHARED / file, columns=list(columns))
    for name in columns:
        # Texts of a word or two ("News") may stand in any document.
        written = [text for text in table[name].to_pylist() if text and len(text) > 12 and text in document]
        assert len(written) == 0, f"{len(written)} values of {name} are in the document"


@needs_shared_data
def test_the_committed_document_is_of_the_model_that_ships(document: str) -> None:
    committed = (ROOT / "docs/evaluation.md").read_text(encoding="utf-8")
    digests = [re.findall(r"sha256:[0-9a-f]{64}", text) for text in (document, committed)]
    assert digests[0] == digests[1], "run `make evaluation` and commit docs/evaluation.md"
