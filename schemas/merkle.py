"""Merkle tree hashes as in RFC 9162 section 2.1.1: SHA-256, leaves and nodes told apart by a first byte."""

import hashlib
from collections.abc import Iterable, Sequence


def leaf_hash(content: bytes) -> bytes:
    """`SHA-256(0x00 || content)`."""
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """`SHA-256(0x01 || left || right)`."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_hash(leaves: Iterable[bytes]) -> bytes:
    """Merkle tree hash of leaf hashes in their order, in memory that grows with the logarithm of their number.

    RFC 9162 splits n leaves at the largest power of two below n; a stack of complete subtrees, merged when two have
    the same size and folded from the right at the end, gives the same tree.
    """
    stack: list[tuple[int, bytes]] = []
    for leaf in leaves:
        size, digest = 1, leaf
        while stack and stack[-1][0] == size:
            digest = node_hash(stack.pop()[1], digest)
            size *= 2
        stack.append((size, digest))
    if not stack:
        return hashlib.sha256().digest()
    root = stack.pop()[1]
    while stack:
        root = node_hash(stack.pop()[1], root)
    return root


def inclusion_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of RFC 9162 section 2.1.3 for the leaf at `index`: what an auditor needs beside the leaf."""
    if len(leaves) <= 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*inclusion_path(leaves[:split], index), tree_hash(leaves[split:])]
    return [*inclusion_path(leaves[split:], index - split), tree_hash(leaves[:split])]


def root_from_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that `leaf` at `index` of `size` leaves leads to by `path` (RFC 9162 section 2.1.3.2)."""
    if size <= 1:
        return leaf
    split = 1 << (size - 1).bit_length() - 1
    if index < split:
        return node_hash(root_from_path(leaf, index, split, path[:-1]), path[-1])
    return node_hash(path[-1], root_from_path(leaf, index - split, size - split, path[:-1]))
