"""The FAISS index that DeepFace keeps beside its embeddings: a second copy of every vector, in one serialised value.

DeepFace's `build_index` makes `IndexIDMap(IndexHNSWFlat(d, 32))` and only ever adds to it: after a plain DELETE the
vectors are all still there, and a search returns them without a name. An HNSW graph cannot give up a node, so an
index that holds somebody who is gone is built anew from the rows that stay, as `build_index` would.
Source: deepface 0.0.103, modules/datastore.py.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import faiss
import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
Criteria = tuple[Any, ...]
"""Model, detector, whether aligned, whether normalised: an index is of the rows that have these."""

COLUMNS = "id, index_data, model_name, detector_backend, align, l2_normalized"
"""Of the table of indexes, as `find_stale` takes its rows."""

_NEIGHBOURS = 32
_AT_ONCE = 1000


class Stale(NamedTuple):
    """An index that holds rows which are not there."""

    row: int
    """Its own id in the table of indexes."""
    ids: Ids
    """Ascending: the rows that it should hold."""
    data: bytes
    """The index, serialised."""
    criteria: Criteria


def matching(mark: str) -> str:
    """The condition for the rows of an index, in SQL, with the mark that a database has for a value."""
    return " AND ".join(f"{name} = {mark}" for name in ("model_name", "detector_backend", "aligned", "l2_normalized"))


def find_stale(
    indexes: Iterable[tuple[Any, ...]], ids_of: Callable[[Criteria], Iterable[tuple[Any, ...]]]
) -> list[Stale]:
    """Those of the table of indexes that hold rows which are not there; `ids_of` gives those that are, ascending."""
    found = []
    for row, data, *criteria in indexes:
        ids = np.array([one for (one,) in ids_of(tuple(criteria))], np.int64)
        serialised = bytes(data or b"")
        if _is_stale(serialised, ids):
            found.append(Stale(row, ids, serialised, tuple(criteria)))
    return found


def _is_stale(index: bytes, ids: Ids) -> bool:
    """Whether a serialised index holds any row but those with `ids`; one that cannot be read is stale."""
    known = _read(index)
    return known is None or not np.isin(faiss.vector_to_array(known.id_map), ids).all()


def build(replaced: bytes, ids: Ids, vectors: Iterable[npt.NDArray[np.float32]]) -> bytes:
    """Index n rows afresh and serialise that; `vectors` come in blocks of shape `(m, d)`, in the order of `ids`.

    The graph gets the parameters of the one it replaces, or DeepFace's own if that cannot be read. Raises ValueError
    if the vectors differ in length.
    """
    settings = _settings(replaced)
    index, start = None, 0
    for block in vectors:
        if index is None:
            graph = faiss.IndexHNSWFlat(block.shape[1], settings[0])
            graph.hnsw.efConstruction = settings[1] or graph.hnsw.efConstruction
            graph.hnsw.efSearch = settings[2] or graph.hnsw.efSearch
            index = faiss.IndexIDMap(graph)
        if block.shape[1] != index.d:
            raise ValueError("vectors of one model differ in length")
        for at in range(0, len(block), _AT_ONCE):
            part = block[at : at + _AT_ONCE]
            index.add_with_ids(part, ids[start : start + len(part)])
            start += len(part)
    if index is None:
        raise ValueError("an index of nobody")
    return bytes(faiss.serialize_index(index).tobytes())


def _settings(serialised: bytes) -> tuple[int, int, int]:
    """Neighbours of a node, and the effort of building and searching; 0 for what cannot be told."""
    known = _read(serialised)
    graph = faiss.downcast_index(known.index) if known is not None else None
    if not isinstance(graph, faiss.IndexHNSW):
        return _NEIGHBOURS, 0, 0
    neighbours = graph.hnsw.nb_neighbors(1)
    return neighbours, graph.hnsw.efConstruction, graph.hnsw.efSearch


def _read(serialised: bytes) -> "faiss.IndexIDMap | None":
    try:
        index = faiss.deserialize_index(np.frombuffer(serialised, np.uint8))
    except (RuntimeError, ValueError):
        return None
    return index if isinstance(index, faiss.IndexIDMap) else None
