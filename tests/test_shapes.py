"""Data of shapes that break what assumes many subjects of a few records each: all is still scored, and adds up."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import pipelines.check
import pipelines.inventory
import pipelines.plan
import pipelines.score
from pipelines.findings import FINDINGS, IDS
from pipelines.score import find_in_shard
from pipelines.spill import SpillWriter, read_spill
from runners.stages import Session
from schemas.job import load_job
from schemas.manifests import load_manifest
from tests.jobs import digests, lethe, read_scores, write_job, write_records

Capture = pytest.CaptureFixture[str]
N = 3_000
SHAPES: Mapping[str, Mapping[str, list[str | None]]] = {
    "one subject": {"subject_id": ["s"] * N},
    "no subject": {"subject_id": [None] * N},
    "one image, one uploader": {
        "subject_id": [f"s{i % 700}" for i in range(N)],
        "image_id": ["i"] * N,
        "uploader_id": ["u"] * N,
    },
    "one telephone number": {"subject_id": [f"s{i % 700}" for i in range(N)], "caption": ["+33 1 42 68 53 00"] * N},
    "one record id": {"subject_id": [f"s{i % 700}" for i in range(N)], "record_id": ["r"] * N},
}


def columns(shape: str) -> dict[str, Any]:
    """Records with coordinates all over Europe, a month each, and what the shape says."""
    random = np.random.default_rng(1)
    months = (np.datetime64("2015-01", "M") + random.integers(0, 120, N)).astype("datetime64[us]")
    place = {"latitude": random.uniform(42, 55, N), "longitude": random.uniform(-4, 14, N)}
    return {
        **place,
        "captured_at": pa.array(months, pa.timestamp("us", "UTC")),
        "caption": ["bonjour de la mer, il fait beau"] * N,
        **SHAPES[shape],
    }


def content(out: Path, *keys: str) -> pa.Table:
    """All parts of an output, in an order of its own."""
    return pa.concat_tables([pq.read_table(file) for file in sorted(out.glob("*.parquet"))]).sort_by(
        [(key, "ascending") for key in keys]
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_any_shape_is_scored_whole_and_the_same_in_pieces_of_any_size(
    shape: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    for rows, planned, checked in ((100_000, 16_384, 16_384), (400, 64, 50)):
        folder = tmp_path / str(rows)
        write_records(folder / "records" / "a.parquet", columns(shape), row_group=200)
        write_job(folder)
        for module in (pipelines.inventory, pipelines.score):
            monkeypatch.setattr(module, "rows_at_once", lambda _, rows=rows: rows)
        monkeypatch.setattr(pipelines.plan, "ENTRIES_AT_ONCE", planned)
        monkeypatch.setattr(pipelines.check, "ENTRIES_AT_ONCE", checked)
        score = lethe(capsys, "plan", folder)["score"]
        assert score["read"] == N == score["scored"] + score["quarantined"]
        assert score["quarantined"] == (N - 1 if shape == "one record id" else 0)
        assert score["subjects"] == len({subject for subject, _ in read_scores(folder / "out")})
        assert len(list((folder / "out" / "scores").iterdir())) <= -(-N // rows)
        written.append(
            (
                content(folder / "out" / "scores", "subject_id", "jurisdiction"),
                content(folder / "out" / "manifests" / "fr", "entry_id"),
            )
        )
    assert written[0][0].equals(written[1][0])
    assert written[0][1].equals(written[1][1])


def test_without_a_subject_every_record_is_one(tmp_path: Path, capsys: Capture) -> None:
    write_records(tmp_path / "records" / "a.parquet", columns("no subject"))
    assert lethe(capsys, "score", write_job(tmp_path))["score"]["subjects"] == N


def test_what_is_found_twice_is_spilled_once(tmp_path: Path, capsys: Capture) -> None:
    """An engine may run a bundle again: the same file, the same pointers, whatever the order of what came in."""
    write_records(tmp_path / "records" / "a.parquet", columns("one record id"))
    work = Session.start(load_job(write_job(tmp_path)), []).work
    pointers = []
    for unit in range(3):
        known = {"unit": np.full(N, unit), "row": np.arange(N), "subject": np.arange(N) % 7}
        ids = pa.table({field.name: pa.array(known.get(field.name, np.zeros(N)), field.type) for field in IDS})
        with SpillWriter(tmp_path / f"{unit}.arrow", IDS) as spill:
            spill.write(ids.cast(IDS), np.zeros(N, np.int64))
        pointers.append(spill.pointers()[0])
    first = list(find_in_shard((0, pointers), work))
    written = digests(work.folder / "spill" / "findings")
    assert list(find_in_shard((0, reversed(pointers)), work)) == first
    assert digests(work.folder / "spill" / "findings") == written
    assert sum(len(read_spill([pointer], FINDINGS)) for _, pointer in first) == 3 * N - 1


@pytest.mark.slow
def test_a_million_records_of_one_subject_fit_in_memory(tmp_path: Path) -> None:
    """A subject is never cut, so this is the largest piece of work there is: scoring it takes 2 kB a record.

    Planning and checking come by slices, 1.3 kB a record; Python itself is included in both.
    """
    n = 1_000_000
    one = pa.table(columns("one subject"))
    many = pa.concat_tables([one] * -(-n // N)).slice(0, n).combine_chunks()
    numbers = pa.array(np.arange(n)).cast(pa.string())
    ids = {name: pc.binary_join_element_wise(name, numbers, "-") for name in ("record_id", "face_id")}
    write_records(
        tmp_path / "records" / "a.parquet", {**dict(zip(many.column_names, many.columns, strict=True)), **ids}
    )
    job = write_job(tmp_path)
    assert peak_of("score", job) < 2_000 * n
    assert len(read_scores(tmp_path / "out")) == 3
    assert peak_of("plan", job) < 1_300 * n
    manifest = load_manifest(tmp_path / "out" / "manifests" / "uk")
    assert sum(manifest.entries.values()) == n


LAUNCHER = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Between this process and the command: what a process has in memory counts as that of those it starts."""


def peak_of(command: str, job: Path) -> int:
    """Bytes that the largest process of a command held at once; it has to end well."""
    call = [sys.executable, "-c", "import sys; from runners.cli import main; sys.exit(main())", command, str(job)]
    said = subprocess.check_output([sys.executable, "-c", LAUNCHER, *call, "--", "--direct_num_workers=2"])
    code, peak = map(int, said.split())
    assert code == 0
    return peak * 1024
