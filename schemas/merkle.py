"""Merkle tree hashes as in RFC 9162 section 2.1.1: SHA-256, leaves and nodes told apart by a first byte."""

import functools
import hashlib
from collections.abc import Iterable, Sequence


def leaf_hash(content: bytes) -> bytes:
    """`SHA-256(0x00 || content)`."""
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """`SHA-256(0x01 || left || right)`."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class TreeHash:
    """Merkle tree hash of leaf hashes that come in pieces; what it keeps grows with the logarithm of their number.

    RFC 9162 splits n leaves at the largest power of two below n. So nodes are paired level by level, the one that is
    left over at a level waits for the next piece, and those that wait at the end are folded from the right.
    """

    def __init__(self) -> None:
        self._waiting: list[bytes | None] = []

    def update(self, leaves: Iterable[bytes]) -> None:
        """Append a piece of leaf hashes, in their order; the piece itself is held in memory."""
        level, nodes = 0, list(leaves)
        while nodes:
            if level == len(self._waiting):
                self._waiting.append(None)
            if (before := self._waiting[level]) is not None:
                nodes.insert(0, before)
            self._waiting[level] = nodes.pop() if len(nodes) % 2 else None
            nodes = [node_hash(left, right) for left, right in zip(nodes[::2], nodes[1::2], strict=True)]
            level += 1

    def digest(self) -> bytes:
        """The root over all leaves so far."""
        waiting = [node for node in self._waiting if node is not None]
        if not waiting:
            return hashlib.sha256().digest()
        return functools.reduce(lambda right, left: node_hash(left, right), waiting)


def tree_hash(leaves: Iterable[bytes]) -> bytes:
    """Merkle tree hash of leaf hashes in their order."""
    tree = TreeHash()
    tree.update(leaves)
    return tree.digest()


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
