"""FAISS index files as the verifier reads them: the numbers and vectors, or codes, that are in their bytes.

A scan of the bytes finds float vectors, which lie in a file as they are in memory. Numbers are 64-bit integers, which
no scan for text finds: where they are the ids, they are decoded and compared as decimal text.
"""

from typing import TYPE_CHECKING, NamedTuple

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.errors import InputError
from stores.audit.arrays import binary_runs
from stores.audit.pages import Place
from stores.audit.siphash import Bytes

if TYPE_CHECKING:
    from stores.audit.examine import Examination

NUMBER = "faiss_id"
"""What the column of numbers is called; as the key column it says that the numbers are the ids."""
_FLAT = (faiss.IndexFlat, faiss.IndexFlatL2, faiss.IndexFlatIP)


class Stored(NamedTuple):
    """What is in an index: n numbers, and a column of n vectors (lists of float32) or codes (byte strings)."""

    numbers: npt.NDArray[np.int64]
    vectors: pa.Array


def open_index(data: Bytes) -> faiss.Index:
    """The index in the bytes of a whole file. Raises InputError."""
    try:
        return faiss.deserialize_index(np.ascontiguousarray(data))
    except (RuntimeError, MemoryError, AssertionError) as error:
        raise InputError("it looks like a FAISS index and cannot be read; take it out of the store") from error


def core_of(index: faiss.Index) -> faiss.Index:
    """The index inside a map of numbers; one without is its own."""
    return faiss.downcast_index(index.index) if is_mapped(index) else index


def is_mapped(index: faiss.Index) -> bool:
    """Whether the numbers are in a map around the index."""
    return isinstance(index, faiss.IndexIDMap)


def read_stored(index: faiss.Index) -> Stored:
    """Numbers and vectors of an index. Raises InputError for a type whose vectors are coded with a loss, or elsewhere.

    The code of an LSH is all that it keeps of a vector, so it stands for it.
    """
    core = core_of(index)
    if (
        type(core) is faiss.IndexIVFFlat
        and type(faiss.downcast_InvertedLists(core.invlists)) is faiss.ArrayInvertedLists
    ):
        lists, sizes = core.invlists, [core.invlists.list_size(i) for i in range(core.nlist)]
        ids = [faiss.rev_swig_ptr(lists.get_ids(i), size).copy() for i, size in enumerate(sizes) if size]
        codes = [faiss.rev_swig_ptr(lists.get_codes(i), size * core.code_size) for i, size in enumerate(sizes) if size]
        places = np.concatenate([np.zeros(0, np.int64), *ids])
        column = _floats(np.concatenate([np.zeros(0, np.uint8), *codes]), core.d)
    elif type(core) is faiss.IndexHNSWFlat and type(faiss.downcast_index(core.storage)) in _FLAT:
        places = np.arange(core.ntotal)
        column = _floats(faiss.vector_to_array(faiss.downcast_index(core.storage).codes), core.d)
    elif type(core) in _FLAT:
        places, column = np.arange(core.ntotal), _floats(faiss.vector_to_array(core.codes), core.d)
    elif type(core) is faiss.IndexLSH:
        kind = pa.binary(core.code_size)
        codes = faiss.vector_to_array(core.codes)
        places = np.arange(core.ntotal)
        column = pa.Array.from_buffers(kind, core.ntotal, [None, pa.py_buffer(codes)])
    else:
        raise InputError(f"it is an {type(core).__name__}, whose vectors are coded or in another file")
    return Stored(faiss.vector_to_array(index.id_map)[places] if is_mapped(index) else places, column)


def examine(data: Bytes, examination: "Examination") -> None:
    """Compare the numbers in an index with the ids, where they are the ids; its bytes were scanned already."""
    try:
        stored = read_stored(open_index(data))
    except InputError as error:
        examination.problems.append(str(error))
        return
    if examination.key_column == NUMBER:
        texts = pa.array(stored.numbers).cast(pa.string()).cast(pa.large_binary())
        examination.add_equal(binary_runs(texts), Place("numbers", column=NUMBER))


def _are_inside(lists: faiss.InvertedLists) -> bool:
    return type(faiss.downcast_InvertedLists(lists)) is faiss.ArrayInvertedLists


def _floats(codes: npt.NDArray[np.uint8], dimension: int) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(codes.view("<f4")), dimension)
