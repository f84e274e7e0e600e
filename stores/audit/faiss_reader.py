"""FAISS index files, and the file that says whose the numbers in one are, as the verifier reads them."""

import os
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.errors import InputError
from schemas.files import TEMPORARY_PREFIX, split_glob
from schemas.job import StoreSection
from stores.audit.check import printable, view_file
from stores.audit.containers import looks_like_faiss
from stores.audit.control import ROWS, Control, look_for, run_control
from stores.audit.faiss_file import NUMBER, core_of, is_mapped, open_index, read_stored
from stores.audit.inventory import Entry, Kind, belongs, take_inventory
from stores.audit.reader import no_copies
from stores.audit.rows import BATCH_BYTES, Rows, table_fingerprint
from stores.audit.siphash import Bytes


class FaissReader:
    """A store whose paths are absolute; the file of ids is an entry like the indexes, wherever it lies."""

    rows_in_files = False
    packed = False
    copies = staticmethod(no_copies)

    def __init__(self, store: StoreSection) -> None:
        root, self.pattern = split_glob(Path(store.path))
        self.root, self.key = root.resolve(), store.key
        self.ids = Path(store.ids).resolve() if store.ids else None

    def entries(self) -> list[Entry]:
        """The indexes and the file of ids; hidden and temporary files beside them, whatever their name."""
        found = {entry.path: entry for entry in take_inventory(self.root) if belongs(entry, self.pattern)}
        if self.ids is not None:
            beside = os.path.relpath(self.ids.parent, self.root)
            for entry in take_inventory(self.ids.parent):
                if entry.path == self.ids.name or entry.path.startswith(TEMPORARY_PREFIX):
                    path = os.path.normpath(f"{beside}/{entry.path}")
                    found[path] = Entry(path, entry.kind, entry.size, entry.modified_ns)
        return [found[path] for path in sorted(found)]

    def view(self, path: str) -> Bytes:
        """The bytes of one file, mapped."""
        return view_file(self.root / path)

    def units(self) -> list[str]:
        """The real paths of the indexes: every file that has the content of one."""
        files = [entry.path for entry in self.entries() if entry.kind is Kind.FILE]
        shown = [path for path in files if not Path(path).name.startswith(".")]
        return [str(self.root / path) for path in shown if looks_like_faiss(self.view(path))]

    def name(self, unit: str) -> str:
        """The path below the root."""
        return printable(os.path.relpath(unit, self.root))

    def read(self, unit: str) -> Rows:
        """A row for each vector: whose it is if a file says so (null for nobody), its number, and it or its code."""
        index = open_index(view_file(Path(unit)))
        stored = read_stored(index)
        columns = {NUMBER: pa.array(stored.numbers), "vector": stored.vectors}
        if self.ids is not None:
            names = pq.read_table(self.ids, columns=[self.key, NUMBER])
            places = pc.index_in(columns[NUMBER], names[NUMBER].cast(pa.int64()).combine_chunks())
            columns = {self.key: names[self.key].take(places), **columns}
        table = pa.table(columns)
        width = max(table.nbytes // max(len(table), 1), 1)
        schema = table_fingerprint(f"{index.d} {index.metric_type}", table.schema)
        return Rows(schema, table.schema, iter(table.to_batches(max(BATCH_BYTES // width, 1))))

    def control(self, scratch: Path, key: bytes) -> Control | None:
        """Plant people in a small index of the type of the first that can be read, and in a file of ids like ours."""
        for unit in self.units():
            try:
                planted, data = _plant(open_index(view_file(Path(unit))))
            except InputError:
                continue
            control = look_for(planted, NUMBER, [data], key)
            if self.ids is not None:
                names = run_control(self.ids, self.key, scratch, key)
                control = Control(control.planted + names.planted, control.found + names.found)
            return control
        return None


def _plant(sample: faiss.Index) -> tuple[Rows, Bytes]:
    """An index like `sample` of ROWS random people, as rows and as the bytes of its file."""
    random = np.random.default_rng()
    core = core_of(sample)
    match core:
        case faiss.IndexIVFFlat():
            index = faiss.IndexIVFFlat(faiss.IndexFlat(core.d, core.metric_type), core.d, 2, core.metric_type)
        case faiss.IndexHNSWFlat():
            index = faiss.IndexHNSWFlat(core.d, max(core.hnsw.nb_neighbors(1), 2), core.metric_type)
        case faiss.IndexLSH():
            index = faiss.IndexLSH(core.d, core.nbits, core.rotate_data, False)
        case _:
            index = faiss.IndexFlat(core.d, core.metric_type)
    vectors = random.standard_normal((ROWS, core.d)).astype(np.float32)
    if not index.is_trained:
        index.cp.min_points_per_centroid = 1
        index.train(vectors)
    if is_mapped(sample):
        index = type(sample)(index)
        index.add_with_ids(vectors, random.integers(0, 1 << 62, ROWS))
    else:
        index.add(vectors)
    stored = read_stored(index)
    table = pa.table({NUMBER: pa.array(stored.numbers), "vector": stored.vectors})
    return Rows("", table.schema, iter(table.to_batches())), faiss.serialize_index(index)
