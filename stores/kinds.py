"""The store of each kind. Their software is imported when it is needed."""

from schemas.job import StoreSection
from stores.contract import Store
from stores.parquet import ParquetStore


def open_store(store: StoreSection) -> Store:
    """Open a store, of which all paths are absolute, to purge it."""
    return ParquetStore(store.path, store.key)
