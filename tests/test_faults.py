"""Kills, full disks, lost rights, lost servers, other writers, clocks that jump: run it again and it is done.

One promise for every kind of store: whatever goes wrong, nobody who was not listed is lost, and after the next run
nothing of the listed is left, in the eyes of the verifier.
"""

import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stores.audit.verdict import Rows, Status
from tests.store_contract import Bench, Case, Vectors, same

if TYPE_CHECKING:
    from tests.s3_server import S3Server

NOBODY = 65534
KILLS = 3
SLOW_KILLS = 200


@dataclass(frozen=True)
class Kind:
    """A kind of store that faults are tried on: where its `Case` is written, and what can happen to it.

    `files` are below the folder of the case, so that rights, space and times of them can be changed; `writer` says
    that a second writer at any moment is somebody the kind copes with.
    """

    name: str
    module: str
    case: str
    arguments: dict[str, Any]
    files: bool = True
    writer: bool = False
    server: str = ""

    @property
    def written(self) -> bool:
        return importlib.util.find_spec(f"tests.{self.module}") is not None

    def make(self, folder: Path, servers: "Servers") -> Case:
        kind = getattr(importlib.import_module(f"tests.{self.module}"), self.case)
        match self.server:
            case "s3":
                made: Case = kind(servers.s3, servers.s3.bucket("Enabled"))
            case "postgres":
                made = kind(*servers.postgres)
            case _:
                made = kind(folder, **self.arguments)
        return made


class Servers:
    """The servers that some kinds need, each started when it is first asked for."""

    def __init__(self) -> None:
        self.started = contextlib.ExitStack()

    @cached_property
    def s3(self) -> "S3Server":
        """One of objects."""
        from tests.s3_server import S3Server

        server = S3Server.start()
        self.started.callback(server.stop)
        return server

    @cached_property
    def postgres(self) -> tuple[str, str]:
        """One of PostgreSQL: its address, and the folder of its files."""
        from tests.deepface_postgres_case import running_server

        return self.started.enter_context(running_server())


KINDS = [
    Kind("parquet", "test_store_parquet", "ParquetCase", {}),
    Kind("deepface-sqlite", "test_store_deepface_sqlite", "SqliteCase", {"journal": "wal"}, writer=True),
    Kind("delta", "test_store_delta", "DeltaCase", {}, writer=True),
    Kind("faiss", "test_store_faiss", "FaissCase", {"recipe": "IDMap2,HNSW16", "offset": 1000, "named": True}),
    Kind("iceberg", "test_store_iceberg", "IcebergCase", {}, writer=True),
    Kind("lance", "test_store_lance", "LanceCase", {"kind": "IVF_FLAT"}),
    Kind("s3", "test_store_s3", "S3Case", {}, files=False, writer=True, server="s3"),
    Kind("deepface-postgres", "deepface_postgres_case", "PostgresCase", {}, False, True, "postgres"),
    Kind("pgvector", "deepface_postgres_case", "PgvectorCase", {}, False, True, "postgres"),
]
KINDS = [kind for kind in KINDS if kind.written]
OF_FILES = [kind for kind in KINDS if kind.files]


class Victims:
    """Processes to be killed; see `fault_driver`."""

    def __init__(self, **environment: str) -> None:
        root = str(Path(__file__).parents[1])
        self.driver = subprocess.Popen(
            [sys.executable, "-m", "tests.fault_driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=root,
            env=os.environ | environment,
        )
        self.said: list[str] = []
        assert self.driver.stderr is not None
        threading.Thread(
            target=lambda stream: self.said.extend(stream), args=(self.driver.stderr,), daemon=True
        ).start()

    def purge(self, bench: Bench, **order: Any) -> tuple[int, float]:  # noqa: ANN401 - see fault_driver.obey
        """Purge the store; returns the exit code, negative if killed, and the seconds it lived."""
        assert self.driver.stdin is not None
        assert self.driver.stdout is not None
        told = {"section": bench.case.section.model_dump(), "folder": str(bench.folder), **order}
        self.driver.stdin.write(json.dumps(told) + "\n")
        self.driver.stdin.flush()
        answer = self.driver.stdout.readline()
        assert answer, "".join(self.said)
        code, seconds = json.loads(answer)
        return code, seconds

    def end(self) -> None:
        self.driver.communicate()


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "tests")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        running = Servers()
        with running.started:
            yield running


@pytest.fixture(scope="module")
def victims(servers: Servers) -> Iterator[Victims]:
    del servers  # the credentials that go with them are in the environment by now
    running = Victims()
    yield running
    running.end()


@pytest.fixture
def bench(kind: Kind, tmp_path: Path, servers: Servers) -> Iterator[Bench]:
    case = kind.make(tmp_path / "store", servers)
    yield Bench(case, tmp_path)
    case.close()


