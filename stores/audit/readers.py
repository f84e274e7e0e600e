"""The reader of each kind of store. Their software is imported when it is needed."""

from schemas.job import StoreSection
from stores.audit.parquet_reader import ParquetReader
from stores.audit.reader import Reader


def open_reader(store: StoreSection) -> Reader:
    """Open a store, of which all paths are absolute, for the verifier."""
    return ParquetReader(store.path, store.key)
