"""All signals of one batch of image records: the only place that knows which column feeds which signal."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.domain import read_domain
from classifiers.geolocation import locate_coordinates
from classifiers.language import LanguageMode, LanguageModel, detect_language, load_language_model
from classifiers.network import NetworkDatabase, load_network_database, locate_address
from classifiers.phone import read_phone
from schemas.countries import NONE
from schemas.evidence import EVIDENCE, SIGNALS, Signal
from schemas.hashing import hash_strings
from schemas.quarantine import Fault
from schemas.text import is_valid_text, mend_text

IDS = ("record_id", "face_id", "subject_id")
TEXTS = ("image_id", "source_url", "title", "caption", "declared_language", "uploader_id", "uploader_ip")


@dataclass(frozen=True)
class SignalSources:
    """The models and databases that the signals read, loaded once per process and shared by its threads."""

    language: LanguageModel
    network: NetworkDatabase | None

    @classmethod
    def load(cls, language: str, geoip: Path | None, anonymous_ip: Path | None) -> "SignalSources":
        """Load what the job names. Raises InputError for a database that is missing or is none."""
        network = load_network_database(geoip, anonymous_ip) if geoip else None
        return cls(load_language_model(LanguageMode(language)), network)


def gather_evidence(
    records: pa.RecordBatch, unit: int, rows: npt.NDArray[np.int64], sources: SignalSources
) -> pa.Table:
    """The evidence of n records: a table of schema `EVIDENCE` with n rows, in the order of the batch.

    Args:
        records: n rows of schema `RECORD`.
        unit: which unit of the input they come from.
        rows: where each stands in its file, shape `(n,)`.
        sources: models and databases.

    """
    faults = find_faults(records)
    columns = {name: records.column(name) for name in records.schema.names}
    columns |= {name: mend_text(columns[name]) for name in (*IDS, *TEXTS)}

    domain = read_domain(columns["source_url"], columns["declared_language"])
    phone = read_phone(columns["title"], columns["caption"], domain.country.value)
    signals: dict[str, Signal] = {
        "gps": locate_coordinates(columns["latitude"], columns["longitude"]),
        "ip": locate_address(columns["uploader_ip"], sources.network),
        "domain": domain.country,
        "language": detect_language(
            columns["title"],
            columns["caption"],
            columns["declared_language"],
            domain.language_hint,
            sources.language,
        ),
        "phone": phone.country,
    }
    arrays = [
        np.full(len(rows), unit, np.int32),
        rows,
        columns["record_id"],
        columns["face_id"],
        name_subjects(columns["subject_id"], columns["record_id"]),
        episode_source(columns["uploader_id"], domain.host, columns["image_id"], columns["record_id"]),
        month_taken(columns["captured_at"], columns["collected_at"]),
        *(part for kind in SIGNALS for part in signals[kind.name]),
        phone.number_hash,
        faults,
    ]
    return pa.Table.from_arrays([pa.array(array) for array in arrays], schema=EVIDENCE)


def find_faults(records: pa.RecordBatch) -> npt.NDArray[np.uint8]:
    """The `Fault` of each of n records that can be told from the record alone; shape `(n,)`."""
    faults = np.zeros(len(records), np.uint8)
    latitude, longitude = records.column("latitude"), records.column("longitude")
    outside = pc.or_(_outside(latitude, 90.0), _outside(longitude, 180.0))
    invalid = ~np.logical_and.reduce([is_valid_text(records.column(name)) for name in IDS])
    for fault, found in (
        (Fault.COORDINATES_OUT_OF_RANGE, outside.to_numpy(zero_copy_only=False)),
        (Fault.NULL_FACE_ID, _is_absent(records.column("face_id"))),
        (Fault.NULL_RECORD_ID, _is_absent(records.column("record_id"))),
        (Fault.INVALID_TEXT, invalid),
    ):
        faults[found] = fault
    return faults


def name_subjects(subject: pa.Array, record: pa.Array) -> pa.Array:
    """The subject of each record; one without a subject is its own, `record:<record_id>`, never merged with another."""
    alone = pa.array(_is_absent(subject))
    own = pc.binary_join_element_wise(
        pa.scalar("record", pa.large_string()),
        record.filter(alone),
        pa.scalar(":", pa.large_string()),
        null_handling="replace",
    )
    return pc.replace_with_mask(subject, alone, own)


def episode_source(uploader: pa.Array, host: pa.Array, image: pa.Array, record: pa.Array) -> npt.NDArray[np.uint64]:
    """Who an episode belongs to, as a hash: the uploader, else the host, else the image, else the record."""
    source = np.zeros(len(record), np.uint64)
    unknown = np.arange(len(record))
    for seed, column in ((4, uploader), (3, host), (2, image), (1, record)):
        column = column.take(pa.array(unknown)) if len(unknown) < len(column) else column
        absent = _is_absent(column)
        source[unknown[~absent]] = hash_strings(column, seed=seed)[~absent]
        unknown = unknown[absent]
    return source


def month_taken(captured: pa.Array, collected: pa.Array) -> npt.NDArray[np.int32]:
    """Months since year 0 of when each image was taken, else collected; `NONE` if neither is known; shape `(n,)`."""
    moment = pc.coalesce(captured, collected).cast(pa.timestamp("us"))  # Both are UTC: no zone need be looked up.
    months = pc.add(pc.multiply(pc.year(moment), 12), pc.subtract(pc.month(moment), 1))
    return np.asarray(pc.fill_null(months, NONE), np.int32)


def _outside(degrees: pa.Array, bound: float) -> pa.Array:
    """True for a finite number beyond the bound; NaN and null are no evidence, not a fault."""
    return pc.fill_null(pc.and_(pc.is_finite(degrees), pc.greater(pc.abs(degrees), bound)), False)


def _is_absent(column: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.fill_null(pc.equal(pc.binary_length(column), 0), True), np.bool_)
