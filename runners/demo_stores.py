"""The stores of a demo: face vectors and perceptual hashes, one a record, in an order that is not the records'."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from runners.demo_draw import Integers
from runners.demo_text import mix, opaque_ids, pick

DIMENSIONS = 128
_FACES_PER_FILE = 200_000
_FACES_PER_GROUP = 20_000


def write_faces(folder: Path, total: int, seed: int) -> None:
    """Write one unit vector a record, for records numbered 0 to `total` - 1."""
    schema = pa.schema(
        [("face_id", pa.string()), ("vector", pa.list_(pa.float32(), DIMENSIONS)), ("model", pa.string())]
    )
    models = pa.array(["demo-face-1", "demo-face-2"])
    for part, groups in _scattered(total, seed, "faces"):
        with pq.ParquetWriter(folder / f"part-{part:05d}.parquet", schema, compression="none") as file:
            random = np.random.default_rng([seed, part, 1])
            for numbers in groups:
                vectors = random.standard_normal((len(numbers), DIMENSIONS), np.float32)
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
                column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSIONS)
                version = (numbers % 10 > 0).astype(np.int64)
                file.write_table(
                    pa.table([opaque_ids(seed, "face", numbers), column, pick(models, version)], schema=schema)
                )


def write_hashes(folder: Path, total: int, seed: int) -> None:
    """Write one 64-bit perceptual hash a record, and the bucket of an index that it falls into."""
    schema = pa.schema([("face_id", pa.string()), ("phash", pa.binary(8)), ("bucket", pa.string())])
    buckets = pa.array([f"b{number:03x}" for number in range(1 << 12)])
    for part, groups in _scattered(total, seed, "hashes"):
        with pq.ParquetWriter(folder / f"part-{part:05d}.parquet", schema, compression="zstd") as file:
            for numbers in groups:
                hashes = mix(numbers, seed + 2)
                content = pa.py_buffer(hashes.astype(">u8").tobytes())
                column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(8), len(hashes), [None, content])
                bucket = pick(buckets, (hashes >> np.uint64(52)).astype(np.int64))
                file.write_table(pa.table([opaque_ids(seed, "face", numbers), column, bucket], schema=schema))


def _scattered(total: int, seed: int, kind: str) -> Iterator[tuple[int, Iterator[Integers]]]:
    """The numbers 0 to `total` - 1, each once, in an order of their own: files, and row groups of each."""
    golden = int(total * (0.618 if kind == "faces" else 0.382)) | 1
    step = next(candidate for candidate in range(golden, golden + total + 2) if math.gcd(candidate, total) == 1)
    files = max(3, math.ceil(total / _FACES_PER_FILE))

    def groups(first: int, stop: int) -> Iterator[Integers]:
        size = min(_FACES_PER_GROUP, max(math.ceil((stop - first) / 3), 1))
        for start in range(first, stop, size):
            yield (np.arange(start, min(start + size, stop)) * step + seed % total) % total

    for part in range(files):
        yield part, groups(total * part // files, total * (part + 1) // files)
