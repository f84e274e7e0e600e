"""The keyed hash and the UTF-8 check, against independent ones."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from schemas.hashing import hash_strings
from schemas.text import is_valid_text, mend_text

texts = st.lists(st.one_of(st.none(), st.text(max_size=40)), max_size=30)


def test_the_hash_never_changes() -> None:
    """Manifests, spills and vector files are sharded by it: these are the values of the first version."""
    hashes = hash_strings(pa.array(["", "a", "face-0001", "é" * 20], pa.large_string()))
    assert [int(value) for value in hashes] == [
        196041964266230458,
        12915391704895137559,
        12299268418430421982,
        13551416978148526330,
    ]


@given(texts)
def test_a_hash_depends_on_the_text_alone(values: list[str | None]) -> None:
    whole = hash_strings(pa.array(values, pa.large_string()))
    for index, value in enumerate(values):
        assert hash_strings(pa.array([value or ""], pa.string()))[0] == whole[index]
    assert (hash_strings(pa.array(values, pa.large_string()).slice(1)) == whole[1:]).all()


@given(st.lists(st.text(max_size=20), unique=True, max_size=50))
def test_different_texts_and_keys_hash_differently(values: list[str]) -> None:
    array = pa.array(values, pa.large_string())
    every = [*hash_strings(array), *hash_strings(array, second=True), *hash_strings(array, seed=1)]
    assert len(set(every)) == len(every)


@given(st.lists(st.one_of(st.none(), st.binary(max_size=12)), max_size=30))
def test_malformed_text_is_found_and_mended_as_python_does(values: list[bytes | None]) -> None:
    raw = pa.array(values, pa.large_binary())
    array = pa.Array.from_buffers(pa.large_string(), len(raw), raw.buffers(), offset=raw.offset)
    for value, valid in zip(values, is_valid_text(array), strict=True):
        assert valid == (value is None or _decodes(value))
    assert mend_text(array).to_pylist() == [
        None if value is None else value.decode("utf-8", "replace") for value in values
    ]


def _decodes(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
