"""The store of Parquet files: vectors, hashes or records, one row each, found by a key column.

Only files that hold a key are rewritten. What stays is what was there: values, order, row groups, schema,
metadata, codec and encodings of every column. What goes is gone from the pages, the dictionaries, the
statistics and the metadata of the new file; the blocks of the old one are the file system's to reuse, which
no program on top of it can hasten for certain.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stores.contract import Match, StoreFile
from stores.file_store import FileStore
from stores.keys import KeySet
from stores.parquet_assemble import Compression
from stores.parquet_inventory import list_files
from stores.parquet_locate import READ_ERRORS, identify, locate
from stores.parquet_rewrite import write_survivors

_BATCH_BYTES = 16 << 20


class ParquetStore(FileStore):
    """The Parquet files that `path`, a folder, file or glob, stands for; `key` is the column, dotted if nested.

    With `compression` "none" vectors that are cut out of pages are written back uncompressed.
    """

    kind = "parquet"
    read_errors = READ_ERRORS

    def __init__(self, path: str, key: str, compression: Compression = "keep") -> None:
        self.path, self.key, self.compression = path, key, compression

    def units(self) -> list[str]:
        """The real paths of the files, sorted."""
        return [str(file) for file in list_files(self.path).files]

    def folders(self) -> list[Path]:
        """All folders below the path, those without a file too."""
        return list(list_files(self.path).folders)

    def locate(self, unit: str, keys: KeySet) -> Match:
        """The positions of the keys in one file."""
        return locate(Path(unit), self.key, keys)

    def identify(self, path: Path) -> StoreFile:
        """By size, time and footer."""
        return identify(path)

    def write_survivors(self, match: Match, keys: KeySet, aside: Path) -> list[str]:
        """Rewrite the row groups that hold a key."""
        return write_survivors(match, self.key, keys, aside, self.compression)

    def rows(self, aside: Path, match: Match) -> Iterator[pa.RecordBatch]:
        """The rows of a new file as anybody reads them."""
        del match
        with pq.ParquetFile(aside, memory_map=True, pre_buffer=False) as file:
            metadata = file.metadata
            groups = [metadata.row_group(i) for i in range(file.num_row_groups)]
            widest = max((group.total_byte_size for group in groups), default=0)
            most = max((group.num_rows for group in groups), default=1)
            yield from file.iter_batches(max(1, min(65_536, _BATCH_BYTES * most // max(widest, 1))), use_threads=False)
