"""One verdict per store: each way a purge can go wrong changes it, and a right purge passes."""

import ast
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from stores.audit.baseline import take_baseline
from stores.audit.control import Control, run_control
from stores.audit.inventory import Kind, take_inventory
from stores.audit.rows import read_rows
from stores.audit.verdict import Rows, Status, judge_store
from tests.audit_store import DIMENSIONS, KEY, LISTED, faces, is_listed, listed_vector, make_store, survivors

GOOD = Control(2, 2)


def with_vector(table: pa.Table, row: int, value: object) -> pa.Table:
    values = table["vector"].to_pylist()
    values[row] = value
    return table.set_column(2, "vector", pa.array(values, table.schema.field("vector").type))


def test_a_right_purge_passes_and_its_verdict_is_json(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    verdict = store.judge()
    assert (verdict.status, verdict.rows, verdict.reasons) == (Status.CLEAN, Rows.INTACT, ())
    assert verdict.passed
    assert verdict.control is not None and verdict.control.passed
    assert (verdict.rows_before, verdict.rows_listed) == (400, 50)
    assert verdict.survivors_after.rows == 350
    assert json.loads(json.dumps(verdict.to_json()))["status"] == "CLEAN"


def one_lost(table: pa.Table) -> pa.Table:
    return table.slice(1)


def one_bit_changed(table: pa.Table) -> pa.Table:
    vector = np.array(table["vector"][5].as_py(), "<f4")
    vector.view(np.uint32)[17] ^= 1
    return with_vector(table, 5, vector.tolist())


def one_twice(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table.slice(7, 1)])


def one_replaced(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table.slice(1), table.slice(7, 1)])


def swapped(table: pa.Table) -> pa.Table:
    scores = table["score"].to_pylist()
    scores[0], scores[1] = scores[1], scores[0]
    return table.set_column(3, "score", pa.array(scores))


def null_for_empty(table: pa.Table) -> pa.Table:
    return table.set_column(1, "subject", pa.array([None, *table["subject"].to_pylist()[1:]]))


@pytest.mark.parametrize("damage", [one_lost, one_bit_changed, one_twice, one_replaced, swapped, null_for_empty])
def test_damage_to_survivors_is_seen(tmp_path: Path, damage: object) -> None:
    store = make_store(tmp_path)
    store.write(damage(survivors(store.before)))  # type: ignore[operator]
    verdict = store.judge()
    assert (verdict.status, verdict.rows, verdict.passed) == (Status.CLEAN, Rows.LOST, False)
    assert verdict.reasons[0].startswith("a.parquet: ")


