"""Weights as 16-bit integers: nothing overflows, and no process, compiler or cache changes a bit."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.fixed_point import GRID, add_rows, to_fixed

MOST = 8191 / GRID

DIGEST = """
import hashlib, pathlib, sys
import pyarrow as pa
from classifiers.language import LanguageMode, load_language_model
model = load_language_model(LanguageMode.ACCURATE)
texts = pa.array(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8").split("\\n")[:2000])
content = b"".join(part.tobytes() for part in (*model.likeliest(texts), *model.distribution(texts)))
print(hashlib.sha256(content).hexdigest())
"""


@given(st.lists(st.lists(st.floats(-MOST, MOST, width=32), min_size=3, max_size=3), max_size=40), st.integers(0, 99))
def test_sums_are_exact(weights: list[list[float]], repeated: int) -> None:
    table = np.array(weights, np.float32).reshape(-1, 3)
    fixed = to_fixed(table)
    rows = np.arange(len(table) * repeated, dtype=np.int32) % max(len(table), 1)
    total = np.zeros(fixed.shape[1], np.int32)
    add_rows(rows, fixed, total)
    assert total[:3].tolist() == (np.rint(table * GRID).astype(np.int64).sum(axis=0) * repeated).tolist()
    assert not total[3:].any()


@pytest.mark.parametrize("weight", [16.0, -16.0, 100.0, 128.0, -1e9])
def test_a_weight_that_could_overflow_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="between -16 and 16"):
        to_fixed(np.array([[1.0, weight]]))


@pytest.mark.slow
def test_a_kernel_just_compiled_and_one_from_the_cache_give_the_same_bytes(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", DIGEST, str(root / "README.md")]
    first, again = (subprocess.check_output(command, env=environment, text=True) for _ in range(2))
    assert first == again
