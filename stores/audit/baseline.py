"""What a file holds before a purge: the digest of the rows that must survive, and fingerprints of what must not."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import InputError
from schemas.files import digest_file
from stores.audit.check import printable
from stores.audit.fingerprints import FINGERPRINTS, Fingerprints, fingerprint, is_vector_column, join
from stores.audit.rows import RowDigest, digest_rows, read_batches, schema_fingerprint

IsListed = Callable[[pa.Array], npt.NDArray[np.bool_]]
"""Which of n keys are listed, shape `(n,)`. Keys come as the file holds them; a null is never listed."""


@dataclass(frozen=True)
class FileBaseline:
    """One Parquet file before the purge; holds no personal data. `untraceable` vectors have no fingerprint."""

    file: str
    size: int
    modified_ns: int
    sha256: str
    rows: int
    listed: int
    survivors: RowDigest
    schema: str
    vector_columns: tuple[str, ...]
    vectors: int
    untraceable: int


def take_baseline(
    root: Path, path: str, key_column: str | None, is_listed: IsListed, key: bytes
) -> tuple[FileBaseline, Fingerprints]:
    """Read the Parquet file at `path` below `root` once.

    Without a `key_column` no row is listed: every row of the file must survive. The fingerprints are keyed by `key`;
    store them apart from everything else, under the same protection as the vectors, and destroy both after the audit.

    Raises InputError if the file cannot be read or has no such column.
    """
    try:
        with pq.ParquetFile(root / path, memory_map=True, pre_buffer=False) as file:
            return _read(file, root, path, key_column, is_listed, key)
    except (pa.ArrowException, OSError) as error:
        reason = type(error).__name__
        raise InputError(f"{printable(path)} cannot be read as Parquet ({reason}); take it out of the store") from error


def _read(
    file: pq.ParquetFile, root: Path, path: str, key_column: str | None, is_listed: IsListed, key: bytes
) -> tuple[FileBaseline, Fingerprints]:
    schema = file.schema_arrow
    places = [schema.names.index(key_column)] if key_column in schema.names else []
    if key_column is not None and not places:
        raise InputError(
            f"{printable(path)} has no column {key_column!r}, it has {', '.join(schema.names)};"
            " write the name of its key column in the job file"
        )
    vector_places = [i for i, field in enumerate(schema) if i not in places and is_vector_column(field.type)]
    rows, survivors = 0, RowDigest()
    parts = [Fingerprints(FINGERPRINTS.empty_table(), 0, 0)]
    for batch in read_batches(file):
        listed = (
            np.asarray(is_listed(batch.column(places[0])), np.bool_) if places else np.zeros(batch.num_rows, np.bool_)
        )
        rows += batch.num_rows
        survivors += digest_rows(batch, key, ~listed)
        if listed.any():
            gone = [batch.column(i).filter(pa.array(listed)) for i in vector_places]
            parts.append(fingerprint(gone, key))
    fingerprints = join(parts)
    status = (root / path).stat()
    baseline = FileBaseline(
        file=printable(path),
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
        sha256=digest_file(root / path),
        rows=rows,
        listed=rows - survivors.rows,
        survivors=survivors,
        schema=schema_fingerprint(file),
        vector_columns=tuple(schema.field(i).name for i in vector_places),
        vectors=fingerprints.vectors,
        untraceable=fingerprints.bare,
    )
    return baseline, fingerprints
