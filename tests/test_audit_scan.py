"""The search: fragments of vectors at any offset and width, ids that stand alone, and nothing else."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stores.audit.arrays import binary_runs
from stores.audit.fingerprints import Fingerprints, fingerprint, guaranteed_fragment, is_vector_column, join
from stores.audit.needles import Needles, find_values, make_needles
from stores.audit.scan import EXACT_ID, ID, VECTOR, scan
from stores.audit.siphash import new_key

KEY = b"a key of 16 byte"
NO_IDS = pa.array([], pa.string())
NOTHING = fingerprint([], KEY)


def vectors(count: int, seed: int = 0, width: str = "<f4") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 512)).astype(width)


def column(values: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def as_bytes(text: bytes) -> np.ndarray:
    return np.frombuffer(text, np.uint8)


def found_ids(text: bytes, *ids: str | bytes) -> list[tuple[int, int]]:
    array = pa.array([i if isinstance(i, bytes) else i.encode() for i in ids], pa.large_binary())
    tables = make_needles(array, NOTHING, KEY).tables
    hits = scan(as_bytes(text), tables)
    places = {number: place for place, number in enumerate(find_values(binary_runs(array), tables).tolist())}
    return [(kind, places[number]) for kind, number in zip(hits.kinds.tolist(), hits.numbers.tolist(), strict=True)]


def needles_of(listed: pa.Array) -> Needles:
    return make_needles(NO_IDS, fingerprint([listed], KEY), KEY)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2048 - guaranteed_fragment(2048)), st.integers(0, 60), st.integers(0, 19))
def test_every_fragment_of_the_guaranteed_size_is_found(start: int, shift: int, which: int) -> None:
    listed = vectors(20)
    needles = needles_of(column(listed))
    fragment = listed[which].tobytes()[start : start + guaranteed_fragment(2048)]
    hay = np.random.default_rng(1).bytes(shift) + fragment + b"tail"
    hits = scan(as_bytes(hay), needles.tables)
    assert set(hits.numbers.tolist()) == {which}
    assert set(hits.kinds.tolist()) == {VECTOR}


def test_half_a_vector_at_an_odd_offset() -> None:
    listed = vectors(3)
    hay = b"x" * 7 + listed[1].tobytes()[1023:2047]
    assert set(scan(as_bytes(hay), needles_of(column(listed)).tables).numbers.tolist()) == {1}


@pytest.mark.parametrize("width", ["<f2", "<f4", "<f8"])
@pytest.mark.parametrize("copy", ["<f2", "<f4", "<f8"])
def test_a_copy_in_another_width_is_found(width: str, copy: str) -> None:
    listed = vectors(5, width=width)
    hits = scan(as_bytes(b"?" + listed.astype(copy).tobytes()), needles_of(column(listed)).tables)
    assert set(hits.numbers.tolist()) == set(range(5))


@pytest.mark.parametrize(
    "held",
    [
        lambda v: column(v).cast(pa.list_(pa.float32())),
        lambda v: column(v).cast(pa.large_list(pa.float32())),
        lambda v: pa.array([one.tobytes() for one in v], pa.binary(2048)),
        lambda v: pa.array([one.tobytes() for one in v], pa.binary()),
        lambda v: pa.array(
            [{"face": one.tolist(), "quality": 0.5} for one in v],
            pa.struct([("face", pa.list_(pa.float32())), ("quality", pa.float32())]),
        ),
        lambda v: pa.array([[v[0].tolist(), v[1].tolist()], None, [v[2].tolist()]], pa.list_(pa.list_(pa.float32()))),
    ],
)
def test_vectors_are_found_however_the_column_holds_them(held: object) -> None:
    listed = vectors(3)
    array = held(listed)  # type: ignore[operator]
    assert is_vector_column(array.type)
    found = fingerprint([array], KEY)
    assert (found.vectors, found.bare) == (3, 0)
    hits = scan(as_bytes(listed.tobytes()), make_needles(NO_IDS, found, KEY).tables)
    assert set(hits.numbers.tolist()) == {0, 1, 2}


def test_nulls_among_the_elements_are_left_out_as_parquet_does() -> None:
    values = [float(x) for x in vectors(1)[0]]
    values[7] = None  # type: ignore[call-overload]
    stored = np.array([x for x in values if x is not None], "<f4").tobytes()
    needles = needles_of(pa.array([None, values], pa.list_(pa.float32())))
    assert len(scan(as_bytes(stored), needles.tables).numbers)


def test_hashes_of_16_bytes_are_found_and_shorter_ones_are_counted() -> None:
    random = np.random.default_rng(3)
    hashes = [random.bytes(16) for _ in range(50)]
    found = fingerprint([pa.array(hashes, pa.binary(16)), pa.array([b"12345678"], pa.binary(8))], KEY)
    assert (found.vectors, found.bare) == (51, 1)
    hits = scan(as_bytes(b"-".join(hashes)), make_needles(NO_IDS, found, KEY).tables)
    assert set(hits.numbers.tolist()) == set(range(50))


def test_uniform_vectors_match_nothing_and_are_counted() -> None:
    flat = np.stack([np.zeros(512, "<f4"), np.ones(512, "<f4"), vectors(1)[0]])
    found = fingerprint([column(flat)], KEY)
    assert (found.vectors, found.bare) == (3, 2)
    assert not len(scan(np.zeros(100_000, np.uint8), make_needles(NO_IDS, found, KEY).tables).numbers)


def test_pictures_that_share_a_header_are_told_apart() -> None:
    random = np.random.default_rng(4)
    header = random.bytes(700)
    pictures = [header + random.bytes(900 + i) for i in range(4)]
    tables = make_needles(NO_IDS, fingerprint([pa.array(pictures[:2])], KEY), KEY).tables
    assert not len(scan(as_bytes(b"".join(pictures[2:])), tables).numbers)
    assert set(scan(as_bytes(b"".join(pictures)), tables).numbers.tolist()) == {0, 1}


def test_boxes_and_landmarks_are_no_vectors() -> None:
    boxes = pa.array([[34.71, 51.26, 112.13, 96.48]] * 3, pa.list_(pa.float32()))
    assert fingerprint([boxes], KEY).vectors == 0


def test_other_vectors_match_nothing() -> None:
    needles = needles_of(column(vectors(500)))
    assert not len(scan(vectors(5000, seed=1).view(np.uint8).reshape(-1), needles.tables).numbers)


def test_fingerprints_are_useless_with_another_key_and_join_across_files() -> None:
    listed = vectors(4)
    first, second = fingerprint([column(listed[:2])], KEY), fingerprint([column(listed[2:])], KEY)
    both = join([first, Fingerprints(first.windows.slice(0, 0), 0, 0), second])
    hay = as_bytes(listed.tobytes())
    assert set(scan(hay, make_needles(NO_IDS, both, KEY).tables).numbers.tolist()) == {0, 1, 2, 3}
    assert not len(scan(hay, make_needles(NO_IDS, both, new_key()).tables).numbers)


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        (b"face_0012", [(ID, 0)]),
        (b'{"id": "face_0012"}', [(ID, 0)]),
        (b"cdn/face_0012.jpg", [(ID, 0)]),
        (b"face_00123", []),
        (b"xface_0012", []),
        (b"face_0012-b", []),
        (b"\x09\0\0\0face_0012\x09\0\0\0face_0013", [(EXACT_ID, 0)]),
        (b"\x09\0\0\0face_00120\0\0\0" + b"x" * 48, [(EXACT_ID, 0)]),
        (b"\x0a\0\0\0face_00123", []),
        (b"", []),
    ],
)
def test_an_id_counts_only_when_it_stands_alone(text: bytes, hits: list[tuple[int, int]]) -> None:
    assert found_ids(text, "face_0012") == hits


@pytest.mark.parametrize("length", range(4, 8))
def test_a_short_id_counts_only_behind_its_length(length: int) -> None:
    name = b"1234567"[:length]
    assert found_ids(b"in " + name + b" AD", name) == []
    assert found_ids(b"zz" + length.to_bytes(4, "little") + name, name) == [(EXACT_ID, 0)]


def test_ids_that_end_alike_are_told_apart() -> None:
    ids = ["a_photo.jpg", "bb_photo.jpg", "_photo.jpg", "d" * 300 + "_photo.jpg"]
    text = b", ".join(name.encode() for name in ids) + b", c_photo.jpg"
    assert sorted(number for _, number in found_ids(text, *ids)) == [0, 1, 2, 3]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=8, max_size=40), min_size=1, max_size=20, unique=True), st.data())
def test_any_bytes_may_be_an_id(ids: list[bytes], data: st.DataObject) -> None:
    present = data.draw(st.sets(st.integers(0, len(ids) - 1)))
    text = b"".join(len(ids[i]).to_bytes(4, "little") + ids[i] for i in present)
    exact = {number for kind, number in found_ids(text, *ids) if kind == EXACT_ID}
    assert exact >= present
