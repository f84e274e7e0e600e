"""The identity of a Parquet file, and the positions of keys in it; only the key column is read."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.errors import InputError
from schemas.files import digest_bytes
from stores.contract import Match, StoreFile
from stores.file_store import as_seen, problem_of
from stores.keys import KeySet, is_key_type
from stores.parquet_physical import parse_metadata, read_footer

READ_ERRORS = (OSError, ValueError, pa.ArrowException)
"""What a damaged, encrypted or unsupported file raises."""


def identify(path: Path) -> StoreFile:
    """The identity of the file at `path`; raises one of `READ_ERRORS` when it is no readable Parquet file."""
    status = path.stat()
    footer = read_footer(path)
    rows = parse_metadata(footer).num_rows
    return StoreFile(str(path), status.st_size, status.st_mtime_ns, digest_bytes(footer), rows)


def locate(path: Path, key: str, keys: KeySet) -> Match:
    """Find the rows of the file at `path` whose `key` column, a dotted path if nested, holds one of `keys`.

    A file that cannot be read gives a match with a problem, never none at all. Raises InputError when the
    file can be read and has no such column, or one that cannot hold ids.
    """
    try:
        file = identify(path)
        reader = open_parquet(path)
        column = find_key(reader, path, key)
        hits = [np.flatnonzero(keys.contains(read_key(reader, i, column))) for i in range(reader.num_row_groups)]
    except READ_ERRORS as error:
        return Match(as_seen(path), (), problem_of(error))
    return Match(file, tuple(hits))


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a file as it describes itself, without extension types."""
    return pq.ParquetFile(path, arrow_extensions_enabled=False)


def find_key(reader: pq.ParquetFile, path: Path, key: str) -> int:
    """The number of the key column among the columns of the file; raises InputError when it cannot be used."""
    columns = [reader.schema.column(i) for i in range(len(reader.schema))]
    named = [i for i, column in enumerate(columns) if column.path == key]
    if len(named) != 1:
        found = "is there more than once" if named else "is not there"
        names = ", ".join(dict.fromkeys(column.path for column in columns))
        raise InputError(
            f"{path}: the key column {key} {found}; found {names}. Write the right one as key = in the job file"
        )
    if columns[named[0]].max_repetition_level:
        raise InputError(f"{path}: the key column {key} is a list; it must hold one id a row")
    kind = _type_at(reader.schema_arrow, key)
    if not is_key_type(kind):
        raise InputError(f"{path}: the key column {key} is of type {kind}; allowed are strings, binaries and integers")
    return named[0]


def read_key(reader: pq.ParquetFile, group: int, column: int) -> pa.ChunkedArray:
    """The key column of one row group."""
    path = reader.schema.column(column).path
    table = reader.read_row_group(group, columns=[path], use_threads=False)
    values = table.column(0)
    while pa.types.is_struct(values.type):
        values = pc.struct_field(values, [0])
    return values


def _type_at(schema: pa.Schema, key: str) -> pa.DataType:
    if schema.get_field_index(key) >= 0:
        return schema.field(key).type
    name, *rest = key.split(".")
    kind = schema.field(name).type
    for name in rest:
        kind = kind.field(name).type
    return kind
