"""Search some bytes for everything listed, as deep as their format can be read."""

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stores.audit import avro, parquet, postgres, sqlite
from stores.audit.arrays import Runs, binary_runs, byte_width, fixed_bytes, is_binary, leaves
from stores.audit.containers import Format, numbers_in_text, recognise, unpack
from stores.audit.jsontext import json_values
from stores.audit.needles import Needles, Tables, find_values
from stores.audit.pages import Place
from stores.audit.rows import RowDigest
from stores.audit.scan import ID, VECTOR, Hits, scan, scan_values
from stores.audit.siphash import Bytes, Offsets

_DEEPEST = 3
_RAW = Place("raw bytes")


@dataclass(frozen=True)
class Finding:
    """`count` different listed ids or vectors (`what` is `id` or `vector`) in one place of a file."""

    what: str
    where: str
    count: int
    row_group: int | None = None
    column: str | None = None


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings in the order in which they are told."""
    return tuple(sorted(findings, key=lambda one: (one.what, one.where, one.row_group or 0, one.column or "")))


NOBODY: Offsets = np.zeros(0, np.int64)


class Examination:
    """Collects what is found in one file, and why some of it could not be read."""

    def __init__(
        self,
        needles: Needles,
        key: bytes,
        key_column: str | None,
        *,
        packed: bool = False,
        ambiguous: Offsets = NOBODY,
    ) -> None:
        self.tables = needles.tables
        self.packed = packed
        self.key = key
        self.key_column = key_column
        self.problems: list[str] = []
        self.rows: RowDigest | None = None
        self.schema: str | None = None
        self.ambiguous = ambiguous
        self.found: dict[tuple[str, Place], set[int]] = defaultdict(set)

    def findings(self) -> tuple[Finding, ...]:
        """Everything found, in a fixed order."""
        listed = [
            Finding(what, place.what, len(numbers), place.row_group, place.column)
            for (what, place), numbers in self.found.items()
        ]
        return in_order(listed)

    def numbers(self, what: str) -> frozenset[int]:
        """The numbers of all ids (`what` is `id`) or vectors found anywhere in the file."""
        return frozenset().union(*(numbers for (kind, _), numbers in self.found.items() if kind == what))

    def scan_name(self, path: str) -> None:
        """Search a path: a partition folder may be named after a person."""
        name = np.frombuffer(os.fsencode(path), np.uint8)
        self.add(scan(name, self.tables), Place("file name"))
        parts = pa.array([part for part in os.fsencode(path).split(b"/")], pa.large_binary())
        self.add_equal(binary_runs(parts), Place("file name"))

    def examine(self, data: Bytes, depth: int = 0, known: Format | None = None) -> Format:
        """Search `data`, a whole file or something packed in one, of the format `known` or as its bytes tell."""
        kind = known or recognise(data)
        if kind is Format.PARQUET:
            parquet.examine(data, self, own_rows=depth == 0)
            return kind
        if kind is Format.LANCE:
            from stores.audit import lance_file  # its software is loaded where there is such a file

            lance_file.examine(data, self)
            return kind
        self.add(scan(data, self.tables, packed=self.packed), _RAW)
        if kind is Format.ARROW:
            self._examine_arrow(data)
        elif kind is Format.TEXT:
            self._examine_text(data)
        elif kind is Format.AVRO:
            avro.examine(data, self)
        elif kind is Format.SQLITE:
            self.problems += sqlite.doubts(data)
            for piece in sqlite.cuts(data):
                self.add(scan(piece, self.tables, packed=True), Place("values across pages"))
        elif kind is Format.POSTGRES_LOG:
            for piece in postgres.log_cuts(data):
                self.add(scan(piece, self.tables, packed=True), Place("values across pages"))
        elif kind is Format.SQLITE_LOG:
            self.problems.append("a log with pages as they were: an SQLite checkpoint, or rollback, empties it")
        elif kind is Format.FAISS:
            from stores.audit import faiss_file

            faiss_file.examine(data, self)
        elif kind is Format.UNKNOWN:
            self.problems.append("its format is not known: its bytes were scanned, what they encode cannot be read")
        elif depth == _DEEPEST:
            self.problems.append(f"packed more than {_DEEPEST} times")
        else:
            for content in unpack(data, kind):
                self.problems += [content.problem] if content.problem else []
                self.examine(content.data, depth + 1)
        return kind

    def _examine_arrow(self, data: Bytes) -> None:
        source = pa.BufferReader(pa.py_buffer(data))
        try:
            if bytes(data[:6]) == b"ARROW1":
                file = pa.ipc.open_file(source)
                for i in range(file.num_record_batches):
                    self.scan_columns(file.get_batch(i))
            else:
                for batch in pa.ipc.open_stream(source):
                    self.scan_columns(batch)
        except (pa.ArrowException, OSError, ValueError) as error:
            self.problems.append(f"it looks like Arrow IPC and cannot be read ({type(error).__name__})")

    def _examine_text(self, data: Bytes) -> None:
        texts = [text.encode("utf-8", "surrogatepass") for text in json_values(data, self.key_column)]
        self.scan_texts(binary_runs(pa.array(texts, pa.large_binary())), Place("JSON values"))
        for what in ("id", "vector"):  # what the bytes show as well is told once
            unescaped = self.found.pop((what, Place("JSON values")), set()) - self.found.get((what, _RAW), set())
            self._note(what, Place("JSON values"), sorted(unescaped))
        for numbers in numbers_in_text(data):
            with np.errstate(over="ignore"):
                for width in ("<f4", "<f8"):
                    self.add(scan(numbers.astype(width).view(np.uint8), self.tables), Place("decimal numbers"))

    def scan_texts(self, values: Runs, place: Place) -> None:
        """Search texts and byte strings, each by itself."""
        self.add_equal(values, place)
        self.add(scan_values(values, self.tables), place)

    def scan_columns(self, batch: pa.RecordBatch) -> None:
        """Search every decoded value of `batch`."""
        for field, column in zip(batch.schema, batch.columns, strict=True):
            self.scan_column(column, Place("values", column=field.name))

    def scan_column(self, column: pa.Array, place: Place) -> None:
        """Search every decoded value of `column`, and its vectors as they lie in memory."""
        for leaf in leaves(column):
            width = byte_width(leaf.type)
            if is_binary(leaf.type):
                self.add(scan_values(binary_runs(leaf), self.tables), place)
            elif width is not None:
                self.add(scan(fixed_bytes(leaf.drop_null(), width), self.tables), place)

    def add_equal(self, values: Runs, place: Place) -> Offsets:
        """Note every value that is a listed id; returns which one each is, or -1."""
        numbers = find_values(values, self.tables)
        self._note("id", place, numbers[numbers >= 0])
        return numbers

    def add(self, hits: Hits, place: Place) -> None:
        """Note hits that all are in one place."""
        kept = self.counts(hits)
        self._note("vector", place, hits.numbers[kept & (hits.kinds == VECTOR)])
        self._note("id", place, hits.numbers[kept & (hits.kinds != VECTOR)])

    def counts(self, hits: Hits) -> npt.NDArray[np.bool_]:
        """Which hits count: an ambiguous id does only as a whole value."""
        if not len(self.ambiguous):
            return np.ones(len(hits.numbers), np.bool_)
        # They ascend and may be mapped, so they are searched rather than copied.
        place = np.minimum(np.searchsorted(self.ambiguous, hits.numbers), len(self.ambiguous) - 1)
        kept: npt.NDArray[np.bool_] = (hits.kinds != ID) | (self.ambiguous[place] != hits.numbers)
        return kept

    def note_ambiguous(self, keys: Runs, numbers: Offsets) -> None:
        """Remember listed ids that occur inside surviving `keys`; `numbers` as from `add_equal`."""
        inside = find_ambiguous(keys, numbers, self.tables, packed=self.packed)
        if len(inside):
            self.ambiguous = np.union1d(self.ambiguous, inside)

    def _note(self, what: str, place: Place, numbers: Iterable[int]) -> None:
        numbers = np.unique(np.asarray(numbers)).tolist()
        if numbers:
            self.found[what, place].update(numbers)


def find_ambiguous(keys: Runs, numbers: Offsets, tables: Tables, *, packed: bool = False) -> Offsets:
    """The listed ids that occur inside other `keys`, ascending; `numbers` tell which one each key is, or -1."""
    hits = scan_values(keys, tables, packed=packed)
    inside = (hits.kinds == ID) & (numbers[hits.ends] != hits.numbers)
    ambiguous: Offsets = np.unique(hits.numbers[inside])
    return ambiguous
