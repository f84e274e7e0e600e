"""Labels: where people who looked say that a subject lives."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.countries import COUNTRIES
from schemas.errors import InputError

LABELS = pa.schema(
    [
        pa.field("subject_id", pa.large_string(), nullable=False),
        pa.field("country", pa.string()),
        pa.field("annotator", pa.string(), nullable=False),
    ],
    metadata={"lethe": "labels/1"},
)
"""One row per subject and annotator; `country` is ISO alpha-2, null for "cannot tell"."""

MOST_ANNOTATORS = 2


def read_labels(path: Path) -> pa.Table:
    """Read labels, rows of `LABELS`; a file without `annotator` is by one annotator, called the empty string.

    Raises:
        InputError: no such file, other columns, a country that is no code, a subject labelled twice by one annotator,
            or more than two annotators.

    """
    if not path.is_file():
        raise InputError(f"there is no labels file {str(path)!r}")
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path.name} is not a Parquet file that can be read") from error
    missing = {"subject_id", "country"} - set(table.column_names)
    if missing:
        raise InputError(
            f"{path.name} has no column {' and no column '.join(sorted(missing))}; labels have subject_id, country "
            "(ISO alpha-2, null for cannot tell) and, where two people labelled, annotator"
        )
    if "annotator" not in table.column_names:
        table = table.append_column("annotator", pa.array([""] * len(table)))
    try:
        labels = pa.table([table.column(name).cast(LABELS.field(name).type) for name in LABELS.names], LABELS.names)
    except pa.ArrowException as error:
        raise InputError(f"{path.name}: subject_id, country and annotator must be text") from error
    _check(path.name, labels)
    return labels.cast(LABELS).combine_chunks()


def _check(file: str, labels: pa.Table) -> None:
    for column in ("subject_id", "annotator"):
        if nulls := labels.column(column).null_count:
            raise InputError(f"{file}: {nulls} rows have no {column}")
    codes = pc.unique(labels.column("country").drop_null())
    if wrong := len(codes) - (pc.sum(pc.is_in(codes, pa.array(COUNTRIES))).as_py() or 0):
        raise InputError(
            f"{file}: {wrong} countries are no ISO 3166 alpha-2 code in capital letters (the United Kingdom is GB); "
            "who cannot tell leaves the country null"
        )
    people = len(pc.unique(labels.column("annotator")))
    if people > MOST_ANNOTATORS:
        raise InputError(f"{file}: {people} annotators; lethe compares two at most")
    pairs = labels.group_by(["subject_id", "annotator"], use_threads=False).aggregate([([], "count_all")])
    if twice := len(labels) - len(pairs):
        raise InputError(f"{file}: {twice} rows label a subject again that the same annotator has labelled")
