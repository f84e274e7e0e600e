"""Photos registered with DeepFace itself, one person erased, and DeepFace's own search asked about everybody."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.job import StoreSection
from stores.audit.verdict import Status
from tests.deepface_home import DeepFace, deepface_home
from tests.store_contract import Bench, Case, Vectors, same

PEOPLE, PHOTOS = 6, 3


class Photos(Case):
    """Synthetic photos, several of each person."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.file = folder / "faces.db"
        self.options = {"model_name": "Dlib", "detector_backend": "skip", "database_type": "sqlite"}
        self.options["connection_details"] = str(self.file)
        self.photos = {
            f"person-{who}/{which}.jpg": draw(who, which) for who in range(PEOPLE) for which in range(PHOTOS)
        }
        self.section = StoreSection(kind="deepface", path=str(self.file), key="img_name", holds="vectors")
        self.gone = [name for name in self.photos if name.startswith("person-2/")]

    def contents(self) -> Vectors:
        with closing(sqlite3.connect(self.file)) as db:
            rows = db.execute("SELECT img_name, embedding FROM embeddings").fetchall()
        return {name: np.frombuffer(vector, "<f8") for name, vector in rows}

    def insert(self, name: str) -> None:
        self.photos[name] = draw(99, 0)
        DeepFace.register(img=self.photos[name], img_name=name, **self.options)
        DeepFace.build_index(**self.options)

    def delete_plainly(self, names: list[str]) -> None:
        with closing(sqlite3.connect(self.file)) as db, db:
            db.executemany("DELETE FROM embeddings WHERE img_name = ?", [(name,) for name in names])

    def find(self, name: str) -> list[str | None]:
        """The names DeepFace's search gives for a photo, nearest first."""
        found: Any = DeepFace.search(
            img=self.photos[name], search_method="ann", similarity_search=True, k=4, return_type="dict", **self.options
        )
        return [one["img_name"] for one in found[0]]


def draw(person: int, photo: int) -> np.ndarray:
    """A picture of large soft patches, other ones for each person, a little different in each photo."""
    coarse = np.random.default_rng(person).integers(0, 256, (5, 5, 3))
    picture = np.kron(coarse, np.ones((30, 30, 1)))
    noise = np.random.default_rng(1000 + 10 * person + photo).normal(0, 12, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with deepface_home(tmp_path / "home"):
        case = Photos(tmp_path / "store")
        for name, photo in case.photos.items():
            DeepFace.register(img=photo, img_name=name, **case.options)
        DeepFace.build_index(**case.options)
        yield Bench(case, tmp_path)


def test_deepface_finds_everybody_else_and_nobody_who_went(bench: Bench) -> None:
    case = bench.case
    assert isinstance(case, Photos)
    before = case.contents()
    assert case.find(case.gone[0])[0] == case.gone[0]
    bench.purge()
    verdict = bench.verify()
    assert verdict.status is Status.CLEAN, verdict.reasons
    assert same(case.contents(), {name: vector for name, vector in before.items() if name not in case.gone})
    for name in case.photos:
        found = case.find(name)
        assert found and None not in found
        assert not set(found) & set(case.gone)
        if name not in case.gone:
            assert found[0] == name
    # What is registered later is added to the index that was built again.
    case.insert("newcomer.jpg")
    assert case.find("newcomer.jpg")[0] == "newcomer.jpg"
