"""A new Parquet file put together from column chunks: copied, cut or encoded anew, behind a footer that is the old one.

What the old footer says of the whole file stays word for word: schema, orders, writer, key/value metadata that names
nobody erased. The name of the writer stays because readers go by it when they know of faults in its pages.
"""

import enum
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from stores.keys import KeySet
from stores.parquet_chunks import GROUP_ROWS, cut_chunk_of, group_of, meta_of, offset_index
from stores.parquet_copy import CHUNK_OFFSET_INDEX, Attachments, may_copy, moved
from stores.parquet_encode import Decoder, Rows, batches, encode_rows
from stores.parquet_metadata import clean_pairs
from stores.parquet_pages import (
    COLUMNS,
    META_CODEC,
    META_UNCOMPRESSED,
    ROW_GROUPS,
    UNCOMPRESSED,
    InMemory,
    OpenFile,
    UnfamiliarError,
    chunk_range,
)
from stores.parquet_physical import MAGIC
from stores.parquet_schema import Leaf
from stores.parquet_shape import Shape
from stores.parquet_sink import Sink
from stores.parquet_splice import Cut, cut_chunk
from stores.thrift import I64, LIST, STRUCT, Sequence, Struct, encode

Compression: TypeAlias = Literal["keep", "none"]
"""What becomes of the codec of a column that is cut: it stays, or the new pages are not compressed."""

# FileMetaData, ColumnMetaData
_ROWS, _KEY_VALUES = 3, 5
_META_TYPE, _META_PATH, _META_KEY_VALUES = 1, 3, 8


class Way(enum.Enum):
    """How a column of a row group came into the new file."""

    COPIED = "copied"
    CUT = "cut"
    ENCODED = "encoded"


