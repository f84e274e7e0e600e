"""Who the canaries are: synthetic residents with the plainest evidence there is, month after month.

They exist nowhere: coordinates lie in parks, domains are random names that nobody registered, texts are the demo's.
"""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from runners.demo_phrases import PHRASES
from schemas.errors import InputError
from schemas.records import RECORD

SUBJECTS, MONTHS = 2, 6


class Home(NamedTuple):
    """Where a jurisdiction's canaries live: a place in it, the top-level domain and the language of their pages."""

    latitude: float
    longitude: float
    domain: str
    language: str


HOMES = {
    "uk": Home(52.4797, -1.9027, "co.uk", "en"),
    "fr": Home(45.7772, 4.8559, "fr", "fr"),
    "it": Home(45.4727, 9.1770, "it", "it"),
}


class Canary(NamedTuple):
    """One face of a canary: a row of the records and one of every store."""

    jurisdiction: str
    subject_id: str
    record_id: str
    face_id: str
    image_id: str
    month: int


def draw_canaries(jurisdictions: Sequence[str], token: str) -> list[Canary]:
    """SUBJECTS people of each jurisdiction with MONTHS faces each; their first images show both, several faces on one.

    The first of all ids sorts before, the last after, every id that letters or digits begin. Raises InputError for a
    jurisdiction without a `Home`.
    """
    unknown = [name for name in jurisdictions if name not in HOMES]
    if unknown:
        raise InputError(f"there are no canaries for {', '.join(unknown)}, only for {', '.join(HOMES)}")
    drawn = [(name, subject, month) for name in jurisdictions for subject in range(SUBJECTS) for month in range(MONTHS)]
    canaries = []
    for number, (name, subject, month) in enumerate(drawn):
        # The mixed file of a store begins with the middle one and ends with the last: see stores/canaries.
        first = "!" if number == len(drawn) // 2 else "~" if number == len(drawn) - 1 else ""
        image = f"canary-image-{token}-{name}-{month if month else 'both'}" + (f"-{subject}" if month else "")
        canaries.append(
            Canary(
                jurisdiction=name,
                subject_id=f"canary-{token}-{name}-{subject}",
                record_id=f"{first}canary-record-{token}-{number:03d}",
                face_id=f"{first}canary-face-{token}-{number:03d}",
                image_id=image,
                month=month,
            )
        )
    return canaries


def records_like(schema: pa.Schema, columns: Mapping[str, str], canaries: Iterable[Canary], token: str) -> pa.Table:
    """The records of `canaries` in `schema`, that of the controller's own files; `columns` maps our names to theirs.

    Columns that are no part of an image record are null. Raises InputError if one of them must not be.
    """
    rows = [_record(canary, token) for canary in canaries]
    ours = {theirs: name for name, theirs in columns.items()}
    arrays = []
    for field in schema:
        values = [row.get(ours.get(field.name, field.name)) for row in rows]
        if not field.nullable and None in values:
            raise InputError(f"the records' column {field.name!r} must not be null, and a canary has no value for it")
        known = ours.get(field.name, field.name)
        typed = pa.array(values, RECORD.field(known).type) if known in RECORD.names else pa.nulls(len(rows), field.type)
        arrays.append(typed.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _record(canary: Canary, token: str) -> dict[str, Any]:
    home, month = HOMES[canary.jurisdiction], canary.month
    phrases = PHRASES[home.language]
    taken = datetime.datetime(2024, 1 + 2 * month, 5 + month, 11, 30, tzinfo=datetime.UTC)

    def text(number: int) -> str:
        opening, clause = (some[number % len(some)] for some in (phrases.openings, phrases.clauses))
        return f"{opening}{phrases.joint}{clause}{phrases.closings[number % len(phrases.closings)]}"

    return {
        "record_id": canary.record_id,
        "face_id": canary.face_id,
        "subject_id": canary.subject_id,
        "image_id": canary.image_id,
        "source_url": f"https://www.canary-{token}-{month}.{home.domain}/{canary.image_id}",
        "title": text(month + 5),
        "caption": text(month),
        "declared_language": home.language,
        "latitude": home.latitude + month / 1000,
        "longitude": home.longitude + month / 1000,
        "captured_at": taken,
        "collected_at": taken + datetime.timedelta(days=9),
        "uploader_id": canary.subject_id,
        "source_status": "public",
    }
