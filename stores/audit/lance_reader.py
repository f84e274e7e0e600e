"""Lance tables as the verifier reads them: every file below the folder, and the rows of the newest version."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lance
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from lance.file import LanceFileReader

from schemas.errors import InputError
from schemas.job import StoreSection
from stores.audit.arrays import is_list
from stores.audit.check import printable, view_file
from stores.audit.control import ROWS, Control, look_for, synthetic_rows
from stores.audit.fingerprints import is_vector_column
from stores.audit.inventory import Entry, take_inventory
from stores.audit.lance_file import READ_ERRORS
from stores.audit.rows import Rows, table_fingerprint
from stores.audit.scratch import scratch_folder, view_all
from stores.audit.siphash import Bytes

_COPIES = ("flat", "__sq_code")
"""Columns of an index file that hold a vector as the index has it: scaled to length 1, or in a byte a number."""
_PLANTED = 4


class LanceReader:
    """A store whose paths are absolute: a table, one table of a database, or a whole database."""

    rows_in_files = False
    packed = False

    def __init__(self, store: StoreSection) -> None:
        root = Path(store.path)
        self.root = (root / f"{store.table.removesuffix('.lance')}.lance" if store.table else root).resolve()
        self.key = store.key

    def entries(self) -> list[Entry]:
        """Every file below the folder."""
        return take_inventory(self.root)

    def view(self, path: str) -> Bytes:
        """The bytes of one file, mapped."""
        return view_file(self.root / path)

    def units(self) -> list[str]:
        """The folders of the tables."""
        folders = [self.root, *sorted(self.root.glob("*.lance"))]
        return [str(folder) for folder in folders if (folder / "_versions").is_dir()]

    def name(self, unit: str) -> str:
        """The path below the root; the name of the folder where that is the table."""
        path = os.path.relpath(unit, self.root)
        return printable(self.root.name if path == "." else path)

    def read(self, unit: str) -> Rows:
        """The rows of the newest version."""
        try:
            table = lance.dataset(unit)
            return Rows(table_fingerprint("lance", table.schema), table.schema, _raise_ours(table.to_batches()))
        except READ_ERRORS as error:
            raise InputError(f"{self.name(unit)} cannot be read as a Lance table; take it out of the store") from error

    def copies(self, batch: pa.RecordBatch) -> list[pa.Array]:
        """What the indexes of all tables hold of the vectors of these rows, to the bit: no formula would give that."""
        return [
            copy
            for unit in self.units()
            for copy in _copies(lance.dataset(unit), Path(unit), self.key, batch[self.key])
        ]

    def control(self, scratch: Path, key: bytes) -> Control | None:
        """Plant people in a table of the same schema, format and vector indexes, in a folder of its own."""
        for unit in self.units():
            try:
                sample = lance.dataset(unit)
                planted = synthetic_rows(sample.schema, self.key, next(iter(sample.to_batches(batch_size=ROWS)), None))
                with scratch_folder(scratch) as folder:
                    section = StoreSection(kind="lance", path=str(folder / "t.lance"), key=self.key, holds="vectors")
                    _plant(planted, sample, section.path)
                    reader = LanceReader(section)
                    (table,) = reader.units()
                    return look_for(reader.read(table), self.key, view_all(folder), key, reader.copies)
            except (InputError, NotImplementedError, *READ_ERRORS):
                continue
        return None


def _raise_ours(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches; what Lance raises in between as an OSError, which every reader of rows expects."""
    try:
        yield from batches
    except READ_ERRORS as error:
        raise OSError("a Lance table cannot be read to its end") from error


def _copies(table: lance.LanceDataset, folder: Path, key: str, keys: pa.Array) -> Iterator[pa.Array]:
    files = [path for path in sorted(folder.glob("_indices/*/auxiliary.idx")) if _copied_columns(path)]
    if not files:
        return
    found = [np.zeros(0, np.uint64)]
    for batch in table.scanner(columns=[key], with_row_id=True).to_batches():
        found.append(batch["_rowid"].to_numpy()[pc.is_in(batch[key], keys).to_numpy(zero_copy_only=False)])
    wanted = np.concatenate(found)
    for path in files:
        places = _places(path, wanted)
        if len(places):
            taken = LanceFileReader(str(path), columns=_copied_columns(path)).take_rows(places.tolist()).to_table()
            yield from (column.combine_chunks() for column in taken.columns)


def _copied_columns(path: Path) -> list[str]:
    """Which of the columns that hold vectors an index file has."""
    return [name for name in LanceFileReader(str(path)).metadata().schema.names if name in _COPIES]


def _places(path: Path, wanted: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """The ascending places of the rows with a `wanted` id in an index file."""
    ids = LanceFileReader(str(path), columns=["_rowid"]).read_all().to_table()["_rowid"].to_numpy()
    return np.flatnonzero(np.isin(ids, wanted))


def _plant(rows: pa.Table, sample: lance.LanceDataset, path: str) -> None:
    """Write `rows` as `sample` is written, with vector indexes of the same kinds, in the simplest form."""
    version: Any = sample.data_storage_version
    table = lance.write_dataset(rows, path, data_storage_version=version)
    for index in sample.describe_indices():
        details, (column,) = index.details, index.field_names
        kind = rows.schema.field(column).type
        if "metric_type" in details and is_list(kind) and is_vector_column(kind):
            graph = "HNSW_" if "hnsw" in details else ""
            coded = details.get("compression", {}).get("type", "flat") == "sq"
            table = table.create_index(
                column,
                f"IVF_{graph}{'SQ' if coded else 'FLAT'}",
                metric=details["metric_type"],
                num_partitions=_PLANTED,
                name=index.name,
            )
