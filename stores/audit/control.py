"""A positive control: synthetic people, written the way the store writes, must be found or the scan proves nothing.

The control takes schema, codec, encodings, page version and statistics from one file of the store, fills it with random
ids and vectors, and is examined by the very code that examines the store. It is written to a scratch folder of the
caller's and removed again; it never touches the store.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stores.audit.arrays import byte_width, is_binary, is_list, is_text, list_runs, simplify
from stores.audit.baseline import Copies, take_baseline
from stores.audit.check import view_file
from stores.audit.examine import Examination
from stores.audit.fingerprints import is_vector_column
from stores.audit.needles import make_needles
from stores.audit.rows import Rows, read_rows
from stores.audit.siphash import Bytes

ROWS = 64
_DELTA = ("DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY")


@dataclass(frozen=True)
class Control:
    """How many synthetic ids and vectors were written and how many of them the scan found."""

    planted: int
    found: int

    @property
    def passed(self) -> bool:
        """Whether something was planted and all of it was found."""
        return self.planted > 0 and self.found == self.planted


def run_control(sample: Path, key_column: str, scratch: Path, key: bytes) -> Control:
    """Plant ROWS synthetic people in a copy of the layout of `sample`, a Parquet file of the store, and look for them.

    Raises InputError as `take_baseline` does, NotImplementedError for a type no value can be made for.
    """
    name = f"control-{uuid.uuid4().hex}.parquet"
    with pq.ParquetFile(sample, memory_map=True, pre_buffer=False) as file:
        table = synthetic_rows(file.schema_arrow, key_column, next(file.iter_batches(batch_size=ROWS), None))
        settings = _writer_settings(file)
    try:
        pq.write_table(table, scratch / name, **settings)
        return look_for(read_rows(scratch / name), key_column, [view_file(scratch / name)], key)
    finally:
        (scratch / name).unlink(missing_ok=True)


def look_for(
    planted: Rows,
    key_column: str,
    places: Iterable[Bytes],
    key: bytes,
    copies: Copies | None = None,
    *,
    packed: bool = False,
) -> Control:
    """Look for all rows of `planted`, their ids and vectors, in the bytes of `places`, as in those of a store."""
    batches = list(planted.batches)
    rows = Rows(planted.schema, planted.fields, iter(batches))
    _, vectors = take_baseline("control", rows, key_column, lambda keys: np.ones(len(keys), np.bool_), key, copies)
    keys = _plain(pa.Table.from_batches(batches, planted.fields).column(key_column).combine_chunks())
    needles = make_needles(keys if is_binary(keys.type) else keys.cast(pa.string()), vectors, key)
    found: dict[str, set[int]] = {"id": set(), "vector": set()}
    for data in places:
        examination = Examination(needles, key, key_column, packed=packed)
        examination.examine(data)
        for (kind, _), numbers in examination.found.items():
            found[kind] |= numbers
    return Control(needles.ids + needles.vectors, len(found["id"]) + len(found["vector"]))


def synthetic_rows(schema: pa.Schema, key_column: str, sample: pa.RecordBatch | None) -> pa.Table:
    """ROWS rows of random ids and vectors in `schema`; vectors are as long as those of `sample`, other columns null."""
    random = np.random.default_rng()
    columns = []
    for place, field in enumerate(schema):
        if field.name == key_column:
            columns.append(_random_keys(field.type, random))
        elif is_vector_column(field.type):
            columns.append(_random_values(field.type, random, _length(sample, place)))
        elif field.nullable:
            columns.append(pa.nulls(ROWS, field.type))
        else:
            columns.append(_random_values(field.type, random, 1))
    return pa.Table.from_arrays(columns, schema=schema)


def _random_keys(kind: pa.DataType, random: np.random.Generator) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return _random_keys(kind.value_type, random).dictionary_encode().cast(kind)
    if is_binary(kind):
        return pa.array([f"control-{random.bytes(12).hex()}" for _ in range(ROWS)]).cast(kind)
    return _random_values(kind, random, 1)


def _length(sample: pa.RecordBatch | None, place: int) -> int:
    """How many elements, or bytes, the longest vector in a column of the sample has; 512 if it has none to tell."""
    if sample is None:
        return 512
    column = _plain(sample.column(place))
    while pa.types.is_struct(column.type) or (is_list(column.type) and is_vector_column(column.type.value_type)):
        if is_list(column.type):
            column = _plain(list_runs(column)[0])
        else:
            column = _plain(next(inner for inner in column.flatten() if is_vector_column(inner.type)))
    if is_list(column.type):
        lengths = pc.list_value_length(column)
    elif is_binary(column.type):
        lengths = pc.binary_length(column)
    else:
        return 512
    return pc.max(lengths).as_py() or 512


def _plain(array: pa.Array) -> pa.Array:
    array = simplify(array.drop_null())
    return simplify(array.dictionary_decode()) if pa.types.is_dictionary(array.type) else array


def _random_values(kind: pa.DataType, random: np.random.Generator, length: int, rows: int = ROWS) -> pa.Array:
    """`rows` random values of type `kind`; lists and byte strings have `length` elements."""
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, _random_values(kind.storage_type, random, length, rows))
    if pa.types.is_dictionary(kind):
        return _random_values(kind.value_type, random, length, rows).dictionary_encode().cast(kind)
    if pa.types.is_struct(kind):
        return pa.StructArray.from_arrays(
            [_random_values(field.type, random, length, rows) for field in kind], fields=list(kind)
        )
    if is_list(kind):
        each = kind.list_size if pa.types.is_fixed_size_list(kind) else length
        inner = 1 if pa.types.is_nested(kind.value_type) and not pa.types.is_fixed_size_list(kind) else each
        elements = _random_values(kind.value_type, random, length, rows * inner)
        lists = pa.FixedSizeListArray.from_arrays(elements, inner)
        return lists if pa.types.is_fixed_size_list(kind) else lists.cast(kind)
    if pa.types.is_floating(kind):
        return pa.array(random.standard_normal(rows).astype(f"<f{byte_width(kind)}"), kind)
    if is_binary(kind):
        content = [random.bytes(length) for _ in range(rows)]
        return pa.array([one.hex() for one in content] if is_text(kind) else content).cast(kind)
    width = byte_width(kind)
    if pa.types.is_boolean(kind) or width is None or pa.types.is_decimal(kind):
        return pa.array([0] * rows, pa.int64()).cast(kind)
    if pa.types.is_temporal(kind):
        return pa.array(random.integers(0, 1 << 15, rows), pa.int32() if width == 4 else pa.int64()).cast(kind)
    return pa.Array.from_buffers(kind, rows, [None, pa.py_buffer(random.bytes(rows * width))])


def _writer_settings(file: pq.ParquetFile) -> dict[str, Any]:
    """Arguments of pyarrow's writer that give the control the layout of `file`."""
    metadata = file.metadata
    if not metadata.num_row_groups:
        return {}
    group = metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    encodings = {one.path_in_schema: set(one.encodings) for one in columns}
    dictionary = [path for path, used in encodings.items() if used & {"RLE_DICTIONARY", "PLAIN_DICTIONARY"}]
    special = {
        path: encoding
        for path, used in encodings.items()
        if path not in dictionary
        for encoding in ("BYTE_STREAM_SPLIT", *_DELTA)
        if encoding in used
    }
    return {
        "compression": {one.path_in_schema: one.compression.replace("UNCOMPRESSED", "NONE") for one in columns},
        "use_dictionary": dictionary or False,
        "column_encoding": special or None,
        "write_statistics": [one.path_in_schema for one in columns if one.is_stats_set] or False,
        "write_page_index": any(one.has_column_index for one in columns),
    }
