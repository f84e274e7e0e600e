"""What a file is, by its first bytes and never by its name, and what is inside it if it is packed."""

import enum
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

import numba
import numpy as np
import pyarrow as pa

from stores.audit import sqlite
from stores.audit.pages import looks_like_parquet
from stores.audit.siphash import Bytes

LARGEST_CONTENT = 256 << 20
"""Packed content up to this size is unpacked, in memory; what is larger is not verified."""
_STEP = 1 << 20

_STREAMS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2", b"\x04\x22\x4d\x18": "lz4"}
_NUMBER = rb"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_NUMBERS = re.compile(_NUMBER + rb"(?:[\s,;]+" + _NUMBER + rb"){15,}")

_FAISS_MARK = (1 << 20).to_bytes(8, "little") * 2
"""Source: `write_index_header` in faiss/impl/index_write.cpp; four letters, dimension and number stand before it."""
_LANCE_TRANSACTION = re.compile(rb"(?:\x08[\x80-\xff]*[\x00-\x7f])?\x12\x24[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Its first fields, after protos/transaction.proto: the version that was read, unless that is 0, and a UUID as text."""


class Format(enum.StrEnum):
    """How much of a file's content a scan of its bytes can see."""

    EMPTY = "empty"
    PARQUET = "parquet"
    ARROW = "arrow"
    GZIP = "gzip"
    ZSTD = "zstd"
    BZ2 = "bz2"
    LZ4 = "lz4"
    XZ = "xz"
    ZIP = "zip"
    TEXT = "text"
    NUMPY = "numpy"
    """Values lie in the file as they are in memory."""
    AVRO = "avro"
    CHECKSUMS = "checksums"
    """Hadoop's .crc sidecar: one CRC-32 per 512 bytes of another file."""
    SQLITE = "sqlite"
    SQLITE_LOG = "sqlite log"
    SQLITE_LOG_INDEX = "sqlite log index"
    FAISS = "faiss"
    LANCE = "lance"
    PAGES = "pages"
    """Pages of a database server: values lie in them as they are in memory."""
    POSTGRES_LOG = "postgres log"
    UNKNOWN = "unknown"
    """Its bytes can be scanned, but what they encode cannot be read."""


class Content(NamedTuple):
    """One thing inside a packed file: its bytes, and why they are not all of it, if they are not."""

    data: Bytes
    problem: str | None


def recognise(data: Bytes) -> Format:
    """The format of a whole file's bytes."""
    head = bytes(data[:8])
    if not len(data):
        return Format.EMPTY
    if looks_like_parquet(data):
        return Format.PARQUET
    if looks_like_lance(data):
        return Format.LANCE
    if looks_like_faiss(data):
        return Format.FAISS
    if head.startswith(b"ARROW1") or head.startswith(b"\xff\xff\xff\xff"):
        return Format.ARROW
    for magic, name in _STREAMS.items():
        if head.startswith(magic):
            return Format(name)
    if head.startswith(b"\xfd7zXZ\x00"):
        return Format.XZ
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Format.ZIP
    if head.startswith(b"\x93NUMPY"):
        return Format.NUMPY
    if head.startswith(b"Obj\x01"):
        return Format.AVRO
    if head.startswith(b"crc\x00"):
        return Format.CHECKSUMS
    if bytes(data[:16]) == sqlite.MAGIC:
        return Format.SQLITE
    if head.startswith(sqlite.LOG_MAGICS):
        return Format.SQLITE_LOG
    if head.startswith(sqlite.LOG_INDEX_MAGICS):
        return Format.SQLITE_LOG_INDEX
    return Format.TEXT if _is_text(data) else Format.UNKNOWN


def looks_like_faiss(data: Bytes) -> bool:
    """Whether these bytes are a FAISS index of float vectors."""
    return bytes(data[:1]) == b"I" and bytes(data[16:32]) == _FAISS_MARK


def looks_like_lance(data: Bytes) -> bool:
    """Whether these bytes are a file of a Lance table: data, index, manifest or transaction."""
    footer = bytes(data[-8:])  # two 16-bit numbers of the version, both small, and the magic
    marked = footer[4:] == b"LANC" and max(footer[:4]) < 16
    return marked or _LANCE_TRANSACTION.match(bytes(data[:64])) is not None


def unpack(data: Bytes, kind: Format, largest: int = LARGEST_CONTENT) -> Iterator[Content]:
    """What is inside a compressed file or an archive; nothing for every other format."""
    source = pa.BufferReader(pa.py_buffer(data))
    if kind in (Format.GZIP, Format.ZSTD, Format.BZ2, Format.LZ4):
        yield _read(pa.CompressedInputStream(source, str(kind)), largest)
    elif kind is Format.XZ:
        with lzma.LZMAFile(source) as stream:
            yield _read(stream, largest)
    elif kind is Format.ZIP:
        yield from _unzip(source, largest)


def _unzip(source: IO[bytes], largest: int) -> Iterator[Content]:
    nothing = np.zeros(0, np.uint8)
    try:
        with zipfile.ZipFile(source) as archive:
            for member in archive.infolist():
                try:
                    with archive.open(member) as stream:
                        yield _read(stream, largest)
                except (RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
                    yield Content(nothing, f"an archive member cannot be read ({type(error).__name__})")
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        yield Content(nothing, f"the archive cannot be read ({type(error).__name__})")


def _read(stream: IO[bytes], largest: int) -> Content:
    """Read to the end, and keep what was read before a fault or beyond the limit."""
    content, problem = bytearray(), None
    try:
        while step := stream.read(_STEP):
            content += step
            if len(content) > largest:
                problem = f"packed content is larger than {largest} bytes; only these were scanned"
                break
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error, zipfile.BadZipFile) as error:
        problem = f"packed content cannot be read to its end ({type(error).__name__})"
    return Content(np.frombuffer(bytes(content), np.uint8), problem)


def numbers_in_text(data: Bytes) -> Iterator[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Every run of 16 or more decimal numbers in a text, such as a vector in JSON or CSV."""
    for match in _NUMBERS.finditer(data.data):
        yield np.array(re.split(rb"[\s,;]+", match.group()), dtype=np.float64)


@numba.njit(nogil=True, cache=True)
def _is_text(data: Bytes) -> bool:
    """Whether no byte is a control character, but for tabs, line ends and escape."""
    plain = True
    at = 0
    while plain and at < len(data):
        byte = data[at]
        plain = (byte >= 32 and byte != 127) or 9 <= byte <= 13 or byte == 27
        at += 1
    return plain
