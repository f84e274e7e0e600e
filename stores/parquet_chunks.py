"""What the footer of the new file says of a row group, and of the pages that were cut.

Field numbers: parquet.thrift of the Parquet format 2.12.
"""

from stores.parquet_pages import (
    CHUNK_META,
    COLUMNS,
    META_CODEC,
    META_COMPRESSED,
    META_DATA_PAGE,
    META_DICTIONARY_PAGE,
    META_ENCODINGS,
    META_INDEX_PAGE,
    META_UNCOMPRESSED,
    META_VALUES,
    RLE,
    chunk_range,
)
from stores.parquet_shape import Shape
from stores.parquet_splice import Cut
from stores.thrift import I32, I64, LIST, STRUCT, Sequence, Struct, Value, decode, encode

# RowGroup, ColumnChunk, ColumnMetaData
_GROUP_BYTES, GROUP_ROWS, _GROUP_OFFSET, _GROUP_COMPRESSED, _GROUP_ORDINAL = 2, 3, 5, 6, 7
_CHUNK_OFFSET = 2
_META_STATISTICS, _META_ENCODING_STATS, _META_BLOOM, _META_BLOOM_LENGTH = 12, 13, 14, 15
_META_SIZES, _META_GEOSPATIAL = 16, 17


def meta_of(chunk: Struct) -> Struct:
    """The metadata of a column chunk; raises ValueError without any."""
    meta = chunk.struct(CHUNK_META)
    if meta is None:
        raise ValueError("a column chunk has no metadata: it is encrypted or damaged")
    return meta


def cut_chunk_of(old: Struct, cut: Cut, shape: Shape, start: int, stop: int) -> Struct:
    """The column chunk of pages that were cut, without the statistics and the filter of those who are gone."""
    meta = decode(encode(old))
    meta.drop(
        META_INDEX_PAGE, META_DICTIONARY_PAGE, _META_STATISTICS, _META_BLOOM, _META_BLOOM_LENGTH, _META_GEOSPATIAL
    )
    used = [encoding for _, encoding in cut.pages]
    before = [number for number in _items(meta, META_ENCODINGS) if number in (RLE, *used)]
    meta.put(META_ENCODINGS, LIST, Sequence(I32, [*dict.fromkeys([*before, *used])]))
    meta.put(META_CODEC, I32, cut.codec)
    meta.put(META_VALUES, I64, cut.values)
    meta.put(META_UNCOMPRESSED, I64, cut.uncompressed)
    meta.put(META_COMPRESSED, I64, stop - start)
    meta.put(META_DATA_PAGE, I64, start)
    if _META_ENCODING_STATS in meta:
        counts = [_fields(kind, encoding, cut.pages.count((kind, encoding))) for kind, encoding in sorted({*cut.pages})]
        meta.put(_META_ENCODING_STATS, LIST, Sequence(STRUCT, [*counts]))
    if _META_SIZES in meta:
        meta.put(_META_SIZES, STRUCT, _sizes(cut.values, shape))
    chunk = Struct()
    chunk.put(_CHUNK_OFFSET, I64, 0)
    chunk.put(CHUNK_META, STRUCT, meta)
    return chunk


def _items(struct: Struct, field: int) -> list[Value]:
    value = struct.fields[field][1] if field in struct else None
    return value.items if isinstance(value, Sequence) else []


def _sizes(values: int, shape: Shape) -> Struct:
    """How often each level occurs (SizeStatistics)."""
    rows = values // shape.length
    sizes = Struct()
    if shape.repetition:
        sizes.put(2, LIST, Sequence(I64, [rows, values - rows]))
    if shape.definition:
        sizes.put(3, LIST, Sequence(I64, [*[0] * shape.definition, values]))
    return sizes


def _fields(*numbers: int) -> Struct:
    """A struct of 32-bit integers, from field 1 on."""
    return Struct({field: (I32, number) for field, number in enumerate(numbers, start=1)})


def offset_index(cut: Cut) -> Struct:
    """Where each page of a chunk that was cut lies, its size with the header, and its first row."""
    places = [Struct({1: (I64, at), 2: (I32, size), 3: (I64, row)}) for at, size, row in cut.places]
    return Struct({1: (LIST, Sequence(STRUCT, [*places]))})


def group_of(old: Struct, chunks: list[Struct], rows: int, ordinal: int) -> Struct:
    """The row group of `chunks`; the columns it is sorted by stay, since the order does."""
    metas = [meta_of(chunk) for chunk in chunks]
    group = Struct(dict(old.fields))
    group.put(COLUMNS, LIST, Sequence(STRUCT, [*chunks]))
    group.put(_GROUP_BYTES, I64, sum(meta.integer(META_UNCOMPRESSED) or 0 for meta in metas))
    group.put(GROUP_ROWS, I64, rows)
    if _GROUP_OFFSET in group:
        group.put(_GROUP_OFFSET, I64, min((chunk_range(meta)[0] for meta in metas), default=0))
    if _GROUP_COMPRESSED in group:
        group.put(_GROUP_COMPRESSED, I64, sum(meta.integer(META_COMPRESSED) or 0 for meta in metas))
    if _GROUP_ORDINAL in group:
        group.fields[_GROUP_ORDINAL] = (group.fields[_GROUP_ORDINAL][0], ordinal)
    return group
