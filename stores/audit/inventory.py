"""Every file below a root: hidden, temporary, of any name. What is not listed here is not verified."""

import enum
import fnmatch
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from schemas.files import TEMPORARY_PREFIX


class Kind(enum.StrEnum):
    """What a directory entry is. Folders are walked and not listed."""

    FILE = "file"
    LINK_INSIDE = "link inside"
    """A symbolic link to something below the same root, which is listed by itself."""
    LINK_OUTSIDE = "link outside"
    """A symbolic link to elsewhere, or to nothing: never followed, so what it leads to is not verified."""
    OTHER = "other"
    """A socket, pipe or device."""
    OUT_OF_REACH = "cannot be read from here"
    """Files of a server, which are known to be somewhere and were not listed."""


@dataclass(frozen=True, order=True)
class Entry:
    """One directory entry: its path below the root with `/`, its size in bytes and when it was last changed."""

    path: str
    kind: Kind
    size: int
    modified_ns: int


def take_inventory(root: Path) -> list[Entry]:
    """List every entry below `root` that is not a folder, sorted by path.

    Raises OSError if a folder cannot be read: an inventory with a hole in it proves nothing.
    """
    return sorted(_walk(root, "", os.path.realpath(root)))


def belongs(entry: Entry, pattern: str | None) -> bool:
    """Whether an entry is of a store of all files, or of those of a `pattern`; temporary files always are."""
    if pattern is None or fnmatch.fnmatch(entry.path, pattern):
        return True
    return Path(entry.path).name.startswith(TEMPORARY_PREFIX)


def _walk(folder: Path, prefix: str, real_root: str) -> list[Entry]:
    entries = []
    with os.scandir(folder) as listing:
        for item in listing:
            path = prefix + item.name
            if item.is_dir(follow_symlinks=False):
                entries += _walk(Path(item.path), path + "/", real_root)
                continue
            status = item.stat(follow_symlinks=False)
            entries.append(Entry(path, _kind(item, status, real_root), status.st_size, status.st_mtime_ns))
    return entries


def _kind(item: "os.DirEntry[str]", status: os.stat_result, real_root: str) -> Kind:
    if stat.S_ISLNK(status.st_mode):
        target = os.path.realpath(item.path)
        inside = os.path.exists(target) and os.path.commonpath([target, real_root]) == real_root
        return Kind.LINK_INSIDE if inside else Kind.LINK_OUTSIDE
    return Kind.FILE if stat.S_ISREG(status.st_mode) else Kind.OTHER
