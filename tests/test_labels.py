from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import InputError
from schemas.labels import LABELS, read_labels


def write(folder: Path, **columns: Any) -> Path:  # noqa: ANN401 - columns of any type
    file = folder / "labels.parquet"
    pq.write_table(pa.table(columns), file)
    return file


def test_labels_of_one_annotator(tmp_path: Path) -> None:
    table = read_labels(write(tmp_path, subject_id=["a", "b"], country=["GB", None], note=["x", "y"]))
    assert table.schema == LABELS
    assert table.to_pylist() == [
        {"subject_id": "a", "country": "GB", "annotator": ""},
        {"subject_id": "b", "country": None, "annotator": ""},
    ]


def test_near_types_are_cast(tmp_path: Path) -> None:
    country = pa.array(["FR", "FR"]).dictionary_encode()
    subjects = pa.array(["a", "a"], pa.large_string())
    table = read_labels(write(tmp_path, subject_id=subjects, country=country, annotator=["x", "y"]))
    assert table.column("country").to_pylist() == ["FR", "FR"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"subject_id": ["a"]}, "no column country"),
        ({"subject_id": ["a"], "country": [3.5]}, "1 countries are no ISO"),
        ({"subject_id": ["a"], "country": ["UK"]}, "the United Kingdom is GB"),
        ({"subject_id": ["a"], "country": ["gb"]}, "capital letters"),
        ({"subject_id": ["a", None], "country": ["FR", "FR"]}, "1 rows have no subject_id"),
        ({"subject_id": ["a", "a"], "country": ["FR", "IT"]}, "1 rows label a subject again"),
        (
            {"subject_id": ["a", "b", "c"], "country": ["FR", "IT", "IT"], "annotator": ["x", "y", "z"]},
            "3 annotators; lethe compares two",
        ),
        ({"subject_id": [["a"]], "country": ["FR"]}, "must be text"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_labels(write(tmp_path, **columns))


def test_files_that_are_no_labels(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no labels file"):
        read_labels(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("subject_id,country")
    with pytest.raises(InputError, match="not a Parquet file"):
        read_labels(tmp_path / "text.parquet")