def others(bench: Bench, before: Vectors) -> Vectors:
    """Everybody who is to stay."""
    return {name: vector for name, vector in before.items() if name not in bench.case.gone}


def nobody_else_is_lost(bench: Bench, before: Vectors) -> None:
    """Whatever happened: those who stay are there, to the bit."""
    now = bench.case.contents()
    assert same(others(bench, now), others(bench, before))


def finish_and_check(victims: Victims, bench: Bench, before: Vectors) -> None:
    """What an operator does after anything went wrong: the same command again."""
    code, _ = victims.purge(bench)
    assert code == 0, "".join(victims.said[-40:])
    assert same(bench.case.contents(), others(bench, before))
    verdict = bench.verify()
    assert verdict.status is Status.CLEAN, verdict.reasons
    assert verdict.rows in (Rows.INTACT, Rows.MOVED), verdict.reasons


slow = pytest.mark.slow
of_each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
of_each_kind_of_files = pytest.mark.parametrize("kind", OF_FILES, ids=lambda kind: kind.name)


def kill_again_and_again(
    kind: Kind,
    victims: Victims,
    servers: Servers,
    folder: Path,
    kills: int,
    seed: int,
) -> None:
    """Kill purges of one kind at random moments, up to three in a row of one store, until `kills` were killed."""
    moments = random.Random(seed)
    measured = Bench(kind.make(folder / "measured" / "store", servers), folder / "measured")
    code, seconds = victims.purge(measured)
    measured.case.close()
    assert code == 0, "".join(victims.said[-40:])
    killed = stores = 0
    while killed < kills and stores < 2 * kills:
        stores += 1
        place = folder / str(stores)
        bench = Bench(kind.make(place / "store", servers), place)
        before = bench.case.contents()
        for _ in range(min(1 + moments.randrange(3), kills - killed)):
            code, took = victims.purge(bench, kill_after=moments.uniform(0, seconds))
            killed += code == -signal.SIGKILL
            seconds = min(seconds, took) if code == 0 else seconds  # the first may have been measured in a busy moment
            nobody_else_is_lost(bench, before)
        finish_and_check(victims, bench, before)
        bench.case.close()
        shutil.rmtree(place, ignore_errors=True)
    assert killed >= kills / 2


@of_each_kind
def test_killed_at_random_moments(kind: Kind, victims: Victims, servers: Servers, tmp_path: Path) -> None:
    kill_again_and_again(kind, victims, servers, tmp_path, KILLS, seed=11)


