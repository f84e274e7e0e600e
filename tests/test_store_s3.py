"""The store of Parquet objects on S3 keeps the contract of all stores, and what only object storage can get wrong."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.job import StoreSection
from tests.s3_server import S3Server, credentials
from tests.store_contract import Case, StoreContract, Vectors

__all__ = ["credentials"]

FILES, ROWS, DIMENSIONS = 3, 200, 64


class S3Case(Case):
    """Three objects below `faces/`; two of them have older versions, with more people in them."""

    def __init__(self, server: S3Server, bucket: str) -> None:
        self.server, self.bucket = server, bucket
        self.section = StoreSection(
            kind="parquet", path=f"s3://{bucket}/faces/", holds="vectors", options=server.options
        )
        random = np.random.default_rng(4)
        for file in range(FILES):
            names = [f"face-{file}-{row:04d}" for row in range(ROWS)]
            vectors = random.standard_normal((ROWS, DIMENSIONS), np.float32)
            self.write(file, names, vectors)
            if file:
                self.write(file, names[:-3], vectors[:-3])
        self.gone = [f"face-{file}-{row:04d}" for file in range(FILES) for row in range(0, ROWS - 3, 17)]

    def key(self, file: int) -> str:
        """The key of one object."""
        return f"faces/part {file}/ü.parquet"

    def write(self, file: int, names: list[str], vectors: np.ndarray) -> None:
        """Put one object, as anybody would."""
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSIONS)
        content = io.BytesIO()
        pq.write_table(pa.table({"face_id": names, "vector": column}), content, row_group_size=50)
        self.server.client.put_object(Bucket=self.bucket, Key=self.key(file), Body=content.getvalue())

    def table(self, file: int) -> tuple[list[str], np.ndarray]:
        """Ids and vectors of one object."""
        body = self.server.client.get_object(Bucket=self.bucket, Key=self.key(file))["Body"].read()
        table = pq.read_table(pa.BufferReader(body))
        return table["face_id"].to_pylist(), np.array(table["vector"].to_pylist(), np.float32).reshape(-1, DIMENSIONS)

    def contents(self) -> Vectors:
        found: Vectors = {}
        for file in range(FILES):
            names, vectors = self.table(file)
            found |= dict(zip(names, vectors, strict=True))
        return found

    def insert(self, name: str) -> None:
        names, vectors = self.table(0)
        self.write(0, [*names, name], np.concatenate([vectors, np.full((1, DIMENSIONS), 0.5, np.float32)]))

    def delete_plainly(self, names: list[str]) -> None:
        for file in range(FILES):
            there, vectors = self.table(file)
            kept = [i for i, name in enumerate(there) if name not in names]
            self.write(file, [there[i] for i in kept], vectors[kept])


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    running = S3Server.start()
    yield running
    running.stop()


class TestS3(StoreContract):
    versioning = "Enabled"

    @pytest.fixture(autouse=True)
    def _server(self, server: S3Server) -> None:
        self.server = server

    def make(self, folder: Path) -> Case:
        folder.mkdir(parents=True)
        return S3Case(self.server, self.server.bucket(self.versioning))


class TestS3WithoutVersions(TestS3):
    versioning = ""

