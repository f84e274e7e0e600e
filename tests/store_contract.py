"""What every store promises, as tests that each kind passes on a real instance of itself.

A kind writes `class TestLance(StoreContract)` with `make`, which builds a real store in a folder; everything else is
here. What is purged is purged by the functions that the pipeline calls, and looked at by those that verification calls.
"""

import abc
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.baseline import BaselineWork, keep_baseline
from pipelines.ledger import Ledger
from pipelines.purge import PurgeWork, locate_unit, purge_unit
from pipelines.verify import VerifyWork, check_piece, judge, list_pieces
from schemas.job import StoreSection
from stores.audit.verdict import Rows, Status, StoreVerdict
from stores.contract import Receipt
from stores.contract import Status as Step
from stores.keys import KeySet

Vectors = dict[str, npt.NDArray[np.floating]]


class Case(abc.ABC):
    """A real store of one kind, with people in it; `gone` are the ids to erase, some in every unit."""

    section: StoreSection
    gone: list[str]

    @abc.abstractmethod
    def contents(self) -> Vectors:
        """The vector of every id as a user of the store reads it now."""

    @abc.abstractmethod
    def insert(self, name: str) -> None:
        """What a second writer does: add one person to the store, in a unit that holds somebody to erase."""

    @abc.abstractmethod
    def delete_plainly(self, names: list[str]) -> None:
        """Delete people as the store's own users do, and no more."""

    def search(self, vector: npt.NDArray[np.floating]) -> list[str] | None:
        """The ids an index of the store finds nearest to a vector; None where there is no index."""
        del vector
        return None

    def close(self) -> None:  # noqa: B027
        """Stop what had to be started; most need nothing."""


@dataclass
class Bench:
    """One store, and the folders of a run over it."""

    case: Case
    folder: Path
    work: PurgeWork = field(init=False)
    verification: int = 0

    def __post_init__(self) -> None:
        case, folder = self.case, self.folder
        keys = KeySet.write(folder / "keys.arrow", [pa.array(case.gone)])
        baseline = BaselineWork(case.section, Ledger(folder / "baseline"), folder / "secret")
        self.work = PurgeWork("s", case.section, keys.path, folder / "receipts", Ledger(folder / "located"), baseline)
        entries = pa.table({"face_id": pa.array(case.gone, pa.large_string()), "tier": ["erase"] * len(case.gone)})
        pq.write_table(entries, folder / "entries.parquet")

    def purge(self) -> list[Receipt]:
        """Purge every unit, as a worker does."""
        self.work.open_store().janitor(self.work.receipts)
        keys = self.work.open_keys()
        return [purge_unit(unit, keys, self.work) for unit in self.work.open_store().units()]

    def verify(self) -> StoreVerdict:
        """Look at everything, as the verifier does."""
        self.verification += 1
        checks = Ledger(self.folder / "checks")
        shutil.rmtree(checks.folder, ignore_errors=True)
        work = VerifyWork(
            "s",
            self.work.baseline,
            (self.folder / "entries.parquet",),
            "face_id",
            checks,
            self.folder / "control",
            f"{self.folder} {self.verification}",
        )
        for piece in list_pieces(None, work):
            check_piece(piece, work)
        return judge(work)

    def readable(self, what: str = "vector") -> int:
        """How many listed vectors (or ids) can be read from the store's files, by the place where most are."""
        return count(self.verify(), what)

    def footprint(self) -> list[tuple[str, int, int]]:
        """Every entry of the store, as it is."""
        entries = self.work.baseline.open_reader().entries()
        return [(entry.path, entry.size, entry.modified_ns) for entry in entries]


def count(verdict: StoreVerdict, what: str) -> int:
    """Listed vectors (or ids) found: of each file the place where most are, over all files."""
    most: dict[str, int] = {}
    for finding in verdict.findings:
        if finding.what == what:
            most[finding.file] = max(most.get(finding.file, 0), finding.count)
    return sum(most.values())


def same(found: Vectors, wanted: Vectors) -> bool:
    """Whether the same people have the same vectors, to the bit."""
    return found.keys() == wanted.keys() and all(np.array_equal(found[name], wanted[name]) for name in wanted)


