"""What Delta and Iceberg tables have in common: Parquet files below one folder, and a list of those that count.

A file that holds listed rows gets a successor, written by the rewrite that Parquet stores use, so that layout, schema
and field ids stay; all other files are not touched. What no list names any more is removed, below the folder only.
"""

import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from schemas.errors import InputError, LetheError
from schemas.files import replacing, sync_folder
from stores.contract import Positions
from stores.keys import KeySet
from stores.parquet_locate import READ_ERRORS, locate
from stores.parquet_rewrite import write_survivors
from stores.tables import StoreError


@dataclass(frozen=True)
class Rewritten:
    """A file that held listed rows, and what takes its place: None when every row of it goes."""

    old: Path
    new: Path | None
    rows_removed: int


def local_path(place: str) -> Path:
    """A path or `file://` address as a real path; nothing in it is unquoted. Raises InputError for object storage."""
    scheme, found, rest = place.partition(":")
    if not found or "/" in scheme:
        return Path(place).resolve()
    if scheme != "file":
        raise InputError(
            f"{scheme}:// is no place on a file system; tables are purged there only: give a path or file:///..."
        )
    return Path("/" + rest.removeprefix("//localhost/").lstrip("/")).resolve()


def count_rows(file: Path) -> int:
    """The rows of a Parquet file, from its footer. Raises StoreError when it cannot be read."""
    try:
        return int(pq.read_metadata(file).num_rows)
    except READ_ERRORS as error:
        raise StoreError(f"a data file of the table cannot be read: {type(error).__name__}") from error


def find_rows(file: Path, key: str, keys: KeySet) -> Positions:
    """Where the keys are in one data file, by row group. Raises StoreError when it cannot be read."""
    match = locate(file, key, keys)
    if match.problem is not None:
        raise StoreError(f"a data file of the table cannot be read: {match.problem}")
    return match.positions


def rewrite_file(file: Path, key: str, keys: KeySet) -> Rewritten | None:
    """Write `file` without the listed rows under a new name beside it; None if it holds none. Raises StoreError."""
    match = locate(file, key, keys)
    if match.problem is not None:
        raise StoreError(f"a data file of the table cannot be read: {match.problem}")
    if not match.rows:
        return None
    if match.rows == match.file.rows:
        return Rewritten(file, None, match.rows)
    new = file.with_name(f"part-00000-{uuid.uuid4()}-c000.parquet")
    try:
        with replacing(new) as aside:
            write_survivors(match, key, keys, aside)
    except READ_ERRORS as error:
        raise StoreError(f"a data file of the table cannot be written anew: {type(error).__name__}") from error
    except LetheError as error:
        raise StoreError(f"a data file of the table cannot be written anew: {error}") from error
    return Rewritten(file, new, match.rows)


def files_below(root: Path) -> list[Path]:
    """Every file and link below `root`, hidden ones too; links are not followed."""
    return sorted(_walk(root))


def _walk(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))
            else:
                yield Path(entry.path)


def remove_files(root: Path, files: Iterable[Path]) -> None:
    """Remove `files`, in this order and durably, and folders below `root` that are empty then; repeatable.

    The name of a folder may be a value of somebody who is gone.
    """
    folders = set()
    for file in files:
        if not file.is_relative_to(root):
            raise StoreError("a file to remove is not below the table's folder; nothing of it was touched")
        file.unlink(missing_ok=True)
        folders.add(file.parent)
    for folder in folders:
        if folder.is_dir():
            sync_folder(folder)
    for folder in sorted(folders, reverse=True):
        while folder != root and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent
            sync_folder(folder)


def without_sidecars(files: Iterable[Path], keep: set[Path]) -> list[Path]:
    """Those of `files` that are neither kept nor Hadoop's checksum (`.name.crc`) of one that is."""
    sidecars = {file.with_name(f".{file.name}.crc") for file in keep}
    return [file for file in files if file not in keep and file not in sidecars]
