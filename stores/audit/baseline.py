"""What a unit holds before a purge: the digest of the rows that must survive, and fingerprints of what must not."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.errors import InputError
from stores.audit.fingerprints import FINGERPRINTS, Fingerprints, fingerprint, is_vector_column, join
from stores.audit.rows import RowDigest, Rows, digest_rows

IsListed = Callable[[pa.Array], npt.NDArray[np.bool_]]
"""Which of n keys are listed, shape `(n,)`. Keys come as the store holds them; a null is never listed."""

Copies = Callable[[pa.RecordBatch], list[pa.Array]]
"""The other forms in which a store keeps the vectors of some rows."""

Keep = Callable[[Fingerprints], object]
"""What is done with the fingerprints of some rows; their vectors are numbered from 0."""


@dataclass(frozen=True)
class UnitBaseline:
    """One file or table before the purge; holds no personal data. `untraceable` vectors have no fingerprint."""

    unit: str
    rows: int
    listed: int
    survivors: RowDigest
    schema: str
    vector_columns: tuple[str, ...]
    vectors: int
    untraceable: int


def take_baseline(
    unit: str, rows: Rows, key_column: str | None, is_listed: IsListed, key: bytes, copies: Copies | None = None
) -> tuple[UnitBaseline, Fingerprints]:
    """Read the `rows` of `unit` once.

    Without a `key_column` no row is listed: every row must survive. The fingerprints are keyed by `key`;
    store them apart from everything else, under the same protection as the vectors, and destroy both after the audit.

    Raises InputError if the unit cannot be read to its end or has no such column.
    """
    parts = [Fingerprints(FINGERPRINTS.empty_table(), 0, 0)]
    baseline = note_baseline(unit, rows, key_column, is_listed, key, parts.append, copies)
    return baseline, join(parts)


def note_baseline(
    unit: str,
    rows: Rows,
    key_column: str | None,
    is_listed: IsListed,
    key: bytes,
    keep: Keep,
    copies: Copies | None = None,
) -> UnitBaseline:
    """Take the baseline as `take_baseline` does, handing the fingerprints to `keep` batch by batch."""
    try:
        return _read(unit, rows, key_column, is_listed, key, keep, copies or (lambda batch: []))
    except (pa.ArrowException, OSError) as error:
        reason = type(error).__name__
        raise InputError(f"{unit} cannot be read to its end ({reason}); take it out of the store") from error


def _read(
    unit: str, rows: Rows, key_column: str | None, is_listed: IsListed, key: bytes, keep: Keep, copies: Copies
) -> UnitBaseline:
    fields = rows.fields
    places = [fields.names.index(key_column)] if key_column in fields.names else []
    if key_column is not None and not places:
        raise InputError(
            f"{unit} has no column {key_column!r}, it has {', '.join(fields.names)};"
            " write the name of its key column in the job file"
        )
    vector_places = [i for i, field in enumerate(fields) if i not in places and is_vector_column(field.type)]
    total, survivors, vectors, untraceable = 0, RowDigest(), 0, 0
    for batch in rows.batches:
        listed = (
            np.asarray(is_listed(batch.column(places[0])), np.bool_) if places else np.zeros(batch.num_rows, np.bool_)
        )
        total += batch.num_rows
        survivors += digest_rows(batch, key, ~listed)
        if listed.any():
            gone = batch.filter(pa.array(listed))
            # Another form of a vector counts as a vector of its own: finding either is finding the person.
            found = fingerprint([*(gone.column(i) for i in vector_places), *copies(gone)], key)
            keep(found)
            vectors, untraceable = vectors + found.vectors, untraceable + found.bare
    return UnitBaseline(
        unit=unit,
        rows=total,
        listed=total - survivors.rows,
        survivors=survivors,
        schema=rows.schema,
        vector_columns=tuple(fields.field(i).name for i in vector_places),
        vectors=vectors,
        untraceable=untraceable,
    )
