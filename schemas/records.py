"""The image record: what lethe reads, and how near-enough Parquet is made to fit.

One row per face in one image. Near types are cast, other names are mapped by the job file, missing optional columns
are read as null. What cannot be cast stops the job before any work.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import InputError
from schemas.suggest import nearest

REQUIRED = ("record_id", "face_id")

_TEXT = pa.large_string()
_TIME = pa.timestamp("us", tz="UTC")

RECORD = pa.schema(
    [
        pa.field("record_id", _TEXT),
        pa.field("face_id", _TEXT),
        pa.field("subject_id", _TEXT),
        pa.field("image_id", _TEXT),
        pa.field("source_url", _TEXT),
        pa.field("title", _TEXT),
        pa.field("caption", _TEXT),
        pa.field("declared_language", _TEXT),
        pa.field("latitude", pa.float64()),
        pa.field("longitude", pa.float64()),
        pa.field("captured_at", _TIME),
        pa.field("collected_at", _TIME),
        pa.field("uploader_id", _TEXT),
        pa.field("uploader_ip", _TEXT),
        pa.field("source_status", _TEXT),
    ],
    metadata={"lethe": "image-record/1"},
)


@dataclass(frozen=True)
class Reading:
    """How one Parquet schema is read as `RECORD`: `sources[ours] = theirs` for the columns that exist."""

    sources: Mapping[str, str]

    @property
    def columns(self) -> list[str]:
        """The columns to read from the file."""
        return list(dict.fromkeys(self.sources.values()))

    def conform(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch of the file as a batch of `RECORD`: same rows, our names, our types, null where absent."""
        arrays = [
            to_type(batch.column(self.sources[field.name]), field.type)
            if field.name in self.sources
            else pa.nulls(len(batch), field.type)
            for field in RECORD
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=RECORD)


def plan_reading(schema: pa.Schema, columns: Mapping[str, str], file: str) -> Reading:
    """Decide how a file with `schema` is read; `columns` maps our names to theirs.

    Raises:
        InputError: a required or mapped column is missing, or a type cannot be cast; it says what to write in the
            job file.

    """
    sources = {}
    for field in RECORD:
        theirs = columns.get(field.name, field.name)
        if theirs not in schema.names:
            if field.name in REQUIRED or field.name in columns:
                raise InputError(_missing(field.name, theirs, schema, file))
            continue
        found = schema.field(theirs).type
        if not castable(found, field.type):
            raise InputError(
                f"{file}: column {theirs!r} has type {found}, and {field.name} needs {field.type} or a type that "
                f'casts to it; name another column in the job file, [records.columns] {field.name} = "..."'
            )
        sources[field.name] = theirs
    return Reading(sources)


_TEXT_KINDS = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_integer,
)


def castable(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether every value of type `found` has one evident meaning as `wanted`."""
    if pa.types.is_dictionary(found):
        return castable(found.value_type, wanted)
    if pa.types.is_null(found):
        return True
    if pa.types.is_large_string(wanted):
        kinds: tuple[Callable[[pa.DataType], bool], ...] = _TEXT_KINDS
    elif pa.types.is_timestamp(wanted):
        kinds = (pa.types.is_timestamp, pa.types.is_date)
    else:
        kinds = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal)
    return any(is_kind(found) for is_kind in kinds)


def to_type(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Cast a column that `castable` accepted. A time zone is kept; a time without one is taken as UTC."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(wanted):
        zoned = column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)), safe=False)
        return zoned.cast(wanted) if zoned.type.tz else pc.assume_timezone(zoned, "UTC").cast(wanted)
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        # Checked like any other text: what is no UTF-8 becomes a fault of its row, not a crash of the batch.
        wide = column.cast(pa.large_binary())
        return pa.Array.from_buffers(wanted, len(wide), wide.buffers(), offset=wide.offset)
    return column.cast(wanted, safe=False)


def _missing(ours: str, theirs: str, schema: pa.Schema, file: str) -> str:
    found = ", ".join(schema.names[:30]) or "no column at all"
    return (
        f"{file}: {ours} needs a column {theirs!r}, and there is none{nearest(theirs, schema.names)}; "
        f'the file has {found}; write in the job file, [records.columns] {ours} = "<the name there>"'
    )
