"""The store of each kind. Their software is imported when it is needed."""

from schemas.job import StoreSection
from schemas.s3 import SCHEME
from stores.contract import Store
from stores.parquet import ParquetStore


def open_store(store: StoreSection) -> Store:
    """Open a store, of which all paths are absolute, to purge it."""
    match store.kind:
        case "delta":
            from stores.delta import DeltaStore

            return DeltaStore(store.path, store.key)
        case "deepface":
            from stores.deepface_sqlite import DeepFaceSqlite

            return DeepFaceSqlite(store.path, store.key)
        case "faiss":
            from stores.faiss import FaissStore

            return FaissStore(store)
        case "parquet" if store.path.startswith(SCHEME):
            from stores.parquet_s3 import ParquetS3Store

            return ParquetS3Store(store.path, store.key, store.options)
        case _:
            return ParquetStore(store.path, store.key)
