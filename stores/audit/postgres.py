"""The files of a PostgreSQL server's data directory, as bytes: which are known, and what a plain search would miss.

Tables, indexes, commit states and the write-ahead log hold values as they are in memory, so they are searched as they
are; only the log puts a header into a value that goes on in its next page. Long values may be compressed (pglz): the
fingerprints hold that form too. Source: PostgreSQL 16, storage layout (chapter 73) and xlog_internal.h.
"""

import re
from collections.abc import Iterator

import numpy as np

from stores.audit.containers import Format
from stores.audit.siphash import Bytes

_RELATION = r"(base/\d+|global|pg_tblspc/\d+/PG_[^/]+/\d+)/((t\d+_)?\d+(_(fsm|vm|init))?(\.\d+)?|pg_filenode\.map|"
_RELATION += r"pg_internal\.init)"
_STATES = r"pg_(xact|multixact/(offsets|members)|subtrans|commit_ts|notify|serial)/[0-9A-F]{4,}"
_OTHERS = r"global/pg_control|pg_logical/replorigin_checkpoint|pg_stat/pgstat\.stat|pg_replslot/[^/]+/(state|.*\.spill)"
_PAGES = re.compile(f"{_RELATION}|{_STATES}|{_OTHERS}")
_LOG = re.compile(r"pg_wal/[0-9A-F]{24}(\.partial)?")
_ALWAYS_WRITTEN = re.compile(r"global/pg_control|pg_wal/[0-9A-F]{24}|postmaster\.pid|pg_xact/.*|pg_logical/.*")

LOG_PAGE = 8192
_LOG_HEADER = 24
_REACH = 1024


def format_of(path: str) -> Format | None:
    """What a file of the data directory is by its place; None for one that a server does not put there."""
    if _LOG.fullmatch(path):
        return Format.POSTGRES_LOG
    return Format.PAGES if _PAGES.fullmatch(path) else None


def is_always_written(path: str) -> bool:
    """Whether a server writes to this file all the time, with nobody asking it to."""
    return _ALWAYS_WRITTEN.fullmatch(path) is not None


def log_cuts(data: Bytes) -> Iterator[Bytes]:
    """The bytes around every border of two pages of the write-ahead log, laid together without the header."""
    whole = len(data) // LOG_PAGE
    if whole > 1:
        pages = data[: whole * LOG_PAGE].reshape(whole, LOG_PAGE)
        # Most of a segment may be zeros, and then there is nothing to lay together.
        used = pages[1:, :_LOG_HEADER].any(axis=1)
        tails, heads = pages[:-1, -_REACH:][used], pages[1:, _LOG_HEADER : _LOG_HEADER + _REACH][used]
        yield np.concatenate([tails, heads], axis=1).reshape(-1)
