"""Cutting a verification into ranges, groups and processes changes no verdict, and nothing of it is left behind."""

import re
import threading
import zipfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.baseline import BaselineWork, keep_baseline
from pipelines.ledger import Ledger
from pipelines.search import open_searches
from pipelines.verify import Searched, VerifyWork, check_pieces, join_searched, judge, list_groups, list_pieces
from schemas.job import StoreSection
from stores.audit.check import FileCheck
from stores.audit.containers import Format
from stores.audit.examine import Finding
from stores.audit.fingerprints import FINGERPRINTS
from stores.audit.needle_files import NEEDLES_AT_ONCE
from stores.audit.rows import RowDigest
from stores.audit.scan import scan
from stores.audit.verdict import Rows, Status, StoreVerdict
from tests.store_contract import Bench
from tests.test_store_deepface_sqlite import SqliteCase
from tests.test_store_parquet import ParquetCase


def work_of(bench: Bench, at_once: int = NEEDLES_AT_ONCE) -> VerifyWork:
    return VerifyWork(
        name="s",
        baseline=bench.work.baseline,
        parts=(bench.folder / "entries.parquet",),
        column="face_id",
        checks=Ledger(bench.folder / "checks" / str(at_once)),
        scratch=bench.folder / "control",
        attempt=str(at_once),
        at_once=at_once,
    )


def verify(bench: Bench, at_once: int = NEEDLES_AT_ONCE) -> StoreVerdict:
    """All of it, as the workers of an engine do it."""
    work = work_of(bench, at_once)
    groups = list(list_groups(None, work))
    assert [piece for group in groups for piece in group] == list(list_pieces(None, work))
    assert (len(open_searches(work.search)) == 1) == (at_once == NEEDLES_AT_ONCE)
    for group in groups:
        check_pieces(group, work)
    verdict = judge(work)
    assert not [
        file for file in work.baseline.secret.rglob("*") if "search" in file.relative_to(bench.folder).parts[2:]
    ]
    return verdict


def note(bench: Bench) -> None:
    """What a purge notes before it touches anything."""
    store, keys = bench.work.open_store(), bench.work.open_keys()
    for unit in store.units():
        keep_baseline(store.locate(unit, keys), keys, bench.work.baseline)


def test_ranges_change_nothing_that_is_found_in_files(tmp_path: Path) -> None:
    bench = Bench(ParquetCase(tmp_path / "store"), tmp_path)
    note(bench)
    root, gone = Path(bench.case.section.path), bench.case.gone
    with zipfile.ZipFile(root / "old.zip", "w") as archive:
        archive.write(root / "0.parquet", "copy.parquet")
    (root / f"{gone[0]}.txt").write_text(" ".join(gone))
    (root / "unknown.bin").write_bytes(b"\x00\x01what is this")
    kept = pq.read_table(root / "1.parquet").slice(1, 10)
    pq.write_table(kept, root / "filter.parquet", bloom_filter_options={"face_id": {"ndv": 40}})
    content = bytearray((root / "filter.parquet").read_bytes())
    place = pq.ParquetFile(root / "filter.parquet").metadata.row_group(0).column(0).bloom_filter_offset
    content[place + 20] |= 0xFF
    (root / "filter.parquet").write_bytes(bytes(content))
    whole = verify(bench)
    assert whole.status is Status.RESIDUE
    assert {one.what for one in whole.findings} == {"id", "vector", "value that is gone"}
    for at_once in (40, 300):
        assert verify(bench, at_once) == whole


def test_ranges_change_nothing_that_is_found_in_a_database(tmp_path: Path) -> None:
    case = SqliteCase(tmp_path / "store")
    # Somebody who stays, whose id holds that of somebody who goes: only as a whole value does it count.
    case.insert(f"{case.gone[3]}.old.jpg")
    bench = Bench(case, tmp_path)
    note(bench)
    assert sum(len(search.ambiguous) for search in open_searches(work_of(bench, 40).search)) == 1
    whole = verify(bench)
    assert whole.status is Status.RESIDUE
    assert verify(bench, 40) == whole
    bench.purge()
    for at_once in (40, NEEDLES_AT_ONCE):
        after = verify(bench, at_once)
        assert (after.status, after.rows) == (Status.CLEAN, Rows.INTACT)


