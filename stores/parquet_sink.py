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
        self._stored = 0

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
            count = _copy_range(descriptor, self._descriptor, at, size)
            if not count:
                raise ValueError("the file ends where a page should be")
            at, size, self.at = at + count, size - count, self.at + count

    def start_storing(self) -> None:
        """Let the disk begin with what was written since the last call, so that the sync at the end waits less."""
        if hasattr(os, "posix_fadvise"):  # which Linux takes as a reason to write, and to forget what is written
            os.posix_fadvise(self._descriptor, self._stored, self.at - self._stored, os.POSIX_FADV_DONTNEED)
        self._stored = self.at

    def rewind(self, at: int) -> None:
        """Take back everything from `at` on."""
        os.ftruncate(self._descriptor, at)
        os.lseek(self._descriptor, at, os.SEEK_SET)
        self.at = at


def _copy_range(source: int, target: int, at: int, size: int) -> int:
    """Copy up to `size` bytes from `at` to where `target` stands; returns how many, 0 at the end of the source."""
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source, target, size, at)
        except OSError as error:
            if error.errno not in _NO_RANGE:
                raise
    content = os.pread(source, min(size, _AT_ONCE), at)
    return os.write(target, content) if content else 0
