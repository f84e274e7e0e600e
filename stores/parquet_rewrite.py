"""The surviving rows of one Parquet file written aside, and the check that nothing else changed.

Row groups keep their place and lose their rows; one without rows vanishes. How a column of a row group gets into
the new file depends on what is in it (decision 0180):

    no row goes                          the bytes are copied            parquet_copy
    wide rows of fixed width, no nulls   pages are cut, not decoded      parquet_splice
    everything else                      pyarrow decodes and encodes     parquet_encode

`parquet_assemble` puts it together, and `parquet_proof` then reads both files again and compares them.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from stores.contract import Match
from stores.file_store import RewriteError
from stores.keys import KeySet, as_bytes
from stores.parquet_assemble import Assembly, Compression, Way
from stores.parquet_layout import Layout
from stores.parquet_locate import find_key, open_parquet, read_key
from stores.parquet_metadata import clean_pairs
from stores.parquet_pages import OpenFile, end_of_pages
from stores.parquet_physical import FOOTER_TAIL, bare_metadata, is_encrypted, key_value_pairs, read_footer
from stores.parquet_proof import Kept, find_fault
from stores.parquet_schema import Leaf, leaves
from stores.parquet_sink import Sink
from stores.thrift import Struct, decode


def write_survivors(match: Match, key: str, keys: KeySet, aside: Path, compression: Compression = "keep") -> list[str]:
    """Write the file of `match` without its matched rows to `aside`; returns what the new file lacks.

    With `compression` "none" the vectors that are cut are written uncompressed, whatever their codec was: random
    floats hardly compress, and to compress them again takes most of the time (decision 0181).
    Raises RewriteError when the result does not pass the check, and what pyarrow raises for a file it cannot read.
    """
    path = Path(match.file.path)
    content = read_footer(path)
    footer = decode(content)
    if is_encrypted(footer):
        raise RewriteError("some columns of the file are encrypted, which cannot be written back")
    if end_of_pages(footer) > path.stat().st_size - len(content) - FOOTER_TAIL:
        raise RewriteError("the columns reach into the footer: a part of the file is missing")
    columns = leaves(footer)
    pairs, tainted = clean_pairs(key_value_pairs(footer), keys)
    groups: list[Kept] = []
    with OpenFile(path) as file, Sink(aside) as sink:
        assembly = Assembly(file, sink, path, footer, columns, key, keys, compression)
        rows = bare_metadata(footer)
        for number, hits in enumerate(match.positions):
            stays = np.ones(rows.row_group(number).num_rows, bool)
            stays[hits] = False
            if stays.any():
                groups.append(Kept(number, stays, assembly.add(number, stays)))
        assembly.finish(pairs)
    written = decode(read_footer(aside))
    fault = find_fault(path, aside, footer, written, columns, groups)
    if fault is not None:
        raise RewriteError(fault)
    _check_rows(path, aside, match, groups, key, keys)
    lost = [f"key/value metadata {name}" for name in tainted]
    lost += [*assembly.tainted, *_lost(path, aside, footer, written, columns, groups)]
    return [*dict.fromkeys(lost)]


def _lost(
    path: Path, aside: Path, footer: Struct, written: Struct, columns: list[Leaf], groups: list[Kept]
) -> list[str]:
    """What columns of the new file do not have any more, or have otherwise."""
    old, new = bare_metadata(footer), bare_metadata(written)
    lost = []
    for number, kept in enumerate(groups):
        if set(kept.ways) != {Way.COPIED}:
            before, after = Layout.of(path, old.row_group(kept.group)), Layout.of(aside, new.row_group(number))
            lost += before.lost(after, columns)
    return lost


def _check_rows(path: Path, aside: Path, match: Match, groups: list[Kept], key: str, keys: KeySet) -> None:
    """Read the new file back as anybody would: the same keys in the same order, but for those that were to go."""
    old, new = open_parquet(path), open_parquet(aside)
    column = find_key(old, path, key)
    counts = [new.metadata.row_group(i).num_rows for i in range(new.num_row_groups)]
    if counts != [int(kept.stays.sum()) for kept in groups] or sum(counts) + match.rows != match.file.rows:
        raise RewriteError("the rows of the new file and the removed ones do not add up to those of the old file")
    for number, kept in enumerate(groups):
        before, after = read_key(old, kept.group, column), read_key(new, number, column)
        if not as_bytes(before.filter(pa.array(kept.stays))).equals(as_bytes(after)):
            raise RewriteError("the keys of the new file are not those of the rows that were to stay")
        if not np.array_equal(keys.contains(before), ~kept.stays):
            raise RewriteError("the removed rows are not those of the keys: locate the file again with this set")
