"""A FAISS index in memory: whose vectors it holds, and a new index of some of them.

The numbers of those who stay are the numbers they had, and so are their vectors or codes, to the bit. Everything else
is made anew, never edited: HNSW cannot remove, and the centroids of an IVF are computed from all faces that
it was trained on. What cannot be rebuilt exactly from what the index stores is refused.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.errors import LetheError

Numbers = npt.NDArray[np.int64]

_HEADER = struct.Struct("<c3xiqqq")
_SUPPORTED = "IndexFlat, IndexIVFFlat, IndexHNSWFlat and IndexLSH, each with or without IndexIDMap or IndexIDMap2"


class UnusableIndexError(LetheError):
    """An index of which nobody can be removed so that all others stay as they are; the message says what to do."""


@dataclass(frozen=True)
class Faces:
    """What an index says of n vectors, in its own order.

    `numbers`, shape `(n,)`, are what a search returns; `vectors` have shape `(n, d)`, float32, or are the n codes of an
    LSH, shape `(n, bytes)`, uint8.
    """

    numbers: Numbers
    vectors: npt.NDArray[np.float32] | npt.NDArray[np.uint8]

    def only(self, keep: npt.NDArray[np.bool_]) -> "Faces":
        """Those where `keep`, shape `(n,)`, is true."""
        return Faces(self.numbers[keep], self.vectors[keep])

    def same(self, other: "Faces") -> bool:
        """Whether both hold the same numbers with the same bytes, in any order."""
        return self.vectors.shape == other.vectors.shape and np.array_equal(self._sorted(), other._sorted())

    def column(self, part: slice) -> pa.Array:
        """Some of the vectors as lists of float32, codes as byte strings."""
        vectors = np.ascontiguousarray(self.vectors[part])
        if vectors.dtype == np.float32:
            return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        kind = pa.binary(vectors.shape[1])
        return pa.Array.from_buffers(kind, len(vectors), [None, pa.py_buffer(vectors)])

    def _sorted(self) -> npt.NDArray[np.void]:
        width = self.vectors.shape[1] * self.vectors.itemsize
        rows = np.empty(len(self.numbers), [("number", "<i8"), ("bytes", f"V{width}")])
        rows["number"], rows["bytes"] = self.numbers, np.ascontiguousarray(self.vectors).view(f"V{width}")[:, 0]
        return np.sort(rows, order="number")


def count_vectors(path: Path) -> int | None:
    """How many vectors the file at `path` says it holds; None if it is no FAISS index of floats. Raises OSError.

    Source: `write_index_header` in faiss/impl/index_write.cpp: four letters, dimension, number, and 1 << 20 twice.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
    if len(head) < _HEADER.size:
        return None
    letter, _, count, mark, again = _HEADER.unpack(head)
    return int(count) if letter == b"I" and mark == again == 1 << 20 else None


def read_index(path: Path) -> faiss.Index:
    """The index in the file at `path`; raises RuntimeError or OSError when it cannot be read."""
    return faiss.read_index(str(path))


def write_index(index: faiss.Index, path: Path) -> None:
    """Write `index` to `path`; not synced."""
    faiss.write_index(index, str(path))


def read_faces(index: faiss.Index) -> Faces:
    """Everybody in `index`. Raises UnusableIndexError for a type that lethe cannot rebuild."""
    core = _core(index)
    numbers = faiss.vector_to_array(index.id_map) if _is_mapped(index) else np.arange(index.ntotal, dtype=np.int64)
    match core:
        case faiss.IndexIVFFlat():
            stored, vectors = _read_lists(core)
            numbers = numbers[stored] if _is_mapped(index) else stored
        case faiss.IndexLSH():
            vectors = faiss.vector_to_array(core.codes).reshape(-1, core.code_size)
        case _:
            vectors = core.reconstruct_n(0, core.ntotal) if core.ntotal else np.zeros((0, core.d), np.float32)
    return Faces(numbers, vectors)


def rebuild(index: faiss.Index, keep: npt.NDArray[np.bool_]) -> tuple[faiss.Index, list[str]]:
    """A new index of those of `read_faces(index)` where `keep`, shape `(n,)`, is true; and what it does not have.

    Where numbers are positions and the type cannot hold others, they are kept by an IndexIDMap2 around it: positions
    that shift would give people the faces of others.
    """
    core, faces = _core(index), read_faces(index)
    numbers, vectors = faces.numbers[keep], np.ascontiguousarray(faces.vectors[keep])
    if isinstance(core, faiss.IndexIVFFlat):
        inner, dropped = _retrain(core, vectors)
        outer = type(index)(inner) if _is_mapped(index) else inner
    else:
        inner, dropped = faiss.clone_index(core), []
        inner.reset()
        outer = (type(index) if _is_mapped(index) else faiss.IndexIDMap2)(inner)
        if not _is_mapped(index):
            dropped.append(
                "positions as numbers: the index is in an IndexIDMap2 now, in which everybody keeps the number"
            )
    if len(numbers) and isinstance(core, faiss.IndexLSH):
        inner.add_sa_codes(vectors)
        faiss.copy_array_to_vector(numbers, outer.id_map)
        outer.ntotal = inner.ntotal
        if isinstance(outer, faiss.IndexIDMap2):
            outer.construct_rev_map()
    elif len(numbers):
        outer.add_with_ids(vectors, numbers)
    return outer, dropped


