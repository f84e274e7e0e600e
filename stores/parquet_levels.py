"""Parquet's run-length and bit-packed hybrid, as levels and dictionary indices are written, without unpacking it.

Layout: https://parquet.apache.org/docs/file-format/data-pages/encodings/, RLE. A run is a varint header whose lowest
bit says bit-packed, then groups of eight values, or else one value and how often it is repeated.
"""

import numba
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int32]
Bounds = npt.NDArray[np.int64]


@numba.njit(nogil=True, cache=True)
def _run_header(data: Bytes, at: int) -> tuple[int, int]:
    """The varint at `at`, and where it ends; past the end of the data it reads as zeros."""
    value: int = 0
    shift = 0
    while at < len(data) and shift < 35:
        byte = int(data[at])
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return value, at


@numba.njit(nogil=True, cache=True)
def _packed(data: Bytes, at: int, number: int, bits: int) -> int:
    """Value `number` of the bit-packed run that begins at `at`, values of `bits` bits each, lowest bit first."""
    position = number * bits
    value: int = 0
    taken = 0
    while taken < bits:
        byte = int(data[at + (position >> 3)]) >> (position & 7)
        step = min(8 - (position & 7), bits - taken)
        value |= (byte & ((1 << step) - 1)) << taken
        taken += step
        position += step
    return value


@numba.njit(nogil=True, cache=True)
def _repeated(data: Bytes, at: int, bits: int) -> int:
    """The value of a repeated run, in as many whole bytes as `bits` take."""
    value: int = 0
    for byte in range((bits + 7) >> 3):
        value |= int(data[at + byte]) << (8 * byte)
    return value


@numba.njit(nogil=True, cache=True)
def unpack(data: Bytes, bits: int, out: Indices) -> bool:
    """Fill `out`, shape `(n,)`, with the first n values of `data`; False if it has fewer."""
    at = filled = 0
    while filled < len(out):
        if at >= len(data):
            return False
        header, at = _run_header(data, at)
        if header & 1:
            size = (header >> 1) * bits
            count = min((header >> 1) * 8, len(out) - filled)
            if at + ((count * bits + 7) >> 3) > len(data) or header == 1:
                return False
            for i in range(count):
                out[filled + i] = _packed(data, at, i, bits)
        else:
            size = (bits + 7) >> 3
            count = min(header >> 1, len(out) - filled)
            if at + size > len(data) or header == 0:
                return False
            out[filled : filled + count] = _repeated(data, at, bits)
        at += size
        filled += count
    return True


@numba.njit(nogil=True, cache=True)
def is_regular(data: Bytes, bits: int, count: int, phase: int, period: int, first: int, rest: int) -> bool:
    """Whether the `count` levels of `data` are `first` where `phase + i` divides by `period` and `rest` elsewhere."""
    at = seen = 0
    while seen < count:
        if at >= len(data):
            return False
        header, at = _run_header(data, at)
        place = (phase + seen) % period
        if header & 1:
            run = min((header >> 1) * 8, count - seen)
            if at + ((run * bits + 7) >> 3) > len(data) or header == 1:
                return False
            for i in range(run):
                if _packed(data, at, i, bits) != (first if place == 0 else rest):
                    return False
                place = place + 1 if place + 1 < period else 0
            at += (header >> 1) * bits
        else:
            run = min(header >> 1, count - seen)
            size = (bits + 7) >> 3
            if at + size > len(data) or header == 0:
                return False
            level = _repeated(data, at, bits)
            at += size
            holds_first = place == 0 or place + run > period
            holds_rest = run > 1 and period > 1 or place != 0
            if holds_first and level != first or holds_rest and level != rest:
                return False
        seen += run
    return True


@numba.njit(nogil=True, cache=True)
def gather(source: Bytes, starts: Bounds, stops: Bounds, planes: int, out: Bytes) -> None:
    """Copy the pieces `source[starts[i]:stops[i]]` one behind the other to `out`, from each of `planes` equal parts."""
    stride, at = len(source) // planes, 0
    for plane in range(planes):
        offset = plane * stride
        for i in range(len(starts)):
            size = stops[i] - starts[i]
            piece, place = source[offset + starts[i] : offset + stops[i]], out[at : at + size]
            for j in range(size):
                place[j] = piece[j]
            at += size


@numba.njit(nogil=True, cache=True)
def pieces_equal(old: Bytes, starts: Bounds, stops: Bounds, planes: int, new: Bytes) -> bool:
    """Whether `new` is what `gather` would take from `old`."""
    stride, at = len(old) // planes, 0
    for plane in range(planes):
        for i in range(len(starts)):
            size, offset = stops[i] - starts[i], plane * stride
            if at + size > len(new):
                return False
            # Slices, and no way out of the loop: so it takes many bytes at once.
            left, right, differing = old[offset + starts[i] : offset + stops[i]], new[at : at + size], np.uint8(0)
            for j in range(size):
                differing |= left[j] ^ right[j]
            if differing:
                return False
            at += size
    return at == len(new)


def repeat_level(level: int, count: int) -> bytes:
    """A run of one level of up to eight bits."""
    return varint(count << 1) + bytes([level]) if count else b""


def list_levels(head: int, rows: int, tail: int, width: int) -> bytes:
    """The repetition levels of `rows` lists of `width` values, after the last `head` values of a list begun before.

    `tail` values begin a list that goes on in the next page.
    """
    row = repeat_level(0, 1) + repeat_level(1, width - 1)
    last = repeat_level(0, 1) + repeat_level(1, tail - 1) if tail else b""
    return repeat_level(1, head) + row * rows + last


def varint(value: int) -> bytes:
    """A number in groups of seven bits, lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
