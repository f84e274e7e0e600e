"""Examine a Parquet file: its bytes, its structs, its unpacked pages, its filters and its rows."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stores.audit.arrays import Runs, binary_runs, byte_width, every, fixed_bytes, is_binary, leaves, simplify
from stores.audit.bloom import Memory, compare_filter
from stores.audit.compact import BrokenStructError, Struct, binaries
from stores.audit.fingerprints import is_vector_column
from stores.audit.pages import (
    BYTE_ARRAY,
    CHUNK_METADATA,
    FILE_METADATA,
    FILE_ROW_GROUPS,
    GROUP_COLUMNS,
    META_METADATA,
    META_NAME,
    META_STATISTICS,
    PLAIN,
    Layout,
    Page,
    Place,
    Region,
    payloads,
    read_layout,
)
from stores.audit.rows import RowDigest, digest_rows, read_batches, schema_fingerprint
from stores.audit.scan import VECTOR, scan, scan_values
from stores.audit.siphash import Bytes

if TYPE_CHECKING:
    from stores.audit.examine import Examination

_UNREADABLE = (
    pa.ArrowException,
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
)
"""What reading a file that is damaged, or forged, may raise: numbers out of range, structs of another shape."""


def examine(data: Bytes, into: "Examination", *, own_rows: bool) -> None:
    """Search the Parquet file `data`; with `own_rows` its rows count as rows of the store."""
    try:
        layout = read_layout(data)
    except BrokenStructError as error:
        into.problems.append(f"it looks like Parquet and cannot be read: {error}")
        into.add(scan(data, into.tables), Place("raw bytes"))
        return
    into.problems += layout.problems
    # Rows first: they tell which ids are ambiguous.
    if not layout.is_summary:
        with _reporting(into, "its rows cannot be decoded"):
            _examine_rows(data, layout, into, own_rows)
    with _reporting(into, "its footer or page headers cannot be read"):
        _examine_structs(layout, into)
    _examine_bytes(data, layout, into)
    with _reporting(into, "its pages cannot be read"):
        _examine_pages(data, layout, into)
    for region in layout.regions:
        if region.place.what == "bloom filter":
            with _reporting(into, "a Bloom filter cannot be checked"):
                _examine_filter(data, region, layout, into)


@contextlib.contextmanager
def _reporting(into: "Examination", what: str) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        into.problems.append(f"{what} ({type(error).__name__})")


def _examine_rows(data: Bytes, layout: Layout, into: "Examination", own_rows: bool) -> None:
    file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(data)), pre_buffer=False)
    for value in _schema_notes(file.schema_arrow):
        into.add(
            scan_values(Runs(np.frombuffer(value, np.uint8), np.array([0, len(value)])), into.tables), Place("metadata")
        )
    taken_apart = {page.root for page in layout.pages if page.encoding not in (PLAIN, None) and page.is_data}
    rows = RowDigest()
    for batch in read_batches(file):
        rows += digest_rows(batch, into.key)
        for field, column in zip(batch.schema, batch.columns, strict=True):
            _examine_values(column, field, field.name in taken_apart, into)
    if own_rows:
        into.rows, into.schema = rows, schema_fingerprint(file)


def _examine_values(column: pa.Array, field: pa.Field, taken_apart: bool, into: "Examination") -> None:
    place = Place("values", column=field.name)
    is_key = field.name == into.key_column
    if is_key:
        keys = simplify(column.dictionary_decode() if pa.types.is_dictionary(column.type) else column)
        keys = binary_runs(keys.cast(pa.string()).cast(pa.large_binary()) if not is_binary(keys.type) else keys)
        into.note_ambiguous(keys, into.add_equal(keys, place))
    elif taken_apart and is_vector_column(field.type):
        into.scan_column(column, place)
    else:
        for leaf in leaves(column):
            if is_binary(leaf.type):
                into.add_equal(binary_runs(leaf), place)


def _schema_notes(schema: pa.Schema) -> Iterator[bytes]:
    """Names and metadata of the Arrow schema, which stands in the footer as base64."""
    fields = list(schema)
    for name, value in (schema.metadata or {}).items():
        yield from (name, value)
    while fields:
        field = fields.pop()
        for name, value in (field.metadata or {}).items():
            yield from (name, value)
        fields += [field.type.field(i) for i in range(field.type.num_fields)]


def _examine_structs(layout: Layout, into: "Examination") -> None:
    """Every byte string of every Thrift struct by itself: its neighbours in the file are no delimiters."""
    places, values = [], []
    for region in layout.regions:
        if region.facts is not None:
            for path, value in binaries(region.facts):
                places.append(_struct_place(region, path))
                values.append(value)
    hits = scan_values(binary_runs(pa.array(values, pa.large_binary())), into.tables)
    for kind, number, at in zip(*(column[into.counts(hits)].tolist() for column in hits), strict=True):
        into.found["vector" if kind == VECTOR else "id", places[at]].add(number)


def _struct_place(region: Region, path: tuple[int, ...]) -> Place:
    place = region.place
    if place.what == "page header":
        return Place("statistics", place.row_group, place.column)
    if place.what != "footer":
        return place
    if path[0] == FILE_METADATA:
        return Place("metadata")
    if len(path) > 5 and (path[0], path[2], path[4]) == (FILE_ROW_GROUPS, GROUP_COLUMNS, CHUNK_METADATA):
        meta = region.facts[FILE_ROW_GROUPS][path[1]][GROUP_COLUMNS][path[3]][CHUNK_METADATA] if region.facts else {}
        what = {META_STATISTICS: "statistics", META_METADATA: "metadata"}.get(path[5], "footer")
        return Place(what, path[1], _name(meta))
    return place


def _name(meta: Struct) -> str:
    return b".".join(meta.get(META_NAME, [])).decode("utf-8", "backslashreplace")


def _examine_bytes(data: Bytes, layout: Layout, into: "Examination") -> None:
    hits = scan(data, into.tables)
    kept = into.counts(hits)
    starts = np.array([region.start for region in layout.regions])
    at = np.searchsorted(starts, hits.ends - 1, side="right") - 1
    in_structs = {(what, number) for (what, _), numbers in into.found.items() for number in numbers}
    for i in np.flatnonzero(kept).tolist():
        region = layout.regions[at[i]]
        inside = hits.ends[i] <= region.stop
        what = "vector" if hits.kinds[i] == VECTOR else "id"
        number = int(hits.numbers[i])
        if inside and region.facts is not None and (what, number) in in_structs:
            continue
        into.found[what, region.place if inside else Place("raw bytes")].add(number)


def _examine_pages(data: Bytes, layout: Layout, into: "Examination") -> None:
    for page, content in payloads(data, layout.pages, into.problems):
        into.add(scan(content, into.tables), page.place)
    if into.tables.has_tiny_ids:
        for page, content in _dictionaries(data, layout):
            into.add_equal(_plain_values(content), page.place)


def _dictionaries(data: Bytes, layout: Layout) -> Iterator[tuple[Page, Bytes]]:
    """Dictionaries of byte strings, whose values no row need have."""
    pages = [one for one in layout.pages if not one.is_data and one.physical_type == BYTE_ARRAY]
    yield from ((page, data[page.start : page.stop]) for page in pages if page.is_raw)
    yield from payloads(data, pages, [])


def _plain_values(content: Bytes) -> Runs:
    """The byte strings of a PLAIN page of BYTE_ARRAY, each behind its length in four bytes."""
    view, at, starts, stops = content.data, 0, [], []
    while at + 4 <= len(content):
        start = at + 4
        at = start + int.from_bytes(view[at:start], "little")
        starts.append(start)
        stops.append(min(at, len(content)))
    values = pa.array([view[start:stop] for start, stop in zip(starts, stops, strict=True)], pa.large_binary())
    return binary_runs(values)


def _examine_filter(data: Bytes, region: Region, layout: Layout, into: "Examination") -> None:
    """A filter that knows values beyond those of its column chunk still tells that they were there."""
    group, name = region.place.row_group, region.place.column
    file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(data)), pre_buffer=False)
    root = next(page.root for page in layout.pages if page.place.column == name)
    column = file.read_row_group(group, columns=[root]).column(0)
    values = pa.concat_arrays([_decoded(chunk) for chunk in column.chunks])
    found = [leaf.drop_null() for leaf in leaves(values)]
    memory = Memory.NOT_UNDERSTOOD
    if len(found) == 1:
        width = byte_width(found[0].type)
        content = (
            binary_runs(found[0])
            if is_binary(found[0].type)
            else Runs(fixed_bytes(found[0], width or 0), every(width or 0, len(found[0])))
        )
        memory = compare_filter(data[region.start : region.stop], content)
    if memory is Memory.SOMETHING_ELSE:
        into.found["value that is gone", region.place].add(0)
    elif memory is Memory.NOT_UNDERSTOOD:
        into.problems.append(f"row group {group}, column {name}: what its Bloom filter remembers cannot be told")


def _decoded(array: pa.Array) -> pa.Array:
    """Without the dictionary: it may hold values that no row has."""
    array = simplify(array)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