class Assembly:
    """The new file at `aside`, a row group at a time; one column of one row group is in memory, not the file."""

    def __init__(
        self, file: OpenFile, sink: Sink, path: Path, footer: Struct, leaves: list[Leaf], key: str, keys: KeySet,
        compression: Compression,
    ) -> None:  # fmt: skip
        self._file, self._sink, self._path, self._footer, self._leaves = file, sink, path, footer, leaves
        self._key, self._keys, self._compression = key, keys, compression
        self._attachments = Attachments(sink)
        self._decoder = Decoder(path, footer)
        self._groups: list[Struct] = []
        self.tainted: list[str] = []
        """Key/value metadata of columns that named somebody erased."""
        sink.write(MAGIC)

    def add(self, number: int, stays: Rows) -> list[Way]:
        """Write the rows of row group `number` that stay, at least one; returns the way of every column."""
        old = self._footer.structs(ROW_GROUPS)[number]
        chunks = old.structs(COLUMNS)
        new: list[Struct] = []
        ways: list[Way] = []
        waiting: list[tuple[int, int]] = []

        def encode_waiting() -> None:
            for roots in batches(waiting):
                found = self._encode(number, roots, stays)
                new.extend(found)
                ways.extend([Way.ENCODED] * len(found))
            waiting.clear()

        for root, columns in self._roots():
            mine = [chunks[i] for i in columns]
            if stays.all():
                if all(may_copy(self._file, chunks[i], self._leaves[i]) for i in columns):
                    encode_waiting()
                    new += [self._copy(chunk) for chunk in mine]
                    ways += [Way.COPIED] * len(columns)
                    continue
            else:
                shapes = [self._shape(i, chunks[i], len(stays)) for i in columns]
                cuttable = [shape for shape in shapes if shape is not None]
                if len(cuttable) == len(columns):
                    encode_waiting()
                    found = self._cut(mine, cuttable, stays)
                    if found is not None:
                        new += found
                        ways += [Way.CUT] * len(columns)
                        continue
            waiting.append((root, sum(meta_of(chunk).integer(META_UNCOMPRESSED) or 0 for chunk in mine)))
        encode_waiting()
        for chunk, source, leaf in zip(new, chunks, self._leaves, strict=True):
            self._name(chunk, source, leaf)
        self._attachments.write_filters()
        self._sink.start_storing()
        self._groups.append(group_of(old, new, int(stays.sum()), len(self._groups)))
        return ways

    def finish(self, key_values: Sequence | None) -> None:
        """Write the page indexes and the footer."""
        self._attachments.write_indexes()
        footer = Struct(dict(self._footer.fields))
        footer.put(_ROWS, I64, sum(group.integer(GROUP_ROWS) or 0 for group in self._groups))
        footer.put(ROW_GROUPS, LIST, Sequence(STRUCT, [*self._groups]))
        footer.drop(_KEY_VALUES)
        if key_values is not None and key_values.items:
            footer.put(_KEY_VALUES, LIST, key_values)
        content = encode(footer)
        self._sink.write(content + len(content).to_bytes(4, "little") + MAGIC)

    def _roots(self) -> Iterator[tuple[int, list[int]]]:
        """Every top-level field with the numbers of its columns."""
        columns: dict[int, list[int]] = {}
        for number, leaf in enumerate(self._leaves):
            columns.setdefault(leaf.root, []).append(number)
        yield from columns.items()

    def _shape(self, column: int, chunk: Struct, rows: int) -> Shape | None:
        leaf = self._leaves[column]
        return None if leaf.path == self._key else Shape.of(leaf, meta_of(chunk), rows)

    def _copy(self, chunk: Struct) -> Struct:
        start, stop = chunk_range(meta_of(chunk))
        shift = self._sink.at - start
        self._sink.copy(self._file.descriptor, start, stop - start)
        new = moved(chunk, shift)
        self._attachments.take(new, self._file, shift)
        return new

    def _encode(self, number: int, roots: tuple[int, ...], stays: Rows) -> list[Struct]:
        content, footer = encode_rows(self._decoder, self._path, self._leaves, self._key, number, roots, stays)
        new = []
        for chunk in footer.structs(ROW_GROUPS)[0].structs(COLUMNS):
            start, stop = chunk_range(meta_of(chunk))
            shift = self._sink.at - start
            self._sink.write(np.frombuffer(content, np.uint8)[start:stop])
            new.append(moved(chunk, shift))
            self._attachments.take(new[-1], InMemory(content), shift)
        return new

    def _cut(self, chunks: list[Struct], shapes: list[Shape], stays: Rows) -> list[Struct] | None:
        """The chunks cut; None when they are written in a way that is not handled, and nothing is left of them then."""
        start = self._sink.at
        new: list[tuple[Struct, Cut]] = []
        try:
            for chunk, shape in zip(chunks, shapes, strict=True):
                meta, at = meta_of(chunk), self._sink.at
                codec = UNCOMPRESSED if self._compression == "none" else meta.integer(META_CODEC) or 0
                cut = cut_chunk(self._file, self._sink, meta, shape, stays, codec)
                if not cut.aligned and chunk.integer(CHUNK_OFFSET_INDEX):
                    raise UnfamiliarError("an offset index over rows that cross pages")
                new.append((cut_chunk_of(meta, cut, shape, at, self._sink.at), cut))
        except UnfamiliarError:
            self._sink.rewind(start)
            return None
        for chunk, (made, cut) in zip(chunks, new, strict=True):
            if chunk.integer(CHUNK_OFFSET_INDEX):
                self._attachments.add_index(made, offset_index(cut))
        return [made for made, _ in new]

    def _name(self, chunk: Struct, source: Struct, leaf: Leaf) -> None:
        """Give a chunk the type, path and key/value metadata of the one it comes from."""
        meta, old = meta_of(chunk), meta_of(source)
        meta.copy_field(_META_TYPE, old)
        meta.copy_field(_META_PATH, old)
        pairs = old.fields[_META_KEY_VALUES][1] if _META_KEY_VALUES in old else None
        meta.drop(_META_KEY_VALUES)
        if isinstance(pairs, Sequence):
            kept, dropped = clean_pairs(pairs, self._keys)
            self.tainted += [f"key/value metadata {name} of column {leaf.path}" for name in dropped]
            if kept is not None and kept.items:
                meta.put(_META_KEY_VALUES, LIST, kept)