def _core(index: faiss.Index) -> faiss.Index:
    """What does the search, without the map of numbers around it."""
    core = faiss.downcast_index(index.index) if _is_mapped(index) else index
    kind = type(core)
    flat = (faiss.IndexFlat, faiss.IndexFlatL2, faiss.IndexFlatIP)
    if kind not in (*flat, faiss.IndexIVFFlat, faiss.IndexHNSWFlat, faiss.IndexLSH):
        raise UnusableIndexError(
            f"the index is an {kind.__name__}; lethe rebuilds {_SUPPORTED}: build this one again without those listed,"
            " from the vectors it was made of"
        )
    if kind is faiss.IndexIVFFlat:
        if type(faiss.downcast_InvertedLists(core.invlists)) is not faiss.ArrayInvertedLists:
            raise UnusableIndexError(
                "the lists of the index are in another file (OnDiskInvertedLists), in which removed vectors stay;"
                " load them into the index, write it again and delete that file"
            )
        if type(faiss.downcast_index(core.quantizer)) not in flat:
            raise UnusableIndexError(
                f"the centroids of the index are in an {type(faiss.downcast_index(core.quantizer)).__name__};"
                " lethe rebuilds an IVF whose quantizer is an IndexFlat"
            )
    if kind is faiss.IndexHNSWFlat and type(faiss.downcast_index(core.storage)) not in flat:
        raise UnusableIndexError("the HNSW keeps something else than plain vectors; lethe rebuilds HNSWFlat")
    if kind is faiss.IndexLSH and core.train_thresholds:
        raise UnusableIndexError(
            "the LSH was trained: its thresholds are computed from all faces, and without their vectors the codes of"
            " those who stay cannot be made again; build it from vectors"
        )
    return core


def _is_mapped(index: faiss.Index) -> bool:
    return type(index) in (faiss.IndexIDMap, faiss.IndexIDMap2)


def _read_lists(ivf: faiss.Index) -> tuple[Numbers, npt.NDArray[np.float32]]:
    """Numbers and vectors in all inverted lists, in their order."""
    lists = ivf.invlists
    sizes = [lists.list_size(i) for i in range(ivf.nlist)]
    filled = [i for i, size in enumerate(sizes) if size]
    if not filled:
        return np.zeros(0, np.int64), np.zeros((0, ivf.d), np.float32)
    numbers = [faiss.rev_swig_ptr(lists.get_ids(i), sizes[i]).copy() for i in filled]
    codes = [faiss.rev_swig_ptr(lists.get_codes(i), sizes[i] * ivf.code_size).copy() for i in filled]
    return np.concatenate(numbers), np.concatenate(codes).view(np.float32).reshape(-1, ivf.d)


def _retrain(ivf: faiss.Index, vectors: npt.NDArray[np.generic]) -> tuple[faiss.Index, list[str]]:
    """An empty IVF like `ivf`, with centroids of `vectors` alone."""
    nlist = min(ivf.nlist, len(vectors)) or ivf.nlist
    quantizer = faiss.clone_index(ivf.quantizer)
    quantizer.reset()
    new = faiss.IndexIVFFlat(quantizer, ivf.d, nlist, ivf.metric_type)
    new.metric_arg, new.nprobe, new.max_codes = ivf.metric_arg, min(ivf.nprobe, nlist), ivf.max_codes
    dropped = ["centroids: computed again from those who stay"]
    if nlist < ivf.nlist:
        dropped.append(f"{ivf.nlist - nlist} of {ivf.nlist} lists: too few are left to train more")
    if len(vectors):
        new.cp.min_points_per_centroid = 1
        new.train(vectors)
    else:
        dropped.append("training: nobody is left, train the index before adding to it")
    if ivf.direct_map.type != faiss.DirectMap.NoMap:
        # An array as direct map needs numbers without gaps; the hash table answers the same questions.
        new.set_direct_map_type(faiss.DirectMap.Hashtable)
        if ivf.direct_map.type == faiss.DirectMap.Array:
            dropped.append("direct map as an array: it is a hash table now, numbers have gaps")
    return new, dropped
