"""Settings that all tests share."""

import os

from hypothesis import settings

# The first example of a property may compile a kernel; time is not what the tests judge.
settings.register_profile("lethe", deadline=None, print_blob=True)
settings.load_profile("lethe")

# DeepFace writes what it does to standard output, where some tests expect JSON; whoever imports it first decides.
os.environ.setdefault("DEEPFACE_BACKEND_ENGINE", "onnx")
os.environ.setdefault("DEEPFACE_LOG_LEVEL", "40")
