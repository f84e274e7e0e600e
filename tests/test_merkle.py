"""The Merkle tree, against RFC 9162's recursive definition."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.merkle import inclusion_path, leaf_hash, node_hash, root_from_path, tree_hash

leaves = st.lists(st.binary(max_size=4).map(leaf_hash), min_size=1, max_size=40)


def by_definition(hashes: list[bytes]) -> bytes:
    """MTH(D[n]) = HASH(0x01 || MTH(D[0:k]) || MTH(D[k:n])), k the largest power of two smaller than n."""
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return node_hash(by_definition(hashes[:k]), by_definition(hashes[k:]))


def test_an_empty_tree_is_the_hash_of_nothing() -> None:
    assert tree_hash([]) == hashlib.sha256(b"").digest()


@given(leaves)
def test_the_root_is_the_one_of_the_definition(hashes: list[bytes]) -> None:
    assert tree_hash(iter(hashes)) == by_definition(hashes)


@given(leaves, st.data())
def test_an_entry_is_proven_by_its_path_and_no_other_entry_is(hashes: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(hashes) - 1))
    path = inclusion_path(hashes, index)
    assert root_from_path(hashes[index], index, len(hashes), path) == tree_hash(hashes)
    assert root_from_path(leaf_hash(b"another"), index, len(hashes), path) != tree_hash(hashes)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 13])
def test_any_change_moves_the_root(size: int) -> None:
    hashes = [leaf_hash(bytes([i])) for i in range(size)]
    for changed in (hashes[:-1], [*hashes, hashes[0]], hashes[::-1] if size > 1 else []):
        assert tree_hash(changed) != tree_hash(hashes)
