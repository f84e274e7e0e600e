"""Real DeepFace without a network: the Dlib model, whose weights a package brings, found where DeepFace looks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import pytest

os.environ.setdefault("DEEPFACE_BACKEND_ENGINE", "onnx")

from deepface import DeepFace  # noqa: E402 - it looks for its backend when it is imported

__all__ = ["DeepFace", "deepface_home"]

_WEIGHTS = "dlib_face_recognition_resnet_model_v1.dat"


@contextmanager
def deepface_home(folder: Path) -> Iterator[None]:
    """Have DeepFace keep its weights below `folder`, with those of Dlib there."""
    weights = folder / ".deepface/weights"
    weights.mkdir(parents=True)
    (weights / _WEIGHTS).symlink_to(str(files("face_recognition_models") / "models" / _WEIGHTS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPFACE_HOME", str(folder))
        yield
