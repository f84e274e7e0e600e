"""A folder, file or glob of Parquet files on a file system, as the verifier reads it."""

import os
from pathlib import Path

import pyarrow as pa

from schemas.errors import InputError
from schemas.files import split_glob
from stores.audit.check import printable, view_file
from stores.audit.control import Control, run_control
from stores.audit.inventory import Entry, Kind, belongs, take_inventory
from stores.audit.reader import no_copies
from stores.audit.rows import Rows, read_rows
from stores.audit.siphash import Bytes


class ParquetReader:
    """`path` as the job file has it, absolute; `key` is the column of ids."""

    rows_in_files = True
    packed = False
    copies = staticmethod(no_copies)

    def __init__(self, path: str, key: str) -> None:
        root, self.pattern = split_glob(Path(path))
        self.root, self.key = root.resolve(), key

    def entries(self) -> list[Entry]:
        """Every entry below the root; hidden and temporary files belong to the store whatever their name."""
        return [entry for entry in take_inventory(self.root) if belongs(entry, self.pattern)]

    def view(self, path: str) -> Bytes:
        """The bytes of one file, mapped."""
        return view_file(self.root / path)

    def units(self) -> list[str]:
        """The real paths of the files that readers of the store open."""
        files = [entry for entry in self.entries() if entry.kind is Kind.FILE]
        names = [entry.path for entry in files if not Path(entry.path).name.startswith(".")]
        return [str(self.root / name) for name in names if self.pattern or name.lower().endswith(".parquet")]

    def name(self, unit: str) -> str:
        """The path below the root."""
        return printable(os.path.relpath(unit, self.root))

    def read(self, unit: str) -> Rows:
        """The rows of one file."""
        return read_rows(Path(unit))

    def control(self, scratch: Path, key: bytes) -> Control | None:
        """The positive control, in the layout of the first file that can be read."""
        for unit in self.units():
            try:
                return run_control(Path(unit), self.key, scratch, key)
            except (InputError, NotImplementedError, OSError, pa.ArrowException):
                continue
        return None
