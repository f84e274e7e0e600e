"""What an auditor sees of the stores, before and after: counts per place, and no "clean" that was not earned."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from runners.demo import write_demo
from tests.jobs import digests, lethe

Capture = pytest.CaptureFixture[str]
STORES = ("faces", "hashes", "records")


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo whose manifests are written."""
    from runners.cli import main

    folder = tmp_path_factory.mktemp("demo") / "job"
    write_demo(folder, subjects=200, seed=7)
    assert main(["plan", str(folder), "--json"]) == 0
    return folder


@pytest.fixture
def demo(planned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(planned, tmp_path / "demo"))


def stores_of(summary: dict[str, Any]) -> dict[str, Any]:
    return dict(summary["residue"]["stores"])


def test_before_and_after_a_purge(demo: Path, capsys: Capture) -> None:
    assert "--prepare" in lethe(capsys, "residue", demo, code=2)["error"]
    stores = digests(demo, "out")
    before = stores_of(lethe(capsys, "residue", demo, "--prepare", code=3))
    assert digests(demo, "out") == stores
    for name in STORES:
        assert before[name]["status"] == "RESIDUE"
        assert before[name]["ids"] == before[name]["ids_sought"] > 0
        assert before[name]["vectors"] == before[name]["vectors_sought"]
        assert sum(one["count"] for one in before[name]["places"] if one["what"] == "id")
    assert before["faces"]["vectors"] > 0
    lethe(capsys, "purge", demo, "--execute")
    after = stores_of(lethe(capsys, "residue", demo, "--outputs"))
    for name in STORES:
        assert (after[name]["status"], after[name]["ids"], after[name]["vectors"]) == ("CLEAN", 0, 0)
        assert after[name]["vectors_sought"] == before[name]["vectors_sought"]
    own = after["lethe's own output"]
    assert (own["status"], own["vectors"], own["vectors_sought"]) == ("CLEAN", 0, before["faces"]["vectors_sought"])
    assert (demo / "out" / "residue.json").is_file()


def test_a_vector_in_lethes_own_output_is_found(demo: Path, capsys: Capture) -> None:
    shutil.copytree(demo / "faces", demo / "copy")
    lethe(capsys, "residue", demo, "--prepare", code=3)
    lethe(capsys, "purge", demo, "--execute")
    shutil.copy(next((demo / "copy").iterdir()), demo / "out" / "work" / "spilt.parquet")
    found = stores_of(lethe(capsys, "residue", demo, "--outputs", code=3))
    assert found["faces"]["status"] == "CLEAN"
    own = found["lethe's own output"]
    assert own["status"] == "RESIDUE"
    assert own["vectors"] > 0
    assert {one["file"] for one in own["places"]} == {"work/spilt.parquet"}


def test_a_forgotten_copy_and_a_file_nobody_can_read(demo: Path, capsys: Capture) -> None:
    faces = next((demo / "faces").iterdir())
    held = pq.read_table(faces)
    lethe(capsys, "purge", demo, "--execute")
    (demo / "faces" / "notes.bin").write_bytes(b"\x00\x01nobody knows")
    found = stores_of(lethe(capsys, "residue", demo, code=3))["faces"]
    assert found["status"] == "UNVERIFIED"
    assert any("notes.bin" in why for why in found["unread"])
    pq.write_table(held, demo / "faces" / ".old.parquet", compression="zstd")
    found = stores_of(lethe(capsys, "residue", demo, code=3))["faces"]
    assert found["status"] == "RESIDUE"
    assert {one["file"] for one in found["places"]} == {".old.parquet"}
    assert found["vectors"] > 0


def test_after_the_fingerprints_are_destroyed_only_ids_are_sought(demo: Path, capsys: Capture) -> None:
    lethe(capsys, "purge", demo, "--execute")
    lethe(capsys, "verify", demo, "--finish")
    found = lethe(capsys, "residue", demo, code=3)["residue"]
    assert found["finished"]
    for name in STORES:
        assert (found["stores"][name]["ids"], found["stores"][name]["vectors_sought"]) == (0, None)
        assert found["stores"][name]["status"] == "UNVERIFIED"
    assert not list((demo / "out" / "work").rglob("secret"))
    assert "destroyed" in lethe(capsys, "residue", demo, "--prepare", code=2)["error"]


def test_the_table_on_the_terminal(demo: Path, capsys: Capture) -> None:
    from runners.cli import main

    assert main(["residue", str(demo), "--prepare"]) == 3
    text = capsys.readouterr().out
    assert "RESIDUE" in text
    assert "vectors readable" in text
    assert "part-00000.parquet" in text