def test_changed_metadata_is_seen(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.write(survivors(store.before).replace_schema_metadata({"made": "by hand"}))
    verdict = store.judge()
    assert (verdict.rows, verdict.passed) == (Rows.CHANGED, False)
    assert "a.parquet: its schema or metadata is not as it was" in verdict.reasons


def test_a_changed_type_is_seen(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    rest = survivors(store.before)
    store.write(rest.set_column(3, "score", rest["score"].cast(pa.float32())))
    assert store.judge().rows is Rows.LOST


def test_rows_may_move_between_files_and_into_another_order(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    rest = survivors(store.before)
    rest = rest.take(pc.sort_indices(rest["score"], sort_keys=[("", "descending")]))
    store.write(rest.slice(0, 100))
    store.write(rest.slice(100), "sub/b.parquet", row_group_size=13, compression="none")
    verdict = store.judge()
    assert (verdict.status, verdict.rows, verdict.passed) == (Status.CLEAN, Rows.MOVED, True)
    os.remove(store.root / "sub/b.parquet")
    assert store.judge().rows is Rows.LOST
    os.remove(store.root / "a.parquet")
    gone = judge_store("faces", store.baselines, [], [], GOOD)
    assert (gone.rows, gone.reasons) == (
        Rows.LOST,
        ("a unit that is gone: 350 of 350 rows that must stay are missing",),
    )


def test_a_forgotten_copy_of_survivors_is_seen(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.write(survivors(store.before).slice(0, 3), ".lethe-tmp-1")
    verdict = store.judge()
    assert (verdict.rows, verdict.reasons) == (Rows.LOST, (".lethe-tmp-1: was not there before and holds 3 rows",))


def test_residue_outweighs_doubt_and_both_are_told(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    (store.root / ".tmp").write_bytes(b"\x00" + listed_vector(store.before))
    verdict = store.judge()
    assert verdict.status is Status.RESIDUE
    assert [(one.file, one.what, one.where, one.count) for one in verdict.findings] == [
        (".tmp", "vector", "raw bytes", 1)
    ]
    assert any("format is not known" in reason for reason in verdict.reasons)


def test_a_file_cut_in_half_is_never_clean(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    path = store.root / "a.parquet"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    verdict = store.judge(GOOD)
    assert (verdict.status, verdict.rows) == (Status.UNVERIFIED, Rows.UNVERIFIED)


def test_nothing_is_clean_without_a_control_that_found_everything(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    checks, inventory = [store.check()], take_inventory(store.root)
    for control in (None, Control(0, 0), Control(128, 127)):
        verdict = judge_store("faces", store.baselines, checks, inventory, control)
        assert verdict.status is Status.UNVERIFIED
        assert "control" in verdict.reasons[0]


def test_a_file_nobody_examined_or_that_changed_since_is_not_clean(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    check = store.check()
    (store.root / "late").write_text("hello")
    verdict = judge_store("faces", store.baselines, [check], take_inventory(store.root), GOOD)
    assert (verdict.status, verdict.reasons) == (Status.UNVERIFIED, ("late: was not examined",))
    os.remove(store.root / "late")
    os.utime(store.root / "a.parquet", ns=(1, 1))
    verdict = judge_store("faces", store.baselines, [check], take_inventory(store.root), GOOD)
    assert verdict.reasons == ("a.parquet: changed while it was being verified",)


def test_links_are_told_and_not_followed(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    (store.root / "inside").symlink_to("a.parquet")
    assert store.judge().passed
    (tmp_path / "elsewhere").mkdir()
    (store.root / "outside").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(store.root / "pipe")
    verdict = store.judge()
    assert (verdict.status, verdict.reasons) == (
        Status.UNVERIFIED,
        ("outside: link outside, not followed", "pipe: other, not followed"),
    )


def test_vectors_that_no_scan_can_tell_apart_are_counted(tmp_path: Path) -> None:
    table = faces()
    store = make_store(tmp_path, with_vector(table, 8, [0.0] * DIMENSIONS))
    verdict = store.judge()
    assert (verdict.passed, verdict.vectors_sought, verdict.vectors_untraceable) == (True, 50, 1)


def test_a_store_of_vectors_without_traces_is_not_clean(tmp_path: Path) -> None:
    flat = pa.array([[0.0] * DIMENSIONS] * 400, pa.list_(pa.float32()))
    store = make_store(tmp_path, faces().set_column(2, "vector", flat))
    verdict = store.judge(GOOD)
    assert (verdict.status, verdict.rows) == (Status.UNVERIFIED, Rows.INTACT)


def test_a_name_with_a_listed_id_is_withheld(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    name = LISTED[4].as_py()
    (store.root / f"face={name}").mkdir()
    (store.root / f"face={name}" / "x").write_bytes(b"\x00")
    verdict = store.judge()
    assert verdict.status is Status.RESIDUE
    assert name not in json.dumps(verdict.to_json())


def test_the_inventory_lists_every_entry_in_order(tmp_path: Path) -> None:
    for name in ("b", ".hidden/.deep/x", "a.tmp", os.fsdecode(b"\xff")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("12345")
    entries = take_inventory(tmp_path)
    assert [entry.path for entry in entries] == sorted([".hidden/.deep/x", "a.tmp", "b", os.fsdecode(b"\xff")])
    assert {(entry.kind, entry.size) for entry in entries} == {(Kind.FILE, 5)}
    with pytest.raises(OSError):
        take_inventory(tmp_path / "absent")


@pytest.mark.parametrize(
    "schema",
    [
        pa.schema([("face_id", pa.int64()), ("vector", pa.list_(pa.float32()))]),
        pa.schema(
            [("face_id", pa.dictionary(pa.int32(), pa.string())), ("code", pa.binary(32)), ("n", pa.decimal128(9, 2))]
        ),
        pa.schema(
            [
                pa.field("face_id", pa.large_string(), nullable=False),
                pa.field("at", pa.timestamp("ms"), nullable=False),
                pa.field("ok", pa.bool_(), nullable=False),
                pa.field(
                    "faces", pa.list_(pa.struct([("v", pa.list_(pa.float16())), ("box", pa.list_(pa.int32(), 4))]))
                ),
            ]
        ),
    ],
)
def test_the_control_is_found_in_any_schema(tmp_path: Path, schema: pa.Schema) -> None:
    (tmp_path / "scratch").mkdir()
    pa.parquet.write_table(schema.empty_table(), tmp_path / "a.parquet", compression="zstd")
    control = run_control(tmp_path / "a.parquet", "face_id", tmp_path / "scratch", KEY)
    assert control.passed and control.planted >= 128
    assert not list((tmp_path / "scratch").iterdir())


def test_the_control_is_as_long_as_the_stored_vectors(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    faces_of = [[{"box": [0.5] * 4, "v": np.random.default_rng(i).standard_normal(64).tolist()}] for i in range(5)]
    kind = pa.list_(pa.struct([("box", pa.list_(pa.float32())), ("v", pa.list_(pa.float32()))]))
    table = pa.table({"face_id": list("abcde"), "faces": pa.array([None, *faces_of[1:]], kind)})
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    control = run_control(tmp_path / "a.parquet", "face_id", tmp_path / "scratch", KEY)
    assert control.passed


def test_a_baseline_says_what_was_there(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.write(store.before)
    baseline, fingerprints = take_baseline("a.parquet", read_rows(store.root / "a.parquet"), "face_id", is_listed, KEY)
    assert (baseline.rows, baseline.listed, baseline.survivors.rows) == (400, 50, 350)
    assert (baseline.vector_columns, baseline.vectors, baseline.untraceable) == (("vector",), 50, 0)
    assert fingerprints.vectors == 50


def test_the_verifier_imports_nothing_of_what_it_checks() -> None:
    folder = Path(__file__).parent.parent / "stores" / "audit"
    ours = {"stores", "schemas", "classifiers", "pipelines", "runners"}
    modules = sorted(folder.glob("*.py"))
    assert len(modules) > 10
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module.name} has a relative import"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                if name.split(".")[0] in ours:
                    assert name.startswith(("stores.audit.", "schemas.")), f"{module.name} imports {name}"
