"""The store of Parquet files keeps the contract of all stores."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.job import StoreSection
from tests.store_contract import Case, StoreContract, Vectors

FILES, ROWS, DIMENSIONS = 3, 200, 64


class ParquetCase(Case):
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.section = StoreSection(kind="parquet", path=str(folder), holds="vectors")
        random = np.random.default_rng(4)
        for file in range(FILES):
            names = [f"face-{file}-{row:04d}" for row in range(ROWS)]
            self._write(file, names, random.standard_normal((ROWS, DIMENSIONS), np.float32))
        self.gone = [f"face-{file}-{row:04d}" for file in range(FILES) for row in range(0, ROWS, 17)]

    def _write(self, file: int, names: list[str], vectors: np.ndarray) -> None:
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSIONS)
        pq.write_table(
            pa.table({"face_id": names, "vector": column}), self.folder / f"{file}.parquet", row_group_size=50
        )

    def contents(self) -> Vectors:
        table = pq.read_table(self.folder)
        vectors = np.array(table["vector"].to_pylist(), np.float32).reshape(-1, DIMENSIONS)
        return dict(zip(table["face_id"].to_pylist(), vectors, strict=True))

    def insert(self, name: str) -> None:
        table = pq.read_table(self.folder / "0.parquet")
        vectors = np.array([*table["vector"].to_pylist(), [0.5] * DIMENSIONS], np.float32)
        self._write(0, [*table["face_id"].to_pylist(), name], vectors)

    def delete_plainly(self, names: list[str]) -> None:
        for file in range(FILES):
            table = pq.read_table(self.folder / f"{file}.parquet")
            kept = [i for i, name in enumerate(table["face_id"].to_pylist()) if name not in names]
            pq.write_table(table.take(kept), self.folder / f"{file}.parquet")


class TestParquet(StoreContract):
    def make(self, folder: Path) -> Case:
        return ParquetCase(folder)