def test_what_differs_between_two_looks_is_never_clean() -> None:
    place = Finding("id", "values", 2, 0, "face_id")
    bloom = Finding("value that is gone", "bloom filter", 1, 0, "face_id")
    check = FileCheck("a", 10, 5, Format.PARQUET, (place, bloom), ("a doubt",), RowDigest(3), "schema", 1)
    one, other = (Searched(check, frozenset(ids), frozenset()) for ids in ({1, 2}, {7, 9}))
    both = join_searched(one, other)
    assert both.check.findings == (replace(place, count=4), bloom)
    assert (both.check.problems, both.check.ambiguous_ids, both.ids) == (("a doubt",), 2, {1, 2, 7, 9})
    for change in ({"size": 11}, {"rows": RowDigest(4)}, {"schema": None}, {"format": Format.UNKNOWN}):
        changed = join_searched(one, Searched(replace(check, **change), frozenset(), frozenset()))
        assert any("changed while it was being verified" in problem for problem in changed.check.problems)


def test_what_an_interrupted_verification_left_is_removed(tmp_path: Path) -> None:
    bench = Bench(ParquetCase(tmp_path / "store"), tmp_path)
    note(bench)
    interrupted = work_of(bench, 40).search
    open_searches(interrupted)
    assert interrupted.folder.is_dir()
    verify(bench)
    assert not interrupted.folder.exists()


def test_processes_that_start_together_use_one_search(tmp_path: Path) -> None:
    bench = Bench(ParquetCase(tmp_path / "store"), tmp_path)
    note(bench)
    work = work_of(bench, 100)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        found = list(pool.map(_look_at_all, [work] * 2))
    assert found[0] == found[1] and found[0]
    assert [folder.name for folder in work.search.folder.parent.iterdir()] == [work.search.folder.name]


def _look_at_all(work: VerifyWork) -> list[dict[str, object]]:
    return [report for group in list_groups(None, work) for report in check_pieces(group, work)]


BYTES_A_VECTOR = 150
"""What memory may grow by for each listed vector, while the search is written down and after; it was 2,000."""


@pytest.mark.slow
def test_memory_does_not_follow_the_number_of_listed_vectors(tmp_path: Path) -> None:
    few, many = 100_000, 2_000_000
    peaks = {}
    for count in (few, many):
        work = write_listed(tmp_path / str(count), count)
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            peaks[count] = pool.submit(_peak, work).result()
    assert peaks[many] < 512 << 20
    assert peaks[many] - peaks[few] < BYTES_A_VECTOR * (many - few)


def write_listed(folder: Path, count: int) -> VerifyWork:
    """A work with so many listed ids, and a vector of 24 windows for each, as if they had been noted of one unit."""
    random = np.random.default_rng(count)
    baseline = BaselineWork(
        StoreSection(kind="parquet", path=str(folder / "store"), holds="vectors"),
        Ledger(folder / "baseline"),
        folder / "secret",
    )
    ids = pa.array([f"face-{number:016x}" for number in range(count)], pa.large_string())
    file = baseline.fingerprint_file("unit")
    file.parent.mkdir(parents=True)
    pq.write_table(pa.table({"face_id": ids, "tier": ["erase"] * count}), folder / "entries.parquet")
    with pa.ipc.new_file(str(file), FINGERPRINTS) as sink:
        for first in range(0, count, 50_000):
            vectors = np.repeat(np.arange(first, first + 50_000, dtype=np.uint32), 24)
            probes = random.integers(0, 2**32, len(vectors), dtype=np.uint32)
            hashes = random.integers(0, 2**64, len(vectors), dtype=np.uint64)
            sink.write_table(pa.table([probes, hashes, vectors], schema=FINGERPRINTS))
    baseline.ledger.enter("unit", {"version": "", "baseline": {"vectors": count, "untraceable": 0}})
    return VerifyWork(
        "s", baseline, (folder / "entries.parquet",), "face_id", Ledger(folder / "c"), folder / "control", "1"
    )


def _peak(work: VerifyWork) -> int:
    """The most memory of its own, in bytes, that this process holds while it writes the search down and uses it."""
    most, over = 0, threading.Event()

    def look() -> None:
        nonlocal most
        while not over.wait(0.01):
            (anonymous,) = re.findall(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
            most = max(most, int(anonymous) << 10)

    watch = threading.Thread(target=look)
    watch.start()
    (search,) = open_searches(work.search)
    scan(np.frombuffer(np.random.default_rng(0).bytes(8 << 20), np.uint8), search.needles.tables)
    over.set()
    watch.join()
    return most
