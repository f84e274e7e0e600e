"""Which Parquet files a store path stands for, and which roots must not be rewritten file by file."""

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import InputError

_WILDCARDS = frozenset("*?[")
_KINDS = frozenset({"Delta", "Iceberg", "Lance"})
"""Table formats that are a kind of store by themselves."""


@dataclass(frozen=True)
class Inventory:
    """The files of a store, real paths without duplicates, sorted; and the folders they may have left things in."""

    files: tuple[Path, ...]
    folders: tuple[Path, ...]


def list_files(path: str) -> Inventory:
    """Resolve a folder (recursive), a file or a glob.

    Only names that end in `.parquet` count, unless the file is named or matched; hidden names never do.
    Links are followed: replacing a link would leave the data behind it where it is. Raises InputError when
    there is no file, or when a file belongs to a Delta, Iceberg, Hudi or Lance table, whose log and older
    versions would keep the data.
    """
    root = Path(path)
    if root.is_dir():
        folders = set(_walk(root.resolve(), set()))
        _refuse_tables(folders)
        files = {file.resolve() for folder in folders for file in folder.iterdir() if _is_parquet(file)}
    else:
        named = glob.glob(path, recursive=True) if _WILDCARDS & set(path) and not root.exists() else [path]
        files = {Path(name).resolve() for name in named if Path(name).is_file()}
        folders = set()
    if not files:
        found = "no file in it whose name ends in .parquet" if root.is_dir() else "no file there"
        raise InputError(f"store {path}: {found}; give a folder of Parquet files, one file or a glob")
    for file in files:
        if any("\ud800" <= letter <= "\udfff" for letter in str(file)):
            raise InputError(
                f"store {path}: the name of a file in it is not valid UTF-8 ({ascii(file.name)}); rename it"
            )
    folders |= {file.parent for file in files}
    _refuse_tables(folders)
    return Inventory(tuple(sorted(files)), tuple(sorted(folders)))


def _is_parquet(file: Path) -> bool:
    return file.name.lower().endswith(".parquet") and not file.name.startswith(".") and file.is_file()


def _walk(folder: Path, seen: set[Path]) -> Iterator[Path]:
    if folder in seen:
        return
    seen.add(folder)
    yield folder
    try:
        with os.scandir(folder) as entries:
            below = [Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except PermissionError as error:
        raise InputError(f"{folder} cannot be listed: make it readable, or what it holds would stay") from error
    for child in below:
        yield from _walk(child.resolve(), seen)


def _refuse_tables(folders: set[Path]) -> None:
    for folder in sorted({ancestor for place in folders for ancestor in (place, *place.parents)}):
        table = _table_format(folder)
        if table is None and folder in folders and any(folder.glob("*.lance")):
            table = "Lance"
        if table is not None:
            remedy = f'write kind = "{table.lower()}"' if table in _KINDS else f"delete through {table} itself"
            raise InputError(
                f"{folder} is or holds a {table} table: raw rewrite refused, since its log, statistics and older "
                f"versions would keep what is erased; {remedy}"
            )


def _table_format(folder: Path) -> str | None:
    if (folder / "_delta_log").is_dir():
        return "Delta"
    if any((folder / "metadata").glob("*.metadata.json")):
        return "Iceberg"
    if (folder / ".hoodie").is_dir():
        return "Hudi"
    if (folder / "_versions").is_dir() or folder.suffix == ".lance":
        return "Lance"
    return None
