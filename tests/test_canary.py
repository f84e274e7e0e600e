"""Synthetic people must vanish with the rest, and a purge that forgets one of them is found out."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from runners.demo import write_demo
from tests.jobs import digests, lethe

Capture = pytest.CaptureFixture[str]
STORES = ("faces", "hashes", "records")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "job"
    write_demo(folder, subjects=100, seed=7)
    return folder


@pytest.fixture
def demo(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "demo"))


@pytest.fixture(scope="module")
def purged(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, pa.Table]]:
    """A demo with canaries, purged; and what was planted in each store."""
    from runners.cli import main

    demo = Path(shutil.copytree(pristine, tmp_path_factory.mktemp("purged") / "demo"))
    for command in (["canary", "plant"], ["run"]):
        assert main([*command, str(demo), "--execute", "--json"]) == 0
    home = demo / "out" / "canaries"
    return demo, {name: pa.ipc.open_file(home / f"{name}.arrow").read_all() for name in STORES}


@pytest.fixture
def after(purged: tuple[Path, dict[str, pa.Table]], tmp_path: Path) -> tuple[Path, dict[str, pa.Table]]:
    # The receipts name files by their paths, so it is the stores that are put back, not the job that is copied.
    demo, planted = purged
    for name in STORES:
        shutil.copytree(demo / name, tmp_path / name)
    return demo, planted


def stores_of(summary: dict[str, Any]) -> dict[str, Any]:
    return dict(summary["canary_check"]["stores"])


def test_nothing_is_written_without_execute(demo: Path, capsys: Capture) -> None:
    before = digests(demo, "out")
    told = lethe(capsys, "canary", "plant", demo)["canaries"]
    assert digests(demo, "out") == before
    assert not told["planted"]
    assert min(told["probability"].values()) > 0.95
    assert not (demo / "out" / "canaries").exists()


def test_files_of_the_controller_are_not_touched(demo: Path, capsys: Capture) -> None:
    before = digests(demo, "out")
    lethe(capsys, "canary", "plant", demo, "--execute")
    now = digests(demo, "out")
    assert {name: now[name] for name in before} == before
    assert sum(name not in before for name in now) == 5
    assert "already" in lethe(capsys, "canary", "plant", demo, "--execute", code=2)["error"]
    lethe(capsys, "plan", demo)
    assert "no purge was executed" in lethe(capsys, "canary", "check", demo, code=2)["error"]


def test_they_vanish_with_the_rest(purged: tuple[Path, dict[str, pa.Table]], capsys: Capture) -> None:
    demo, planted = purged
    told = lethe(capsys, "canary", "check", demo)["canary_check"]
    assert told["passed"]
    assert told["on_manifests"] == told["planted"] == 36
    for name in STORES:
        store = told["stores"][name]
        assert (store["verdict"], store["readable"], store["traces"]) == ("gone", 0, 0)
        assert store["sought"] >= 36
    assert told["stores"]["faces"]["bystanders"] == 28
    faces = pq.read_table(demo / "faces")
    assert not pc.any(pc.match_substring(faces.column("face_id"), "canary")).as_py()
    assert len(planted["faces"]) == 64


@pytest.mark.parametrize("form", ["row", "hidden copy", "hexadecimal", "decimal", "big-endian doubles", "id in a text"])
def test_one_that_was_left_is_found(
    after: tuple[Path, dict[str, pa.Table]], tmp_path: Path, capsys: Capture, form: str
) -> None:
    demo, planted = after
    rows = planted["faces"]
    rows = rows.filter(pc.match_substring(rows.column("face_id"), "canary-face")).slice(3, 1)
    vector = rows.column("vector").combine_chunks().flatten().to_numpy()
    file = demo / "faces" / {"row": "late.parquet", "hidden copy": ".late"}.get(form, "note.txt")
    content = {
        "hexadecimal": vector.tobytes().hex().encode(),
        "decimal": json.dumps(vector.tolist()).encode(),
        "big-endian doubles": vector.astype(">f8").tobytes(),
        "id in a text": b"seen " + rows.column("face_id")[0].as_py().encode() + b" again",
    }
    try:
        if form in content:
            file.write_bytes(content[form])
        else:
            pq.write_table(rows, file, compression="zstd")
        found = stores_of(lethe(capsys, "canary", "check", demo, code=3))
        assert found["faces"]["verdict"] == "left"
        assert found["faces"]["traces"] + found["faces"]["readable"] > 0
        assert found["hashes"]["verdict"] == "gone"
    finally:
        file.unlink()


def test_a_bystander_that_was_lost_is_missed(
    after: tuple[Path, dict[str, pa.Table]], tmp_path: Path, capsys: Capture
) -> None:
    demo, _ = after
    (file,) = (demo / "faces").glob("canaries-*-mixed.parquet")
    pq.write_table(pq.read_table(file).slice(1), file)
    try:
        assert stores_of(lethe(capsys, "canary", "check", demo, code=3))["faces"]["verdict"] == "bystanders lost"
    finally:
        shutil.copy(tmp_path / "faces" / file.name, file)


def test_no_canaries_for_whom_the_model_would_not_erase(demo: Path, capsys: Capture) -> None:
    job = demo / "job.toml"
    job.write_text(job.read_text().replace("erase_at = 0.95", "erase_at = 0.9999999999"))
    before = digests(demo, "out")
    assert "would not be erased" in lethe(capsys, "canary", "plant", demo, "--execute", code=2)["error"]
    assert digests(demo, "out") == before
