"""Where subjects are known to live: a truth file, checked, and cut into the very shards that the scores are in.

So that no more than one shard of it is in memory, however long it is, and ids are compared as they are.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.spill import Pointer, SpillWriter, read_spill, shard_of
from schemas.countries import COUNTRIES
from schemas.errors import InputError
from schemas.hashing import hash_strings
from schemas.records import castable, to_type
from schemas.suggest import nearest

BATCH_ROWS = 65_536
TRUTH = pa.schema([("subject_id", pa.large_string()), ("country", pa.large_string())])
KNOWN = pa.schema([("subject_id", pa.large_string()), ("country", pa.int16()), ("row", pa.int64())])
"""One row a subject: `country` is an index into `COUNTRIES`, `row` the place in the truth file, counted from 1."""

_SHOWN = 5
_MEANT = {"UK": "GB", "EL": "GR"}
"""What the European Union writes, and ISO 3166 does not."""


class KnownShard(NamedTuple):
    """Where the subjects of one shard live."""

    subject_id: pa.LargeStringArray
    country: npt.NDArray[np.int16]

    def find(self, subject_id: pa.Array) -> npt.NDArray[np.intp]:
        """The position of each of n subjects, -1 for one that the truth does not name."""
        found = pc.index_in(subject_id.cast(pa.large_string()), self.subject_id)
        return np.asarray(found.fill_null(-1).to_numpy(), np.intp)


def read_truth(truth: Path, shards: int, spill: Path) -> Iterator[KnownShard]:
    """Yield the truth shard by shard, all of them, empty ones too; `spill` is a file to work with.

    Raises:
        InputError: no such file, not Parquet, a column is missing or of another type, an empty subject or country, an
            unknown country code, or a subject that is there twice.

    """
    with SpillWriter(spill, KNOWN) as writer:
        for known in _checked(truth):
            writer.write(known, shard_of(hash_strings(known.column("subject_id").combine_chunks()), shards))
    pointers = writer.pointers()
    for shard in range(shards):
        yield _shard(truth.name, [pointers[shard]] if shard in pointers else [])


def _shard(file: str, pointers: list[Pointer]) -> KnownShard:
    known = read_spill(pointers, KNOWN).combine_chunks()
    rows = known.group_by("subject_id").aggregate([("row", "min"), ("row", "max"), ("row", "count")])
    twice = rows.filter(pc.field("row_count") > 1).sort_by("row_min")
    if len(twice):
        one = twice.slice(0, 1).to_pylist()[0]
        raise InputError(
            f"{file}: one subject stands in rows {one['row_min']:,} and {one['row_max']:,}, perhaps others too; every "
            "subject must have one row, for it lives in one country"
        )
    subjects, country = (known.column(name) for name in ("subject_id", "country"))
    return KnownShard(_flat(subjects), country.to_numpy())


def _checked(truth: Path) -> Iterator[pa.Table]:
    """The file batch by batch, as KNOWN."""
    if not truth.is_file():
        raise InputError(f"there is no file {str(truth)!r}; it must be Parquet, with a subject_id and a country a row")
    try:
        with pq.ParquetFile(truth) as parquet:
            _check_columns(truth.name, parquet.schema_arrow)
            row = 1
            for batch in parquet.iter_batches(BATCH_ROWS, columns=TRUTH.names):
                columns = {name: to_type(batch.column(name), TRUTH.field(name).type) for name in TRUTH.names}
                yield _known(truth.name, columns["subject_id"], columns["country"], row)
                row += len(batch)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{truth.name} cannot be read as Parquet: {type(error).__name__}") from error


def _check_columns(file: str, schema: pa.Schema) -> None:
    for name in TRUTH.names:
        if name not in schema.names:
            raise InputError(
                f"{file} needs the columns {' and '.join(TRUTH.names)}, and {name!r} is missing"
                f"{nearest(name, schema.names)}; it has {', '.join(schema.names[:30]) or 'none'}"
            )
        found = schema.field(name).type
        if not castable(found, TRUTH.field(name).type):
            raise InputError(f"{file}: the column {name!r} has type {found}; it must be text")


def _known(file: str, subject: pa.Array, country: pa.Array, row: int) -> pa.Table:
    for name, column in (("subject_id", subject), ("country", country)):
        absent = pc.or_kleene(pc.is_null(column), pc.equal(column, "")).to_numpy(zero_copy_only=False)
        if absent.any():
            raise InputError(
                f"{file}: row {row + int(absent.argmax()):,} has no {name}; leave out subjects of whom it is not known"
            )
    code = pc.index_in(country, pa.array(COUNTRIES, pa.large_string()))
    if code.null_count:
        strange = pc.unique(country.filter(code.is_null()))
        at = row + int(code.is_null().to_numpy(zero_copy_only=False).argmax())
        raise InputError(_unknown_codes(file, at, strange.cast(pa.large_binary()).to_pylist()))
    return pa.table([subject, code.cast(pa.int16()), np.arange(row, row + len(subject))], schema=KNOWN)


def _unknown_codes(file: str, row: int, codes: list[bytes]) -> str:
    shown = [_suggest(code.decode("utf-8", "replace")[:20]) for code in codes[:_SHOWN]]
    more = f", and {len(codes) - _SHOWN:,} more" if len(codes) > _SHOWN else ""
    return f"{file}: not ISO 3166 alpha-2 codes in capitals, from row {row:,} on: {', '.join(shown)}{more}"


def _suggest(code: str) -> str:
    written = code.strip().upper()
    meant = _MEANT.get(written, written)
    return f"{code!r} (did you mean {meant!r}?)" if meant in COUNTRIES else repr(code)


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
