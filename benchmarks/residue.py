"""How many listed vectors can still be read from each kind of store: after its users' own delete, and after lethe.

    .venv/bin/python benchmarks/residue.py [--only delta] [--listed 500] [--no-write]

Each store is written twice with the same people. From one the listed are deleted as its users delete; the other lethe
purges. Then every file of both is searched, old versions, logs and indexes too, for the listed vectors in every form
the store keeps them in; and the survivors are compared to the bit. A search that does not find all of them before
anything is deleted is no search: that is shown as well. The table goes into `docs/stores.md`, between its markers.
"""

import argparse
import secrets
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from results import circumstances
from stores_cases import CASES, StoreCase, Vectors

from pipelines.baseline import BaselineWork
from pipelines.ledger import Ledger
from pipelines.purge import PurgeWork, purge_unit
from pipelines.verify import VerifyWork, check_piece, judge, list_pieces
from schemas.job import StoreSection
from stores.audit.examine import Examination
from stores.audit.fingerprints import FINGERPRINTS, Fingerprints, fingerprint, is_vector_column
from stores.audit.inventory import Kind
from stores.audit.needles import Needles, make_needles
from stores.audit.readers import open_reader
from stores.keys import KeySet

PAGE = Path(__file__).parent.parent / "docs" / "stores.md"
START, STOP = "<!-- residue: begin -->", "<!-- residue: end -->"


@dataclass(frozen=True)
class Measured:
    """One row of the table; the counts are listed people of whom a vector is readable, in any form."""

    case: StoreCase
    listed: int
    before: int
    ordinary: int
    lethe: int
    verdict: str
    survivors: bool
    seconds: float

    def row(self) -> str:
        """As Markdown."""
        size = f"{self.case.people:,} × {self.case.dimensions}"
        cells = (self.case.title, size, self.case.ordinary, self.before, self.ordinary, self.lethe)
        told = "yes" if self.survivors else "**no**"
        return f"| {' | '.join(map(str, cells))} | {self.verdict} | {told} | {self.seconds:.1f} |"


def main() -> None:
    """Measure all kinds, or those asked for, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose title contains this")
    parser.add_argument("--listed", type=int, default=500)
    parser.add_argument("--no-write", action="store_true", help="print the table only")
    options = parser.parse_args()
    rows, failed = [], False
    for case in CASES:
        if options.only.lower() in case.title.lower():
            with tempfile.TemporaryDirectory() as folder:
                try:
                    rows.append(measure(case, Path(folder), options.listed))
                except Exception:  # noqa: BLE001 - a kind that fails is a row that says so, and the others are measured
                    traceback.print_exc()
                    failed = True
                    continue
            print(rows[-1].row(), flush=True)  # noqa: T201
    failed |= any(row.lethe or row.before != row.listed or not row.survivors for row in rows)
    if not options.no_write and not options.only:
        write(rows, options.listed)
    sys.exit(failed)


def measure(case: StoreCase, folder: Path, listed: int) -> Measured:
    """Write, delete, purge, count."""
    random = np.random.default_rng(20261122)
    names = [f"face-{number:06d}" for number in range(case.people)]
    vectors = random.standard_normal((case.people, case.dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gone = [names[number] for number in sorted(random.choice(case.people, listed, replace=False))]
    key = secrets.token_bytes(16)

    theirs = case.write(folder / "theirs" / "store", names, vectors)
    needles = needles_of(theirs, gone, key)
    before = readable(theirs, needles, key)
    case.delete(theirs, gone)
    ordinary = readable(theirs, needles, key)

    ours = case.write(folder / "ours" / "store", names, vectors)
    needles = needles_of(ours, gone, key)
    wanted = {name: vector for name, vector in case.read(ours).items() if name not in set(gone)}
    began = time.perf_counter()
    verdict = purge_and_verify(ours, gone, folder / "run")
    seconds = time.perf_counter() - began
    survivors = same(case.read(ours), wanted) and len(wanted) == case.people - listed
    return Measured(case, listed, before, ordinary, readable(ours, needles, key), verdict, survivors, seconds)


def needles_of(store: StoreSection, gone: list[str], key: bytes) -> Needles:
    """Fingerprints of everything the store keeps of the listed, numbered by person rather than by form."""
    reader, parts, people = open_reader(store), [FINGERPRINTS.empty_table()], 0
    wanted = pa.array(gone)
    for unit in reader.units():
        for batch in reader.read(unit).batches:
            column = batch.column(batch.schema.get_field_index(store.key)).cast(pa.string())
            rows = batch.filter(pc.is_in(column, wanted))
            forms = [one for one, field in zip(rows.columns, rows.schema, strict=True) if is_vector_column(field.type)]
            for form in [*forms, *reader.copies(rows)] if len(rows) else []:
                found = fingerprint([form], key)
                if found.vectors == len(rows):
                    numbers = found.windows["vector"].to_numpy() + np.uint32(people)
                    parts.append(found.windows.set_column(2, FINGERPRINTS.field(2), pa.array(numbers, pa.uint32())))
            people += len(rows)
    return make_needles(pa.array([], pa.large_binary()), Fingerprints(pa.concat_tables(parts), people, 0), key)


def readable(store: StoreSection, needles: Needles, key: bytes) -> int:
    """Listed people of whom anything can be read from any file of the store."""
    reader, found = open_reader(store), set()
    for entry in reader.entries():
        if entry.kind is Kind.FILE:
            examination = Examination(needles, key, None, packed=reader.packed)
            examination.examine(reader.view(entry.path))
            found |= {number for numbers in examination.found.values() for number in numbers}
    return len(found)


def purge_and_verify(store: StoreSection, gone: list[str], folder: Path) -> str:
    """Purge every unit as a worker does, then verify as an auditor does; both verdicts in words."""
    folder.mkdir()
    keys = KeySet.write(folder / "keys.arrow", [pa.array(gone)])
    pq.write_table(
        pa.table({"face_id": pa.array(gone, pa.large_string()), "tier": ["erase"] * len(gone)}),
        folder / "entries.parquet",
    )
    baseline = BaselineWork(store, Ledger(folder / "baseline"), folder / "secret")
    work = PurgeWork("s", store, keys.path, folder / "receipts", Ledger(folder / "located"), baseline)
    opened = work.open_store()
    opened.janitor(work.receipts)
    for unit in opened.units():
        purge_unit(unit, work.open_keys(), work)
    search = VerifyWork(
        "s",
        baseline,
        (folder / "entries.parquet",),
        "face_id",
        Ledger(folder / "checks"),
        folder / "control",
        str(folder),
    )
    for piece in list_pieces(None, search):
        check_piece(piece, search)
    verdict = judge(search)
    return f"{verdict.status}, {verdict.rows}"


def same(found: Vectors, wanted: Vectors) -> bool:
    """Whether the same people have the same vectors, to the bit."""
    return found.keys() == wanted.keys() and all(np.array_equal(found[name], wanted[name]) for name in wanted)


def write(rows: list[Measured], listed: int) -> None:
    """Put the table between the markers of the page."""
    packages = dict.fromkeys(package for row in rows for package in row.case.packages)
    head = (
        f"Of {listed} listed vectors, how many are still readable from the files. Measured by `make stores-table` on "
        f"{circumstances(packages)}.\n\n"
        "| store | people × dimensions | its own delete | before | after its own delete | after lethe | verdict "
        "| survivors intact | seconds, purge and check |\n|---|---|---|---|---|---|---|---|---|\n"
    )
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(STOP)
    table = head + "\n".join(row.row() for row in rows)
    PAGE.write_text(f"{before}{START}\n{table}\n{STOP}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
