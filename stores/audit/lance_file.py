"""Files of a Lance table as the verifier reads them, each by itself and whatever refers to it.

Strings in a data or index file may be compressed (FSST, dictionaries, bit packing), so all columns of every such file
are decoded, those of old versions and orphans too. Manifests and transactions are Protocol Buffers, whose texts a scan
of their bytes finds. Sources: lance-format/lance, protos/{table,transaction,file2}.proto, rust/lance-io/src/traits.rs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
from lance.file import LanceFileReader

from stores.audit.arrays import binary_runs, is_binary, simplify
from stores.audit.pages import Place
from stores.audit.scan import scan
from stores.audit.siphash import Bytes

if TYPE_CHECKING:
    from stores.audit.examine import Examination

READ_ERRORS = (OSError, ValueError, RuntimeError, pa.ArrowException)
_MAGIC = b"LANC"
_INDEXED = "values"
"""The column of an index file that holds the values of the indexed column."""


def examine(data: Bytes, examination: "Examination") -> None:
    """Search all decoded columns of a data or index file, and the bytes of any."""
    if bytes(data[-4:]) == _MAGIC and not _is_manifest(data):
        try:
            with _as_path(data) as path:
                for batch in LanceFileReader(path).read_all().to_batches():
                    _examine_columns(batch, examination)
        except READ_ERRORS as error:
            examination.problems.append(f"it is a Lance file and cannot be decoded ({type(error).__name__})")
    examination.add(scan(data, examination.tables, packed=examination.packed), Place("raw bytes"))


def _examine_columns(batch: pa.RecordBatch, examination: "Examination") -> None:
    for field, column in zip(batch.schema, batch.columns, strict=True):
        place = Place("values", column=field.name)
        is_key = field.name == examination.key_column
        if is_key and pa.types.is_integer(field.type):
            examination.add_equal(binary_runs(column.cast(pa.string()).cast(pa.large_binary())), place)
        elif is_binary(field.type) and (is_key or field.name == _INDEXED):
            keys = binary_runs(simplify(column))
            examination.note_ambiguous(keys, examination.add_equal(keys, place))
        else:
            examination.scan_column(column, place)


def _is_manifest(data: Bytes) -> bool:
    """Whether the message before the footer opens with a schema, as only that of a manifest does."""
    place = int.from_bytes(bytes(data[-16:-8]), "little")
    return place + 4 < len(data) and bytes(data[-8:-4]) == b"\x00\x00\x02\x00" and data[place + 4] == 0x0A


@contextmanager
def _as_path(data: Bytes) -> Iterator[str]:
    """A path under which the bytes can be read, and nothing on a disk: they may be of people who must be gone."""
    if not hasattr(os, "memfd_create"):
        raise OSError("files in memory need Linux")
    descriptor = os.memfd_create("lance")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(data.data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
