"""Records that cannot be used: why, and how they are written down without being lost."""

import enum

import pyarrow as pa


class Fault(enum.IntEnum):
    """Why a record cannot be scored. `NONE` means it can."""

    NONE = 0
    NULL_RECORD_ID = 1
    NULL_FACE_ID = 2
    INVALID_TEXT = 3
    COORDINATES_OUT_OF_RANGE = 4
    DUPLICATE_RECORD_ID = 5
    FACE_OF_SEVERAL_SUBJECTS = 6
    UNREADABLE_ROW_GROUP = 7
    UNREADABLE_FILE = 8

    @property
    def reason(self) -> str:
        """The text that an auditor reads in `quarantine/`."""
        return _REASONS[self]


_REASONS = {
    Fault.NONE: "",
    Fault.NULL_RECORD_ID: "record_id is null or empty",
    Fault.NULL_FACE_ID: "face_id is null or empty: its vector cannot be found in any store",
    Fault.INVALID_TEXT: "an id is not valid UTF-8",
    Fault.COORDINATES_OUT_OF_RANGE: "latitude is outside -90..90 or longitude outside -180..180",
    Fault.DUPLICATE_RECORD_ID: "record_id was already read; the first record in file order is the one scored",
    Fault.FACE_OF_SEVERAL_SUBJECTS: "face_id is given to more than one subject; a person has to decide whose it is",
    Fault.UNREADABLE_ROW_GROUP: "the row group cannot be decoded",
    Fault.UNREADABLE_FILE: "the file cannot be opened as Parquet",
}

QUARANTINE = pa.schema(
    [
        pa.field("record_id", pa.large_string()),
        pa.field("face_id", pa.large_string()),
        pa.field("subject_id", pa.large_string()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64()),
    ],
    metadata={"lethe": "quarantine/1"},
)
"""One row per record that was read and not scored; `row` counts from 0 within `file`, null for a whole file."""
