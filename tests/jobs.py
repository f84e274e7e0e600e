"""Small whole jobs for tests: a demo on disk, records of one's own, and the command as a user calls it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runners.cli import main


def lethe(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict[str, Any]:
    """Call `lethe … --json`; check the exit code and return the summary (empty if the command failed)."""
    ours = [str(argument) for argument in arguments]
    at = ours.index("--") if "--" in ours else len(ours)
    found = main([*ours[:at], "--json", *ours[at:]])
    captured = capsys.readouterr()
    assert found == code, captured.err
    return dict(json.loads(captured.out)) if captured.out else {"error": captured.err}


def digests(folder: Path, *skipped: str) -> dict[str, str]:
    """SHA-256 of every file below `folder`, by name, without what lies in one of the folders `skipped`."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not set(skipped) & set(file.relative_to(folder).parts)
    }


def write_records(file: Path, columns: Mapping[str, Sequence[Any] | pa.Array], row_group: int = 1000) -> None:
    """Write image records; `record_id` and `face_id` are made up if they are not given."""
    n = len(next(iter(columns.values())))
    made = {"record_id": [f"record-{i:05d}" for i in range(n)], "face_id": [f"face-{i:05d}" for i in range(n)]}
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**made, **columns}), file, row_group_size=row_group)


def write_job(folder: Path, text: str = "") -> Path:
    """Write a job over `records/`, with whatever else is given."""
    job = folder / "job.toml"
    job.write_text('[records]\npath = "records/"\n' + text)
    return job


FACES_STORE = '[[store]]\nkind = "parquet"\npath = "faces/"\nholds = "vectors"\n'


def write_faces(file: Path, face_ids: Sequence[str], width: int = 32) -> pa.Table:
    """Write a vector for every face; returns the table."""
    vectors = np.random.default_rng(len(face_ids)).normal(size=len(face_ids) * width).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors), width).cast(pa.list_(pa.float32()))
    table = pa.table({"face_id": face_ids, "vector": column})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file, row_group_size=100)
    return table


def read_scores(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The scores by subject and jurisdiction."""
    rows = pq.read_table(out / "scores").to_pylist()
    return {(row["subject_id"], row["jurisdiction"]): row for row in rows}
