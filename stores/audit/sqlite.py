"""What a search of an SQLite file's raw bytes would miss: values cut in two by a page, and pages that nobody owns.

A row longer than a page goes on in overflow pages, each of which begins with the number of the next: a value that
straddles two of them has four foreign bytes and any distance in between. Here the two sides of every such cut are laid
together. Pages that are free, and logs, hold what was deleted or overwritten; whose pictures these were cannot be told,
so a file that has any is never clean. Source: the SQLite file format, sqlite.org/fileformat2.html.
"""

from collections.abc import Iterator

import numba
import numpy as np
import numpy.typing as npt

from stores.audit.siphash import Bytes, Offsets

MAGIC = b"SQLite format 3\0"
LOG_MAGICS = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7")
"""Of a write-ahead log, in two byte orders, and of a rollback journal."""
LOG_INDEX_MAGICS = (b"\x18\xe2\x2d\x00", b"\x00\x2d\xe2\x18")
"""Of the index of a write-ahead log, `-shm`: page numbers only."""
HEADER = 100
_REACH = 1024
"""Bytes laid together on either side of a cut, more than any id has."""
_CUTS_AT_ONCE = 4096


def doubts(data: Bytes) -> list[str]:
    """Why the bytes of a database file cannot be called clean whatever is found in them."""
    if len(data) < HEADER or len(data) % _page_size(data):
        return ["its last page is not whole"]
    free = int.from_bytes(bytes(data[36:40]), "big")
    return [f"{free} free pages may hold pictures of people who were deleted: VACUUM destroys them"] if free else []


def cuts(data: Bytes) -> Iterator[Bytes]:
    """The bytes around every place where a value goes on in another page, laid together; several cuts a piece."""
    if len(data) < HEADER or len(data) < _page_size(data):
        return
    size = _page_size(data)
    usable = size - int(data[20])
    pages = data[: len(data) // size * size].reshape(-1, size)
    reach = min(_REACH, usable - 4)
    stops, targets = _continued(pages, usable)
    flat = pages.reshape(-1)
    near = np.arange(reach)
    for at in range(0, len(stops), _CUTS_AT_ONCE):
        before = flat[np.maximum(stops[at : at + _CUTS_AT_ONCE, None] - reach + near, 0)]
        after = flat[(targets[at : at + _CUTS_AT_ONCE, None] * size + 4) + near]
        yield np.concatenate([before, after], axis=1).reshape(-1)


def _page_size(data: Bytes) -> int:
    size = int.from_bytes(bytes(data[16:18]), "big")
    return 65536 if size == 1 else max(size, 512)


def _continued(pages: npt.NDArray[np.uint8], usable: int) -> tuple[Offsets, Offsets]:
    """Where values break off, as offsets in the file, and in which page (from 0) each goes on."""
    first = pages[:, :4].astype(np.int64) @ np.array([1 << 24, 1 << 16, 1 << 8, 1])
    # Any page may be an overflow page, also one that was freed: its first four bytes then are a page number.
    links = np.flatnonzero((first > 1) & (first <= len(pages)))
    stops, targets = _overflowing_cells(pages, usable)
    size = pages.shape[1]
    return np.concatenate([links * size + usable, stops]), np.concatenate([first[links] - 1, targets])


@numba.njit(nogil=True, cache=True)
def _overflowing_cells(pages: npt.NDArray[np.uint8], usable: int) -> tuple[Offsets, Offsets]:
    """The same for cells of B-tree pages whose payload does not fit; a page of another kind fails the checks."""
    stops, targets = [np.int64(0)], [np.int64(0)]
    for number in range(len(pages)):
        page = pages[number]
        head = 100 if number == 0 else 0
        kind = page[head]
        if kind != 13 and kind != 10 and kind != 2:
            continue
        leaf = kind != 2
        largest = usable - 35 if kind == 13 else (usable - 12) * 64 // 255 - 23
        smallest = (usable - 12) * 32 // 255 - 23
        pointers = head + (8 if leaf else 12)
        cells = (np.int64(page[head + 3]) << 8) | page[head + 4]
        if pointers + 2 * cells > usable:
            continue
        for cell in range(cells):
            at = (np.int64(page[pointers + 2 * cell]) << 8) | page[pointers + 2 * cell + 1]
            at += 0 if leaf else 4
            payload, at = _varint(page, at)
            if kind == 13:
                _, at = _varint(page, at)
            if payload <= largest:
                continue
            local = smallest + (payload - smallest) % (usable - 4)
            local = local if local <= largest else smallest
            stop = at + local
            if stop + 4 > usable:
                continue
            target = np.int64(0)
            for i in range(4):
                target = (target << 8) | page[stop + i]
            if 1 < target <= len(pages):
                stops.append(np.int64(number) * pages.shape[1] + stop)
                targets.append(target - 1)
    return np.array(stops[1:], np.int64), np.array(targets[1:], np.int64)


@numba.njit(nogil=True, cache=True)
def _varint(page: Bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and what follows it; a number that leaves the page is 0."""
    value = 0
    for i in range(9):
        if at + i >= len(page):
            return 0, at
        byte = int(page[at + i])
        if i == 8:
            return (value << 8) | byte, at + 9
        value = (value << 7) | (byte & 127)
        if byte < 128:
            return value, at + i + 1
    return value, at + 9
