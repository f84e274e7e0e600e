"""Deletion manifests: entries, the digests that fix them, and the order they carry out.

    out/manifests/fr/manifest.json        who ordered what, counts, expectations, the parts and their digests
    out/manifests/fr/entries-00003.parquet    one row per record on the manifest
    out/manifests/fr/approval.json        the auditor's signature over the digest of manifest.json, if any

The entries are leaves of one Merkle tree a part, and the parts leaves of one tree a manifest, so that parts are hashed
where they are written and a single entry can still be proven to belong. A leaf is the row's fields in schema order,
each as a netstring (`<bytes>:<content>`), so that no content of one field can pass for another.
"""

import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.errors import ManifestError
from schemas.merkle import leaf_hash, tree_hash
from schemas.scores import BAR, BARS

ENTRIES_AT_ONCE = 16_384
"""Entries are written, read and hashed so many at a time: of one subject there may be millions, all in one part."""

ENTRIES = pa.schema(
    [
        pa.field("entry_id", pa.string(), nullable=False),
        pa.field("jurisdiction", pa.string(), nullable=False),
        pa.field("order", pa.string(), nullable=False),
        pa.field("subject_id", pa.large_string(), nullable=False),
        pa.field("record_id", pa.large_string(), nullable=False),
        pa.field("face_id", pa.large_string(), nullable=False),
        pa.field("tier", pa.string(), nullable=False),
        pa.field("probability", pa.float64(), nullable=False),
        pa.field("score_mb", pa.int64(), nullable=False),
        pa.field("bars", BARS, nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("model_digest", pa.string(), nullable=False),
    ],
    metadata={"lethe": "manifest-entries/1"},
)
"""One row per record and jurisdiction whose subject is to be erased, reviewed, or cannot be told."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Part(_Frozen):
    """One file of entries."""

    name: str
    rows: int
    sha256: str
    merkle_root: str


class Expectation(_Frozen):
    """What the probabilities say about the errors of one manifest, per evidence class; subjects, not records.

    `wrongly_erased` is the sum of 1 - P over erased subjects; `missed` the sum of P over those kept;
    `undecided` the sum of P over those in review or without sufficient evidence.
    """

    subjects: int
    erased: int
    wrongly_erased: float
    kept: int
    missed: float
    undecided: float


class Manifest(_Frozen):
    """`manifest.json`. It holds no clock and no path, so the same input and job give the same bytes."""

    format: str = "lethe/manifest/1"
    run_id: str
    jurisdiction: str
    name: str
    territory: tuple[str, ...]
    regulator: str
    order: str
    order_date: datetime.date
    deadline: datetime.date | None
    source: str
    policy: dict[str, object]
    policy_digest: str
    model_digest: str
    config_digest: str
    databases: dict[str, str]
    input_digest: str
    records: int
    entries: dict[str, int]
    kept: int
    quarantined: int
    subjects: dict[str, int]
    expected: dict[str, Expectation]
    parts: tuple[Part, ...]
    merkle_root: str


def load_manifest(folder: Path) -> Manifest:
    """Read `manifest.json` from a jurisdiction's folder.

    Raises:
        ManifestError: it is missing, or not what `lethe plan` wrote.

    """
    file = folder / "manifest.json"
    try:
        return Manifest.model_validate_json(file.read_bytes())
    except FileNotFoundError as error:
        raise ManifestError(f"the manifest for {folder.name!r} is gone; `lethe plan` writes it anew") from error
    except ValidationError as error:
        raise ManifestError(
            f"{folder.name}/manifest.json is not a manifest of this version: {error.error_count()} fields differ"
        ) from error


def entry_leaves(entries: pa.RecordBatch) -> list[bytes]:
    """Leaf hashes of a batch of `ENTRIES` of n rows: n digests of 32 bytes."""
    fields = [
        _netstring(_bars_text(column)) if field.type == BARS else _field(column)
        for field, column in zip(ENTRIES, entries.columns, strict=True)
    ]
    content = pc.binary_join_element_wise(*fields, _binary(""))
    # A digest for each row is all that Python does here; a hash of many rows at once is in no library.
    return [leaf_hash(row) for row in content.to_pylist()]


def manifest_root(part_roots: list[bytes]) -> bytes:
    """Merkle tree hash over the parts, each a leaf."""
    return tree_hash(leaf_hash(root) for root in part_roots)


def _binary(value: str) -> pa.Scalar:
    return pa.scalar(value.encode(), pa.large_binary())


def _field(column: pa.Array) -> pa.Array:
    """The netstring of each value, null where it is; made once for each different value, as most occur many times."""
    if pa.types.is_floating(column.type):  # the bits, so that no printing of a number can matter
        column = column.view(pa.int64())
    encoded = column.dictionary_encode()
    text = encoded.dictionary.cast(pa.large_string()).cast(pa.large_binary())
    return _netstring(text).take(encoded.indices)


def _netstring(text: pa.Array) -> pa.Array:
    length = pc.binary_length(text).cast(pa.large_string()).cast(pa.large_binary())
    return pc.binary_join_element_wise(length, text, _binary(":"))


def _bars_text(bars: pa.Array) -> pa.Array:
    """Each row's bars as one text: the netstrings of every field of every bar, an absent text as `-`."""
    flat = pc.list_flatten(bars)
    fields = []
    for index, field in enumerate(BAR):
        text = _field(pc.struct_field(flat, [index]))
        fields.append(pc.fill_null(text, _binary("-")) if field.nullable else text)
    joined = pc.binary_join_element_wise(*fields, _binary(""))
    offsets = pc.cumulative_sum(pc.list_value_length(bars).cast(pa.int64()))
    starts = pa.concat_arrays([pa.array([0], pa.int64()), offsets])
    return pc.binary_join(pa.LargeListArray.from_arrays(starts, joined), _binary(""))
