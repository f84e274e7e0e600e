"""Text from strangers: finding and mending strings that are not the UTF-8 their type promises.

Parquet does not check it, and Arrow's kernels and every library behind them assume it.
"""

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa


def is_valid_text(values: pa.Array) -> npt.NDArray[np.bool_]:
    """Whether each row of a large_string array of n rows is well-formed UTF-8 without surrogates; shape `(n,)`."""
    offsets, data = string_buffers(values)
    written = data[offsets[0] : offsets[-1]]
    if not len(written) or written.max() < 0x80:
        return np.ones(len(values), np.bool_)  # ASCII, as nearly every column of ids and addresses is.
    valid: npt.NDArray[np.bool_] = _valid_rows(data, offsets)
    return valid


def mend_text(values: pa.Array) -> pa.Array:
    """The same large_string array with every malformed byte sequence replaced by U+FFFD; nulls stay null."""
    valid = is_valid_text(values)
    if valid.all():
        return values
    raw = pa.Array.from_buffers(pa.large_binary(), len(values), values.buffers(), offset=values.offset)
    rows = raw.to_pylist()
    for row in np.flatnonzero(~valid):
        if rows[row] is not None:
            rows[row] = rows[row].decode("utf-8", "replace").encode()
    return pa.array(rows, pa.large_binary()).cast(pa.large_string())


def string_buffers(values: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Offsets, shape `(n + 1,)`, and bytes of a large_string or large_binary array, without a copy.

    The bytes of row i are `data[offsets[i]:offsets[i + 1]]`; a null row may have any, use its validity.
    """
    if len(values) == 0:
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    _, offset_buffer, data_buffer = values.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64, len(values) + 1, values.offset * 8)
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None and data_buffer.size else None
    return offsets, np.zeros(0, np.uint8) if data is None else data


@numba.njit(nogil=True, cache=True)
def _valid_rows(data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Table 3-7 of the Unicode standard, "Well-Formed UTF-8 Byte Sequences", row by row."""
    out = np.ones(len(offsets) - 1, np.bool_)
    for row in range(len(out)):
        at, stop = offsets[row], offsets[row + 1]
        if _is_ascii(data, at, stop):
            continue
        while at < stop:
            first = data[at]
            if first < 0x80:
                at += 1
                continue
            if 0xC2 <= first <= 0xDF:
                size, low, high = 2, 0x80, 0xBF
            elif 0xE0 <= first <= 0xEF:
                size, low, high = 3, 0xA0 if first == 0xE0 else 0x80, 0x9F if first == 0xED else 0xBF
            elif 0xF0 <= first <= 0xF4:
                size, low, high = 4, 0x90 if first == 0xF0 else 0x80, 0x8F if first == 0xF4 else 0xBF
            else:
                out[row] = False
                break
            if at + size > stop or not low <= data[at + 1] <= high:
                out[row] = False
                break
            for i in range(2, size):
                if data[at + i] & 0xC0 != 0x80:
                    out[row] = False
            if not out[row]:
                break
            at += size
    return out


@numba.njit(nogil=True, cache=True)
def _is_ascii(data: npt.NDArray[np.uint8], start: int, stop: int) -> bool:
    """Many bytes at a time: without a way out of the loop it is compiled to vector instructions."""
    bits = np.uint8(0)
    for at in range(start, stop):
        bits |= data[at]
    return bool(bits < 0x80)
