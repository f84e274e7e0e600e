"""DeepFace databases of synthetic people, written and searched by DeepFace's own clients."""

import os
from typing import Any

import numpy as np
import numpy.typing as npt

os.environ.setdefault("DEEPFACE_BACKEND_ENGINE", "onnx")

CRITERIA = {"model_name": "Dlib", "detector_backend": "skip"}
DIMENSIONS, PEOPLE, SIDE = 128, 120, 12


def people(names: list[str], seed: int = 7, dimensions: int = DIMENSIONS) -> list[dict[str, Any]]:
    """What DeepFace's `register` gives its clients: a crop and a vector a name, of single precision as models' are."""
    random = np.random.default_rng(seed)
    return [
        {
            "img_name": name,
            "face": random.random((SIDE, SIDE, 3)),
            "embedding": random.standard_normal(dimensions, np.float32).tolist(),
            "aligned": True,
            "l2_normalized": False,
            **CRITERIA,
        }
        for name in names
    ]


def build_index(database_type: str, connection: object) -> None:
    """Build or extend the index, as a user of DeepFace does; no model is loaded for it."""
    from deepface import DeepFace

    DeepFace.build_index(**CRITERIA, database_type=database_type, connection=connection)


def nearest(index: bytes, vector: npt.NDArray[np.floating], count: int = 5) -> list[int]:
    """The ids DeepFace's `search` gets from its index for a vector."""
    import faiss

    found = faiss.deserialize_index(np.frombuffer(index, np.uint8)).search(vector.astype("f4").reshape(1, -1), count)
    return [int(one) for one in found[1][0] if one >= 0]
