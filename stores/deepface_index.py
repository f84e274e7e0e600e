"""The FAISS index that DeepFace keeps beside its embeddings: a second copy of every vector, in one serialised value.

DeepFace's `build_index` makes `IndexIDMap(IndexHNSWFlat(d, 32))` and only ever adds to it: after a plain DELETE the
vectors are all still there, and a search returns them without a name. An HNSW graph cannot give up a node, so an
index that holds somebody who is gone is built anew from the rows that stay, as `build_index` would.
Source: deepface 0.0.103, modules/datastore.py.
"""

from collections.abc import Iterable

import faiss
import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]

_NEIGHBOURS = 32
_AT_ONCE = 1000


def is_stale(index: bytes, ids: Ids) -> bool:
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
