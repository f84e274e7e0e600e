"""Arrow arrays as plain bytes and offsets, whatever the chunking, slicing or variant of the type."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stores.audit.siphash import Bytes, Offsets


class Runs(NamedTuple):
    """n byte runs: run i is `data[offsets[i]:offsets[i + 1]]`; `offsets` has shape `(n + 1,)`."""

    data: Bytes
    offsets: Offsets


def simplify(array: pa.Array) -> pa.Array:
    """The same values in one of few types: no extension, run-end, view or map type is left at the top level."""
    if isinstance(array, pa.ExtensionArray):
        return simplify(array.storage)
    kind = array.type
    if pa.types.is_run_end_encoded(kind):
        return simplify(pc.run_end_decode(array))
    if is_binary(kind):
        return array.cast(pa.large_binary())
    if pa.types.is_map(kind):
        return array.cast(pa.list_(pa.struct([kind.key_field, kind.item_field])))
    if pa.types.is_boolean(kind):
        return array.cast(pa.uint8())
    return array


_BINARY = (
    pa.types.is_binary,
    pa.types.is_string,
    pa.types.is_large_binary,
    pa.types.is_large_string,
    pa.types.is_binary_view,
    pa.types.is_string_view,
)
_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)


def is_binary(kind: pa.DataType) -> bool:
    """Whether values are byte strings or texts of any length."""
    return any(is_kind(kind) for is_kind in _BINARY)


def is_text(kind: pa.DataType) -> bool:
    """Whether values are texts."""
    return is_binary(kind) and "string" in str(kind)


def is_list(kind: pa.DataType) -> bool:
    """Whether values are lists of any kind but maps."""
    return any(is_kind(kind) for is_kind in _LISTS)


def byte_width(kind: pa.DataType) -> int | None:
    """Bytes per value of a fixed-width type, None for every other."""
    if pa.types.is_nested(kind) or pa.types.is_null(kind) or pa.types.is_dictionary(kind):
        return None
    try:
        return kind.bit_width // 8 or None
    except ValueError:
        return None


def validity(array: pa.Array) -> npt.NDArray[np.bool_]:
    """True where the value is not null, shape `(n,)`."""
    return np.asarray(array.is_valid().to_numpy(zero_copy_only=False), np.bool_)


def fixed_bytes(array: pa.Array, width: int) -> Bytes:
    """The values of an array whose type is `width` bytes wide, end to end; what stands in a null slot is arbitrary."""
    content = array.buffers()[1]
    if content is None:
        return np.zeros(len(array) * width, np.uint8)
    return np.frombuffer(content, np.uint8)[array.offset * width : (array.offset + len(array)) * width]


def every(width: int, rows: int) -> Offsets:
    """The offsets of `rows` runs of `width` bytes, end to end."""
    return np.arange(rows + 1, dtype=np.int64) * width


def binary_runs(array: pa.LargeBinaryArray) -> Runs:
    """The values of a large_binary array; a null is an empty run."""
    if not len(array):
        return Runs(np.zeros(0, np.uint8), np.zeros(1, np.int64))
    _, offsets, content = array.buffers()
    data = np.frombuffer(content, np.uint8) if content is not None and content.size else np.zeros(0, np.uint8)
    return Runs(data, np.frombuffer(offsets, np.int64, len(array) + 1, array.offset * 8))


def list_runs(array: pa.Array) -> tuple[pa.Array, Offsets]:
    """The elements of the lists that are not null, and where each list starts in them; a null is an empty list."""
    lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
    return array.flatten(), np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def leaves(array: pa.Array) -> Iterator[pa.Array]:
    """Every leaf below `array`, simplified; of a dictionary-coded array the dictionary itself, used or not."""
    array = simplify(array)
    if pa.types.is_dictionary(array.type):
        yield from leaves(array.dictionary)
    elif pa.types.is_struct(array.type):
        for i in range(array.type.num_fields):
            yield from leaves(array.field(i))
    elif is_list(array.type):
        yield from leaves(list_runs(array)[0])
    else:
        yield array
