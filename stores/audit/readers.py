"""The reader of each kind of store. Their software is imported when it is needed."""

from schemas.job import StoreSection
from schemas.s3 import SCHEME
from stores.audit.parquet_reader import ParquetReader
from stores.audit.reader import Reader


def open_reader(store: StoreSection) -> Reader:
    """Open a store, of which all paths are absolute, for the verifier."""
    match store.kind:
        case "delta":
            from stores.audit.delta_reader import DeltaReader

            return DeltaReader(store.path, store.key)
        case "iceberg":
            from stores.audit.iceberg_reader import IcebergReader

            return IcebergReader(store.path, store.key, store.table, store.options)
        case "deepface":
            if "://" in store.path:
                from stores.audit.deepface_postgres_reader import DeepFacePostgresReader

                return DeepFacePostgresReader(store.path, store.key, store.table, store.data)
            from stores.audit.deepface_sqlite_reader import DeepFaceSqliteReader

            return DeepFaceSqliteReader(store.path, store.key)
        case "faiss":
            from stores.audit.faiss_reader import FaissReader

            return FaissReader(store)
        case "parquet" if store.path.startswith(SCHEME):
            from stores.audit.s3_reader import S3Reader

            return S3Reader(store.path, store.key, store.options)
        case "lance":
            from stores.audit.lance_reader import LanceReader

            return LanceReader(store)
        case _:
            return ParquetReader(store.path, store.key)
