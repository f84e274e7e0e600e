"""DeepFace's PostgreSQL and pgvector tables keep the contract of all stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deepface_postgres_case import CosineCase, PgvectorCase, PostgresCase, running_server
from tests.store_contract import Case, StoreContract

Server = tuple[str, str]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as started:
        yield started


class OnServer(StoreContract):
    deterministic_files = False

    @pytest.fixture(autouse=True)
    def _on(self, server: Server) -> None:
        self.server = server


class TestDeepFacePostgres(OnServer):
    def make(self, folder: Path) -> Case:
        return PostgresCase(*self.server)


class TestDeepFacePgvector(OnServer):
    def make(self, folder: Path) -> Case:
        return PgvectorCase(*self.server)


@pytest.mark.slow
class TestDeepFacePostgresCompressed(OnServer):
    """512 numbers of single precision in double precision: PostgreSQL compresses them."""

    def make(self, folder: Path) -> Case:
        return PostgresCase(*self.server, dimensions=512)


@pytest.mark.slow
class TestDeepFacePgvectorCosine(OnServer):
    def make(self, folder: Path) -> Case:
        return CosineCase(*self.server, dimensions=512)