class StoreContract(abc.ABC):
    """The tests; a kind derives from it and says how to make a store."""

    deterministic_files = True
    """Whether files nobody changed stay as they are: not so for a database server, which writes when it likes."""

    @abc.abstractmethod
    def make(self, folder: Path) -> Case:
        """Build a real store below `folder`."""

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterable[Bench]:
        case = self.make(tmp_path / "store")
        yield Bench(case, tmp_path)
        case.close()

    def test_just_the_listed_go(self, bench: Bench) -> None:
        before = bench.case.contents()
        receipts = bench.purge()
        left = {name: vector for name, vector in before.items() if name not in bench.case.gone}
        assert same(bench.case.contents(), left)
        assert sum(receipt.rows_removed for receipt in receipts) >= len(bench.case.gone)
        for receipt in receipts:
            assert receipt.after is not None
            assert receipt.before.rows == receipt.rows_removed + receipt.after.rows
            if receipt.rows_removed:
                assert receipt.status is Step.REMOVED
                assert receipt.matched_at and receipt.removed_at and receipt.compacted_at, receipt.detail

    def test_the_verifier_finds_them_before_and_nothing_after(self, bench: Bench) -> None:
        keys = bench.work.open_keys()
        store = bench.work.open_store()
        for unit in store.units():
            keep_baseline(store.locate(unit, keys), keys, bench.work.baseline)
        verdict = bench.verify()
        assert verdict.status is Status.RESIDUE
        assert count(verdict, "vector") >= len(bench.case.gone)
        assert count(verdict, "id")
        bench.purge()
        verdict = bench.verify()
        assert verdict.status is Status.CLEAN, verdict.reasons
        assert verdict.rows in (Rows.INTACT, Rows.MOVED), verdict.reasons
        assert verdict.control is not None and verdict.control.passed

    def test_looking_changes_nothing(self, bench: Bench) -> None:
        before = bench.footprint()
        for unit in bench.work.open_store().units():
            report = locate_unit(unit, bench.work)
            assert report["status"] in (Step.MATCHED, Step.UNCHANGED)
        if self.deterministic_files:
            assert bench.footprint() == before

    def test_again_changes_nothing(self, bench: Bench) -> None:
        first = bench.purge()
        footprint, contents = bench.footprint(), bench.case.contents()
        assert bench.purge() == first
        assert same(bench.case.contents(), contents)
        if self.deterministic_files:
            assert bench.footprint() == footprint

    def test_nobody_listed(self, bench: Bench) -> None:
        KeySet.write(bench.work.keys_file, [pa.array(["nobody-at-all"])])
        before, contents = bench.footprint(), bench.case.contents()
        assert {receipt.status for receipt in bench.purge()} == {Step.UNCHANGED}
        assert same(bench.case.contents(), contents)
        if self.deterministic_files:
            assert bench.footprint() == before

    def test_what_would_lose_somebody_is_refused(self, bench: Bench) -> None:
        contents = bench.case.contents()
        keys, store = bench.work.open_keys(), bench.work.open_store()
        for unit in store.units():
            match = store.locate(unit, keys)
            if not match.rows:
                continue
            seen = []

            def refuse(batches: Iterable[pa.RecordBatch], seen: list[int] = seen) -> str:
                seen.append(sum(len(batch) for batch in batches))
                return "somebody is missing"

            receipt = store.compact(store.purge(match, keys, bench.work.receipts, refuse), keys, bench.work.receipts)
            assert receipt.status is Step.FAILED
            assert "somebody is missing" in (receipt.detail or "")
            assert seen == [match.file.rows - match.rows]
        assert same(bench.case.contents(), contents)
        bench.purge()
        assert not set(bench.case.contents()) & set(bench.case.gone)

    def test_a_second_writer_loses_nothing(self, bench: Bench) -> None:
        """Somebody adds a person between looking and purging: a conflict, or both are done; run again, all is right."""
        keys, store = bench.work.open_keys(), bench.work.open_store()
        matches = [store.locate(unit, keys) for unit in store.units()]
        bench.case.insert("newcomer")
        for match in matches:
            receipt = store.compact(store.purge(match, keys, bench.work.receipts), keys, bench.work.receipts)
            assert receipt.status in (Step.CONFLICT, Step.REMOVED, Step.UNCHANGED)
        assert "newcomer" in bench.case.contents()
        bench.purge()
        contents = bench.case.contents()
        assert "newcomer" in contents
        assert not set(contents) & set(bench.case.gone)

    def test_an_index_finds_those_who_stay_and_nobody_who_went(self, bench: Bench) -> None:
        before = bench.case.contents()
        if bench.case.search(next(iter(before.values()))) is None:
            pytest.skip("no index")
        bench.purge()
        for name in bench.case.gone:
            assert not set(bench.case.search(before[name]) or []) & set(bench.case.gone)
        for name in [name for name in before if name not in bench.case.gone][:20]:
            assert name in (bench.case.search(before[name]) or [])

    def test_a_plain_delete_is_finished(self, bench: Bench) -> None:
        """Somebody deleted the rows already, the ordinary way: what that left is cleaned away as well."""
        keys, store = bench.work.open_keys(), bench.work.open_store()
        for unit in store.units():
            keep_baseline(store.locate(unit, keys), keys, bench.work.baseline)
        bench.case.delete_plainly(bench.case.gone)
        bench.purge()
        assert bench.readable() == 0
        assert bench.readable("id") == 0