@slow
@of_each_kind
def test_killed_often(kind: Kind, victims: Victims, servers: Servers, tmp_path: Path) -> None:
    kill_again_and_again(kind, victims, servers, tmp_path, -(-SLOW_KILLS // len(KINDS)), seed=12)


@of_each_kind_of_files
@pytest.mark.parametrize("room", [pytest.param(1, marks=slow), 4_096, pytest.param(60_000, marks=slow)])
def test_no_room_left(kind: Kind, bench: Bench, victims: Victims, room: int) -> None:
    """Writing fails in the middle of a file, as on a full disk; then there is room again."""
    before = bench.case.contents()
    code, _ = victims.purge(bench, file_size=room)
    assert code >= 0
    nobody_else_is_lost(bench, before)
    finish_and_check(victims, bench, before)


@of_each_kind_of_files
@pytest.mark.parametrize("what", ["folder", pytest.param("files", marks=slow)])
def test_not_allowed_to_write(kind: Kind, bench: Bench, victims: Victims, what: str) -> None:
    """The user of the purge may read the store and not change it; then it is allowed to."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody without rights")
    before = bench.case.contents()
    for parent in [bench.folder, *list(bench.folder.parents)[:3]]:
        parent.chmod(parent.stat().st_mode | 0o055)
    store = bench.folder / "store"
    for path in [*bench.folder.rglob("*"), bench.folder]:
        if not (path == store or path.is_relative_to(store)) or what == "files":
            os.chown(path, NOBODY, NOBODY)
    if what == "files":
        for path in store.rglob("*"):
            if path.is_file():
                os.chown(path, 0, 0)
                path.chmod(0o444)
    code, _ = victims.purge(bench, user=NOBODY)
    assert code >= 0
    nobody_else_is_lost(bench, before)
    for path in [*bench.folder.rglob("*")]:
        os.chown(path, 0, 0)
        path.chmod(path.stat().st_mode | 0o600)
    finish_and_check(victims, bench, before)


@of_each_kind
def test_somebody_writes_all_the_while(kind: Kind, bench: Bench, victims: Victims) -> None:
    """A second writer adds one person after the other while the purge runs, and again; none of them is lost."""
    if not kind.writer:
        pytest.skip("writers of this kind have to stop while it is purged, and docs/stores.md says so")
    before = bench.case.contents()
    added: list[str] = []
    refused: list[Exception] = []
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set() and len(added) < 40:
            name = f"newcomer-{len(added):03d}"
            try:
                bench.case.insert(name)
                added.append(name)
            except Exception as error:  # noqa: BLE001 - a store may refuse a writer; it may not lose one
                refused.append(error)
            time.sleep(0.02)

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(2):
        code, _ = victims.purge(bench)
        assert code >= 0
    stop.set()
    writer.join()
    assert added, refused
    code, _ = victims.purge(bench)
    assert code == 0, "".join(victims.said[-40:])
    now = bench.case.contents()
    assert not set(added) - now.keys()
    assert not set(bench.case.gone) & now.keys()
    assert same({name: now[name] for name in now if name in before}, others(bench, before))
    assert (bench.readable(), bench.readable("id")) == (0, 0)


@of_each_kind_of_files
@pytest.mark.parametrize("seconds", [pytest.param(0, marks=slow), 4_000_000_000])
def test_files_of_another_time(kind: Kind, bench: Bench, victims: Victims, seconds: int) -> None:
    """Files that say they were written long ago, or will be: times identify, they never decide."""
    before = bench.case.contents()
    for file in (bench.folder / "store").rglob("*"):
        os.utime(file, (seconds, seconds))
    finish_and_check(victims, bench, before)


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
/* Jumps 400 days back and forth, call by call. */
int clock_gettime(clockid_t id, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    static long calls;
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(id, t);
    if (id == CLOCK_REALTIME && __sync_fetch_and_add(&calls, 1) % 2) t->tv_sec -= 400L * 86400;
    return code;
}
"""


@pytest.fixture(scope="module")
def confused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victims]:
    """Victims whose clock jumps."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler to build a clock that jumps")
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(CLOCK)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "clock.so", folder / "clock.c", "-ldl"], check=True)
    running = Victims(LD_PRELOAD=str(folder / "clock.so"))
    yield running
    running.end()


@of_each_kind
def test_a_clock_that_jumps(kind: Kind, bench: Bench, confused: Victims, victims: Victims) -> None:
    """Each look at the clock is 400 days before or after the last one."""
    if kind.server:
        pytest.skip("a server refuses requests of another day, before anything is changed")
    before = bench.case.contents()
    code, _ = confused.purge(bench, kill_after=0.2)
    assert code in (0, -signal.SIGKILL)
    code, _ = confused.purge(bench)
    assert code == 0, "".join(confused.said[-40:])
    finish_and_check(victims, bench, before)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.server == "s3"], ids=lambda kind: kind.name)
@pytest.mark.parametrize("share", [pytest.param(0.2, marks=slow), 0.5, pytest.param(0.8, marks=slow)])
def test_a_server_that_goes_away(kind: Kind, tmp_path: Path, victims: Victims, servers: Servers, share: float) -> None:
    """The server stops answering in the middle, and comes back with what it had."""
    measured = Bench(kind.make(tmp_path / "measured" / "store", servers), tmp_path / "measured")
    _, seconds = victims.purge(measured)
    bench = Bench(kind.make(tmp_path / "lost" / "store", servers), tmp_path / "lost")
    before = bench.case.contents()
    # Stopped for longer than a purge waits would be minutes: what waits is killed.
    threading.Timer(seconds * share, servers.s3.process.send_signal, [signal.SIGSTOP]).start()
    try:
        code, _ = victims.purge(bench, kill_after=seconds + 2)
    finally:
        servers.s3.process.send_signal(signal.SIGCONT)
    assert code in (0, 1, 2, -signal.SIGKILL)
    nobody_else_is_lost(bench, before)
    finish_and_check(victims, bench, before)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.server == "postgres"], ids=lambda kind: kind.name)
@pytest.mark.parametrize("share", [pytest.param(0.2, marks=slow), 0.5, pytest.param(0.8, marks=slow)])
def test_a_connection_that_is_cut(kind: Kind, tmp_path: Path, victims: Victims, servers: Servers, share: float) -> None:
    """The administrator ends all of the purge's connections in the middle."""
    import psycopg

    measured = Bench(kind.make(tmp_path / "measured" / "store", servers), tmp_path / "measured")
    _, seconds = victims.purge(measured)
    measured.case.close()
    bench = Bench(kind.make(tmp_path / "cut" / "store", servers), tmp_path / "cut")
    before = bench.case.contents()

    def cut() -> None:
        with psycopg.connect(servers.postgres[0], autocommit=True) as db:
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )

    timer = threading.Timer(seconds * share, cut)
    timer.start()
    code, _ = victims.purge(bench)
    timer.join()
    assert code in (0, 1, 2)
    nobody_else_is_lost(bench, before)
    finish_and_check(victims, bench, before)
    bench.case.close()
