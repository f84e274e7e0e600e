"""Writing files so that a crash leaves the old file or the new one, and naming their content by digest."""

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

TEMPORARY_PREFIX = ".lethe-tmp-"
"""Every unfinished file lethe writes starts so; the janitor removes what a crash left, verification looks for it."""


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to, in the folder of `path`; on success it replaces `path`, durably.

    The temporary name is unique per attempt and the final name is not, so two attempts at the same
    work end in the same file. If the body raises, the temporary file is removed and `path` is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    try:
        yield aside
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.replace(path)
        sync_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes, so their digests can be compared."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def write_json(path: Path, value: object) -> None:
    """Write `value` for people and machines to read: indented, keys in the order given, replaced atomically."""
    with replacing(path) as aside:
        aside.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def digest_bytes(content: bytes) -> str:
    """`sha256:<hex>` of `content`."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def digest_file(path: Path) -> str:
    """`sha256:<hex>` of the bytes of the file at `path`."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def remove_temporaries(root: Path) -> list[Path]:
    """Remove what interrupted attempts left below `root`, which may hold personal data; returns what it removed."""
    leftovers = sorted(root.rglob(f"{TEMPORARY_PREFIX}*")) if root.is_dir() else []
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    return leftovers


def split_glob(path: Path) -> tuple[Path, str | None]:
    """A folder and the pattern below it that a path stands for; no pattern where the path is the folder itself."""
    wild = next((i for i, part in enumerate(path.parts) if set(part) & set("*?[")), None)
    if wild is not None and not path.exists():
        return Path(*path.parts[:wild]), str(Path(*path.parts[wild:]))
    return (path.parent, path.name) if path.is_file() else (path, None)
