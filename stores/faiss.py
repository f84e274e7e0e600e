"""The store of FAISS index files.

An index holds numbers, not names. Either the numbers are the ids themselves (`key = "faiss_id"`), or a Parquet file,
`ids`, says which number is whose. That file names the purged people too, so it is part of the store: its rows go right
after those of the index, as part of the same unit. `faiss_index.py` says which types can be rebuilt, and how.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import InputError
from schemas.files import digest_file, split_glob
from schemas.job import StoreSection
from stores.contract import Match, Receipt, Status, StoreFile, now
from stores.faiss_index import Numbers, UnusableIndexError, count_vectors, read_faces, read_index, rebuild, write_index
from stores.file_store import FileStore, RewriteError, as_seen, problem_of
from stores.keys import KeySet, is_key_type
from stores.ledger import Ledger
from stores.parquet import ParquetStore

NUMBER = "faiss_id"
"""The column of an index's own numbers, also in the file that says whose they are."""
_BATCH_BYTES = 16 << 20


class FaissStore(FileStore):
    """The index files that `store.path` stands for: a file, a glob, or all in a folder whose content is an index."""

    kind = "faiss"
    read_errors = (OSError, RuntimeError, MemoryError, UnusableIndexError, pa.ArrowException)

    def __init__(self, store: StoreSection) -> None:
        self.path, self.key = store.path, store.key
        self.ids = ParquetStore(store.ids, store.key) if store.ids else None
        if self.ids is None and self.key != NUMBER:
            raise InputError(
                f"store {self.path}: a FAISS index has no column {self.key!r}, it knows people by number; write"
                f' key = "{NUMBER}" if the numbers are the ids of the manifest, or'
                f' ids = "numbers.parquet", a file with the columns {self.key} and {NUMBER} that says whose they are'
            )
        if self.ids is not None and self.key == NUMBER:
            raise InputError(
                f"store {self.path}: ids names a file that says whose numbers are, so key must be the column of ids in"
                f" it, not {NUMBER}"
            )

    def units(self) -> list[str]:
        """The real paths of the index files; one at most if a file says whose the numbers are."""
        root, pattern = split_glob(Path(self.path))
        found = root.glob(pattern) if pattern else root.rglob("*")
        files = sorted({file.resolve() for file in found if file.is_file() and not file.name.startswith(".")})
        files = files if pattern else [file for file in files if count_vectors(file) is not None]
        if not files:
            raise InputError(f"store {self.path}: no FAISS index there; give a file, a folder or a glob of index files")
        if self.ids is not None and len(self.ids.units()) > 1:
            raise InputError(f"store {self.path}: ids must be one Parquet file, {self.ids.path} is more than one")
        if self.ids is not None and len(files) > 1:
            raise InputError(
                f"store {self.path}: {len(files)} indexes and one file of ids, but each index counts for itself; write"
                " one [[store]] for each, with the ids of that index"
            )
        return [str(file) for file in files]

    def folders(self) -> list[Path]:
        """Those of the indexes and of the ids."""
        return sorted({*super().folders(), *(self.ids.folders() if self.ids else ())})

    def identify(self, path: Path) -> StoreFile:
        """By the digest of all of the file; an index has no footer that would tell one state from the next."""
        status, rows = path.stat(), count_vectors(path)
        if rows is None:
            raise UnusableIndexError("the file is no FAISS index of float vectors; take it out of the store")
        return StoreFile(str(path), status.st_size, status.st_mtime_ns, digest_file(path), rows)

    def locate(self, unit: str, keys: KeySet) -> Match:
        """The places, in the index's own order, of everybody listed."""
        path = Path(unit)
        try:
            file = self.identify(path)
            listed = keys.contains(self._people(read_faces(read_index(path)).numbers))
        except UnusableIndexError as error:
            return Match(as_seen(path), (), str(error))
        except self.read_errors as error:
            return Match(as_seen(path), (), problem_of(error))
        return Match(file, (np.flatnonzero(listed),))

    def write_survivors(self, match: Match, keys: KeySet, aside: Path) -> list[str]:
        """Rebuild the index of those who stay, read it again and compare."""
        index = read_index(Path(match.file.path))
        old = read_faces(index)
        keep = np.ones(len(old.numbers), np.bool_)
        keep[match.positions[0]] = False
        new, dropped = rebuild(index, keep)
        write_index(new, aside)
        written = read_faces(read_index(aside))
        if not written.same(old.only(keep)):
            raise RewriteError("the new index does not hold just those who stay, to the bit")
        if keys.contains(self._people(written.numbers)).any():
            raise RewriteError("the removed vectors are not those of the keys: locate the file again with this set")
        return dropped

    def rows(self, aside: Path, match: Match) -> Iterator[pa.RecordBatch]:
        """A row for each vector: its id (if that is not the number), number, and vector or code."""
        del match
        faces = read_faces(read_index(aside))
        people = self._people(faces.numbers)
        step = max(1, _BATCH_BYTES // max(faces.vectors.itemsize * faces.vectors.shape[1], 1))
        for start in range(0, len(faces.numbers), step):
            part = slice(start, start + step)
            columns = {self.key: people[part], NUMBER: pa.array(faces.numbers[part])}
            yield pa.RecordBatch.from_pydict({**columns, "vector": faces.column(part)})

    def compact(self, receipt: Receipt, keys: KeySet, ledger: Path) -> Receipt:
        """Remove the listed from the file that says whose the numbers are, now that the index holds none of them."""
        if self.ids is None or receipt.status not in (Status.REMOVED, Status.UNCHANGED):
            return receipt
        match = self.ids.locate(self._ids_file(), keys)
        ids = self.ids.purge(match, keys, ledger)
        unfinished = receipt.status is Status.REMOVED and receipt.compacted_at is None
        if ids.status not in (Status.REMOVED, Status.UNCHANGED):
            done = replace(
                receipt, compacted_at=None, detail=f"the file of ids still names those removed: {ids.detail}"
            )
        elif match.rows or unfinished:
            done = replace(receipt, compacted_at=now(), detail=None if unfinished else receipt.detail)
        else:
            return receipt
        Ledger(ledger, keys.digest).supersede(receipt, done)
        return done

    def _ids_file(self) -> str:
        assert self.ids is not None
        return self.ids.units()[0]

    def _people(self, numbers: Numbers) -> pa.Array:
        """Whose each of n `numbers` is, shape `(n,)`: the number itself if no file says so."""
        if self.ids is None:
            return pa.array(numbers)
        table = _read_ids(self._ids_file(), self.key)
        known = table[NUMBER].to_numpy()
        if len(known) and (known[1:] == known[:-1]).any():
            raise UnusableIndexError("the file of ids gives a number to two people: nobody can tell whose the face is")
        places = np.searchsorted(known, numbers)
        named = places < len(known)
        named[named] = known[places[named]] == numbers[named]
        if not named.all():
            raise UnusableIndexError(
                f"{(~named).sum()} of {len(named)} vectors have a number that the file of ids does not name, so nobody"
                " can tell whose faces they are: add them to it, or remove them from the index"
            )
        return table[self.key].take(pa.array(places)).combine_chunks()


def _read_ids(file: str, key: str) -> pa.Table:
    """The columns `key` and `faiss_id` of the file of ids, by ascending number; InputError if it has none."""
    names = pq.read_schema(file).names
    if missing := [name for name in (key, NUMBER) if name not in names]:
        raise InputError(
            f"{file} has no column {' and no column '.join(missing)}, it has {', '.join(names)}; it must say in the"
            f" column {key} whose the number in the column {NUMBER} is"
        )
    table = pq.read_table(file, columns=[key, NUMBER])
    if not pa.types.is_integer(table[NUMBER].type) or not is_key_type(table[key].type):
        raise InputError(
            f"{file}: {NUMBER} is of type {table[NUMBER].type} and {key} of type {table[key].type}; the first must be"
            " an integer, the second a string, binary or integer"
        )
    numbers = table[NUMBER].cast(pa.int64())
    return table.set_column(table.schema.get_field_index(NUMBER), NUMBER, numbers).drop_null().sort_by(NUMBER)
