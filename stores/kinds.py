"""The store of each kind. Their software is imported when it is needed."""

from schemas.errors import InputError
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
        case "iceberg":
            from stores.iceberg import IcebergStore

            return IcebergStore(store.path, store.key, store.table, store.options)
        case "deepface":
            return _open_deepface(store)
        case "faiss":
            from stores.faiss import FaissStore

            return FaissStore(store)
        case "parquet" if store.path.startswith(SCHEME):
            from stores.parquet_s3 import ParquetS3Store

            return ParquetS3Store(store.path, store.key, store.options, store.compression)
        case "lance":
            from stores.lance import LanceStore

            return LanceStore(store)
        case _:
            return ParquetStore(store.path, store.key, store.compression)


def _open_deepface(store: StoreSection) -> Store:
    scheme, found, _ = store.path.partition("://")
    if not found:
        from stores.deepface_sqlite import DeepFaceSqlite

        return DeepFaceSqlite(store.path, store.key)
    if scheme in ("postgresql", "postgres"):
        from stores.deepface_postgres import DeepFacePostgres

        return DeepFacePostgres(store.path, store.key, store.table)
    raise InputError(
        f"DeepFace's databases of {scheme}:// are not known; write the path of its SQLite file, or postgresql://..."
    )
