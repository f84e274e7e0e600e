"""The new file while it is written: pieces go to its end, and what was begun in vain is taken back."""

import errno
import os
from pathlib import Path

import numpy as np

from stores.parquet_levels import Bytes

_NO_RANGE = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}
_AT_ONCE = 1 << 22


class Sink:
    """A new file, unbuffered; `at` is its end so far. Only the owner may read it until it takes its place."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self.at = 0

    def __enter__(self) -> "Sink":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def write(self, *pieces: bytes | Bytes) -> None:
        """Append the pieces."""
        arrays = [np.frombuffer(piece, np.uint8) for piece in pieces if len(piece)]
        while arrays:
            count = os.writev(self._descriptor, [array.data for array in arrays])
            self.at += count
            while arrays and count >= len(arrays[0]):
                count -= len(arrays.pop(0))
            if arrays:
                arrays[0] = arrays[0][count:]

    def copy(self, descriptor: int, at: int, size: int) -> None:
        """Append `size` bytes of another file from `at` on; the kernel moves them, where the file system lets it."""
        while size:
            try:
                count = os.copy_file_range(descriptor, self._descriptor, size, at)
            except OSError as error:
                if error.errno not in _NO_RANGE:
                    raise
                content = os.pread(descriptor, min(size, _AT_ONCE), at)
                count = os.write(self._descriptor, content) if content else 0
            if not count:
                raise ValueError("the file ends where a page should be")
            at, size, self.at = at + count, size - count, self.at + count

    def rewind(self, at: int) -> None:
        """Take back everything from `at` on."""
        os.ftruncate(self._descriptor, at)
        os.lseek(self._descriptor, at, os.SEEK_SET)
        self.at = at
