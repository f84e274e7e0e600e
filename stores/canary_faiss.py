"""Canaries in a FAISS index: vectors with new numbers, and rows in the file that says whose the numbers are.

Neither file can be appended to in place, so both are written aside with everything that was there, and renamed: first
the names, then the index, as a number that nobody is named for could not be found again.
"""

from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import InputError
from schemas.files import digest_file, replacing
from schemas.job import StoreSection
from stores.canaries import Planting, draw_rows
from stores.canary_databases import refusals
from stores.faiss import NUMBER, FaissStore
from stores.faiss_index import UnusableIndexError, read_faces, read_index, write_index
from stores.parquet_inventory import list_files

_NUMBERED = (faiss.IndexIDMap, faiss.IndexIDMap2, faiss.IndexIVFFlat)
"""Indexes that take any number; in others it is the position."""


def plan_faiss(store: StoreSection, keys: Sequence[str], token: str) -> Planting:
    """Vectors added to the index, which is read for it, with the numbers that follow all known ones."""
    (unit,) = FaissStore(store).units()[:1]
    if not store.ids:
        raise InputError("its numbers are the ids of the manifest, and the id of a canary is a text")
    place, ids = Path(unit), list_files(store.ids).files[0]
    with refusals():
        found = digest_file(place), digest_file(ids)
        index = read_index(place)
        names = pq.read_schema(ids)
        people = pa.schema([names.field(store.key), ("vector", pa.list_(pa.float32(), index.d))])
        drawn = pa.concat_tables(draw_rows(people, store.key, None, keys, token))
        numbers = _add(index, drawn["vector"].combine_chunks(), pq.read_table(ids, columns=[NUMBER])[NUMBER])
        stored = read_faces(index).only(np.isin(read_faces(index).numbers, numbers))
        vectors = stored.column(slice(None)).take(pa.array(np.argsort(stored.numbers)))
    rows = pa.table({store.key: drawn[store.key], NUMBER: pa.array(numbers), "vector": vectors})

    def write() -> None:
        with refusals():
            if (digest_file(place), digest_file(ids)) != found:
                raise InputError("its index or file of ids changed meanwhile: stop its writers")
            with replacing(ids) as aside:
                _append(ids, rows, aside)
            with replacing(place) as aside:
                write_index(index, aside)

    return Planting((unit, str(ids)), rows, write)


def _add(index: faiss.Index, vectors: pa.Array, named: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Add `vectors` to `index`, and return the numbers they got. `named` are the numbers that somebody has."""
    try:
        known = read_faces(index).numbers
    except UnusableIndexError as error:
        raise InputError(str(error)) from error
    first = max([-1, *known.tolist(), *named.to_pylist()]) + 1
    numbers = np.arange(first, first + len(vectors), dtype=np.int64)
    values = vectors.flatten().to_numpy().reshape(len(vectors), index.d)
    if isinstance(index, _NUMBERED):
        index.add_with_ids(values, numbers)
    elif first == index.ntotal:
        index.add(values)
    else:
        raise InputError("its numbers are positions, and the file of ids names some that are beyond its end")
    return numbers


def _append(file: Path, rows: pa.Table, aside: Path) -> None:
    """Write `file` with `rows` at its end, in its own schema; what they do not tell is null."""
    with pq.ParquetFile(file) as old:
        schema = old.schema_arrow
        codec = old.metadata.row_group(0).column(0).compression if old.num_row_groups else "SNAPPY"
        with pq.ParquetWriter(aside, schema, compression=codec.replace("UNCOMPRESSED", "NONE")) as new:
            for group in range(old.num_row_groups):
                new.write_table(old.read_row_group(group))
            told = [
                rows[one.name].cast(one.type) if one.name in rows.column_names else pa.nulls(len(rows), one.type)
                for one in schema
            ]
            new.write_table(pa.Table.from_arrays(told, schema=schema))
