from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import InputError
from stores import keys as keys_module
from stores.keys import KeySet

texts = st.one_of(st.none(), st.text(max_size=12), st.sampled_from(["a", "b", "", "\x00", "é"]))


@settings(max_examples=60, deadline=None)
@given(st.lists(texts, max_size=40), st.lists(texts, max_size=40))
def test_contains_exactly_the_ids_written(tmp_path_factory: pytest.TempPathFactory, ids: list, probes: list) -> None:
    path = tmp_path_factory.mktemp("keys") / "keys.arrow"
    keys = KeySet.write(path, [pa.array(ids, pa.string())])
    expected = set(ids) - {None}
    assert len(keys) == len(expected)
    assert keys.contains(pa.array(probes, pa.string())).tolist() == [p is not None and p in expected for p in probes]


def test_equal_sets_give_equal_bytes(tmp_path: Path) -> None:
    first = KeySet.write(tmp_path / "a", [pa.array(["x", "y", "z"])])
    second = KeySet.write(tmp_path / "b", [pa.array(["z", None, "x"]), pa.array(["y", "x"], pa.large_string())])
    other = KeySet.write(tmp_path / "c", [pa.array(["x", "y"])])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert first.digest == second.digest != other.digest


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["12", "13", None, "xx"]),
        pa.array(["12", "13", None, "xx"], pa.large_string()),
        pa.array(["12", "13", None, "xx"], pa.string_view()),
        pa.array(["12", "13", None, "xx"]).dictionary_encode(),
        pa.array([b"12", b"13", None, b"xx"], pa.binary()),
        pa.array([b"12", b"13", None, b"xx"], pa.binary_view()),
        pa.array([b"12", b"13", None, b"xx"], pa.binary(2)),
        pa.array([12, 13, None, 14], pa.int64()),
        pa.array([12, 13, None, 14], pa.uint16()),
        pa.array([12, 13, None, 14], pa.int64()).dictionary_encode(),
        pa.chunked_array([["12"], ["13", None, "xx"]]),
        pa.array(["zz", "12", "13", None, "xx"])[1:],
    ],
    ids=lambda column: str(column.type),
)
def test_ids_of_every_key_type(tmp_path: Path, column: pa.Array) -> None:
    keys = KeySet.write(tmp_path / "keys", [pa.array(["12"])])
    assert keys.contains(column).tolist() == [True, False, False, False]
    written = KeySet.write(tmp_path / "other", [column])
    assert len(written) == 3
    assert written.contains(pa.array(["12"])).all()


def test_ids_from_strangers(tmp_path: Path) -> None:
    broken = pa.array([b"\xff\xfe", b"\xed\xa0\x80", b"a\x00b", b"x" * 200_000]).cast(pa.binary())
    offsets, content = broken.buffers()[1:]
    as_text = pa.Array.from_buffers(pa.string(), len(broken), [None, offsets, content])
    keys = KeySet.write(tmp_path / "keys", [as_text])
    assert keys.contains(as_text).all()
    assert keys.contains(broken).all()
    assert not keys.contains(pa.array([b"\xff", b"a", b"x" * 199_999])).any()


def test_a_shared_hash_does_not_delete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real comparison must decide when hashes collide, here because all of them do."""
    monkeypatch.setattr(keys_module, "hash_strings", lambda ids: np.zeros(len(ids), np.uint64))
    keys = KeySet.write(tmp_path / "keys", [pa.array(["a", "b", "c", "a"])])
    assert len(keys) == 3
    assert keys.contains(pa.array(["c", "d", None, "a", ""])).tolist() == [True, False, False, True, False]


def test_an_empty_set(tmp_path: Path) -> None:
    keys = KeySet.write(tmp_path / "keys", [])
    assert len(keys) == 0
    assert not keys.contains(pa.array(["a", None])).any()


def test_a_type_that_cannot_hold_ids(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="double"):
        KeySet.write(tmp_path / "keys", [pa.array([1.5])])


@pytest.mark.parametrize("content", [b"", b"not arrow at all", b"ARROW1\0\0cut"])
def test_what_is_no_key_set_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys").write_bytes(content)
    with pytest.raises(InputError, match="set of keys"):
        KeySet.open(tmp_path / "keys")


def test_another_arrow_file_is_refused(tmp_path: Path) -> None:
    with pa.ipc.new_file(str(tmp_path / "keys"), pa.schema([("id", pa.string())])) as writer:
        writer.write_table(pa.table({"id": ["a"]}))
    with pytest.raises(InputError, match="no set of keys"):
        KeySet.open(tmp_path / "keys")
    with pytest.raises(InputError, match="set of keys"):
        KeySet.open(tmp_path / "absent")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(texts, max_size=12), max_size=8), st.lists(texts, max_size=40), st.booleans())
def test_a_set_of_many_parts_is_the_same_set(
    tmp_path_factory: pytest.TempPathFactory, batches: list, probes: list, collide: bool
) -> None:
    """Runs that are merged from disk, and parts that cut through equal hashes, change no answer."""
    folder = tmp_path_factory.mktemp("keys")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys_module, "PART_ROWS", 3)
        if collide:
            patch.setattr(keys_module, "hash_strings", lambda ids: np.full(len(ids), 7, np.uint64))
        keys = KeySet.write(folder / "keys", [pa.array(ids, pa.string()) for ids in batches])
        everything = [each for ids in batches for each in ids]
        again = KeySet.write(folder / "again", [pa.array(everything[::-1] * 2, pa.string())])
        expected = set(everything) - {None}
        assert len(keys) == len(expected)
        assert keys.contains(pa.array(probes, pa.string())).tolist() == [probe in expected for probe in probes]
        assert keys.lengths.tolist() == sorted({len(each.encode()) for each in expected})
        assert sorted(keys.longer_than(1)) == sorted(each.encode() for each in expected if len(each.encode()) > 1)
        assert (folder / "keys").read_bytes() == (folder / "again").read_bytes()
        assert keys.digest == again.digest
    assert sorted(file.name for file in folder.iterdir()) == ["again", "keys"]
