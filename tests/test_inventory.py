"""What counts as input, and what is said about what does not."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.inventory import UNIT_ROWS, InputFile, Inventory, read_unit, take_inventory
from schemas.errors import InputError


def write(path: Path, rows: int = 3, group: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [f"{path.stem}-{i}" for i in range(rows)]
    pq.write_table(pa.table({"record_id": ids, "face_id": ids}), path, row_group_size=group)
    return path


def names(path: Path) -> list[str]:
    return [file.name for file in take_inventory(path, {}).files]


def test_a_folder_a_file_and_a_glob_are_input(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet")
    write(tmp_path / "deep" / "b.parquet")
    write(tmp_path / ".hidden" / "c.parquet")
    (tmp_path / "notes.txt").write_text("not input")
    assert names(tmp_path) == ["a.parquet", "deep/b.parquet"]
    assert names(tmp_path / "a.parquet") == ["a.parquet"]
    assert names(tmp_path / "*.parquet") == ["a.parquet"]
    assert names(tmp_path / "d*" / "*.parquet") == ["deep/b.parquet"]


def test_no_parquet_file_is_an_error_that_says_where(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no Parquet file under"):
        take_inventory(tmp_path, {})
    with pytest.raises(InputError, match="does not exist"):
        take_inventory(tmp_path / "nowhere", {})


def test_a_file_cut_in_half_and_an_empty_one_are_faults_not_crashes(tmp_path: Path) -> None:
    write(tmp_path / "good.parquet")
    whole = write(tmp_path / "cut.parquet", rows=50).read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.parquet").write_bytes(b"")
    inventory = take_inventory(tmp_path, {})
    assert {file.name: file.fault is None for file in inventory.files} == {
        "cut.parquet": False,
        "empty.parquet": False,
        "good.parquet": True,
    }
    assert inventory.rows == 3
    (tmp_path / "good.parquet").unlink()
    with pytest.raises(InputError, match="none of the 2 Parquet files"):
        take_inventory(tmp_path, {})


def test_a_file_without_rows_is_input_without_units(tmp_path: Path) -> None:
    write(tmp_path / "none.parquet", rows=0)
    inventory = take_inventory(tmp_path, {})
    assert inventory.rows == 0
    assert list(inventory.units()) == []


def test_one_file_of_another_schema_stops_the_job(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet")
    pq.write_table(pa.table({"record_id": ["x"], "face_id": [1.5]}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"b.parquet: column 'face_id' has type double"):
        take_inventory(tmp_path, {})


@given(st.lists(st.integers(0, UNIT_ROWS * 2), max_size=20))
def test_units_cover_every_row_once(row_groups: list[int]) -> None:
    file = InputFile("f", 1, 1, "", tuple(row_groups))
    units = list(Inventory(Path("/"), (file,)).units())
    assert sum(unit.rows for unit in units) == sum(row_groups)
    position = 0
    for unit in units:
        assert unit.first_row == position == sum(row_groups[: unit.first])
        assert unit.rows == sum(row_groups[unit.first : unit.last]) > 0
        assert unit.rows <= UNIT_ROWS or sum(1 for rows in row_groups[unit.first : unit.last] if rows) == 1
        position += unit.rows


def test_a_unit_reads_its_rows(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", rows=5, group=2)
    inventory = take_inventory(tmp_path, {})
    rows = [
        row
        for unit in inventory.units()
        for batch in read_unit(tmp_path, unit, {}, 2)
        for row in batch.column(0).to_pylist()
    ]
    assert rows == [f"a-{i}" for i in range(5)]


def test_the_digest_is_that_of_the_content_not_of_the_place(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write(tmp_path / folder / "a.parquet")
    one, two = (take_inventory(tmp_path / folder, {}) for folder in ("one", "two"))
    assert one.digest == two.digest
    write(tmp_path / "two" / "a.parquet", rows=4)
    assert take_inventory(tmp_path / "two", {}).digest != one.digest
    one.save(tmp_path / "inventory.json")
    assert Inventory.load(tmp_path / "inventory.json") == one
