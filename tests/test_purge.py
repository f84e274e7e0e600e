"""Purging one unit as a worker does: what is written wrong never takes the place of what was right."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.baseline import BaselineWork
from pipelines.ledger import Ledger
from pipelines.purge import PurgeWork, purge_unit
from schemas.job import StoreSection
from stores.contract import Status
from stores.keys import KeySet
from tests.jobs import write_faces

GONE = ["face-3", "face-7"]


@pytest.fixture
def work(tmp_path: Path) -> PurgeWork:
    write_faces(tmp_path / "faces" / "f.parquet", [f"face-{i}" for i in range(10)])
    section = StoreSection(kind="parquet", path=str(tmp_path / "faces"), holds="vectors")
    keys = KeySet.write(tmp_path / "keys.arrow", [pa.array(GONE)])
    baseline = BaselineWork(section, Ledger(tmp_path / "baseline" / "faces"), tmp_path / "secret")
    return PurgeWork("faces", section, keys.path, tmp_path / "receipts", Ledger(tmp_path / "at"), baseline)


def purge(work: PurgeWork) -> Status:
    (unit,) = work.open_store().units()
    return purge_unit(unit, work.open_keys(), work).status


def test_just_the_listed_rows_go(work: PurgeWork) -> None:
    before = pq.read_table(work.section.path)
    assert purge(work) is Status.REMOVED
    assert pq.read_table(work.section.path).equals(before.filter(~np.isin(before.column("face_id").to_numpy(), GONE)))


@pytest.mark.parametrize("damage", ["value", "row", "order of columns"])
def test_a_file_that_was_written_wrong_does_not_replace_the_old_one(
    work: PurgeWork, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """The writer is made to err in ways that neither a count of rows nor a look at the keys would show."""
    from stores import parquet

    (file,) = Path(work.section.path).iterdir()
    before = file.read_bytes()
    write = parquet.write_survivors

    def write_wrong(match: object, key: str, keys: object, aside: Path, codec: str) -> list[str]:
        dropped: list[str] = write(match, key, keys, aside, codec)  # type: ignore[arg-type]
        table = pq.read_table(aside)
        if damage == "value":
            vectors = table.column("vector").combine_chunks()
            floats = vectors.values.to_numpy().copy()
            floats[5] += 1e-6
            table = table.set_column(1, "vector", pa.ListArray.from_arrays(vectors.offsets, pa.array(floats)))
        elif damage == "row":
            table = pa.concat_tables([table.slice(1), table.slice(1, 1)])
        else:
            table = table.select(["vector", "face_id"])
        pq.write_table(table, aside)
        return dropped

    monkeypatch.setattr(parquet, "write_survivors", write_wrong)
    assert purge(work) is Status.FAILED
    assert file.read_bytes() == before
    assert [found.name for found in Path(work.section.path).iterdir()] == ["f.parquet"]
    monkeypatch.undo()
    assert purge(work) is Status.REMOVED


def test_a_file_of_which_only_the_keys_can_be_read_stops_no_other(work: PurgeWork) -> None:
    (whole,) = Path(work.section.path).iterdir()
    damaged = whole.with_name("a.parquet")
    content = bytearray(whole.read_bytes())
    column = pq.read_metadata(whole).row_group(0).column(1)
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    damaged.write_bytes(content)
    statuses = [purge_unit(unit, work.open_keys(), work).status for unit in work.open_store().units()]
    assert statuses == [Status.UNREADABLE, Status.REMOVED]
    assert damaged.read_bytes() == content
