"""Real Flink: a JobManager, TaskManagers and worker processes; whole jobs, machines that die, attempts side by side."""

import fcntl
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import apache_beam as beam
import pytest

from examples.flink.compare import differences
from runners.demo import write_demo
from runners.engine import run_pipeline
from runners.engines.flink_cluster import Cluster, running_cluster
from runners.engines.jars import job_server_jar
from runners.worker_boot import ROOT
from schemas.errors import InputError, LetheError
from tests.flink_jobs import purge_every_unit_twice, score_only
from tests.jobs import lethe
from tests.test_engine import fail_with_input_error, fail_with_personal_data

pytestmark = pytest.mark.slow

Capture = pytest.CaptureFixture[str]
SUBJECTS = 300
COMMAND = "import sys; from runners.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def jars() -> Iterator[None]:
    """The pinned jars, and the turn of this process: tests that run side by side start one cluster after the other."""
    if shutil.which("java") is None:
        pytest.skip("Flink needs Java, which is not installed")
    job_server_jar.cache_clear()
    try:
        job_server_jar("flink")
    except InputError:
        pytest.skip("the pinned jars are not there: python -m runners.engines.jars flink")
    with (Path(tempfile.gettempdir()) / "lethe-flink-tests.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="module")
def cluster(jars: None) -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


@pytest.fixture
def restarting(jars: None) -> Iterator[Cluster]:
    """A cluster that starts a failed job again by itself."""
    with running_cluster(restarts=20) as running:
        yield running


@pytest.fixture
def whole(cluster: Cluster) -> Cluster:
    """The cluster with both its TaskManagers, whatever another test did to it."""
    while len(cluster.task_managers) < 2:
        cluster.add_task_manager()
    cluster.wait_for(2)
    return cluster


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "demo"
    write_demo(folder, subjects=SUBJECTS, seed=5)
    return folder


@pytest.fixture(scope="module")
def here(drawn: Path) -> Path:
    """The job as this machine does it."""
    folder = Path(shutil.copytree(drawn, drawn.parent / "here"))
    command = [sys.executable, "-c", COMMAND, "run", str(folder), "--execute"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def test_the_cluster_inside_the_job_server_gives_the_same_bytes(
    drawn: Path, here: Path, jars: None, tmp_path: Path, capsys: Capture
) -> None:
    job = Path(shutil.copytree(drawn, tmp_path / "job"))
    lethe(capsys, "run", job, "--execute", "--", "--runner=FlinkRunner", "--flink_master=[local]")
    assert differences(here, job) == []


def kill_during(cluster: Cluster, command: str, job: Path, pattern: str, *options: str) -> int:
    """Run a command in a process of its own, kill a TaskManager once a file like `pattern` is there; its exit code."""
    arguments = [*command.split(), str(job), "--", *cluster.beam_options, *options]
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        while running.poll() is None and not any(job.glob(pattern)):
            time.sleep(0.01)
        assert running.poll() is None, "it ended before anything could be killed"
        cluster.kill_task_manager()
        return running.wait()


@pytest.mark.parametrize(
    ("before", "command", "pattern"),
    [(None, "score", "out/work/*/units/*"), ("run", "purge --execute", "out/receipts/*/*")],
    ids=["score", "purge"],
)
def test_a_machine_that_dies_loses_nothing(
    whole: Cluster,
    drawn: Path,
    here: Path,
    tmp_path: Path,
    capsys: Capture,
    before: str | None,
    command: str,
    pattern: str,
) -> None:
    job = Path(shutil.copytree(drawn, tmp_path / "job"))
    if before:
        lethe(capsys, before, job)
    assert kill_during(whole, command, job, pattern) in (0, 1)  # 0 if that machine had done its part already
    whole.wait_for(1)
    lethe(capsys, *command.split(), job, "--", *whole.beam_options)  # the same command, on what is left
    lethe(capsys, "run", job, "--execute")
    assert differences(here, job) == []


def test_flink_goes_on_by_itself_where_it_is_told_to(
    restarting: Cluster, drawn: Path, here: Path, tmp_path: Path, capsys: Capture
) -> None:
    job = Path(shutil.copytree(drawn, tmp_path / "job"))
    # As many slots as one TaskManager has: the other takes over.
    assert kill_during(restarting, "score", job, "out/work/*/units/*", "--parallelism=2") == 0
    lethe(capsys, "run", job, "--execute")
    assert differences(here, job) == []


def test_a_bundle_that_is_retried_changes_nothing(
    restarting: Cluster, drawn: Path, here: Path, tmp_path: Path, capsys: Capture
) -> None:
    job, mark = Path(shutil.copytree(drawn, tmp_path / "job")), tmp_path / "failed"
    score_only(job, restarting.beam_options, mark)
    assert mark.exists()
    lethe(capsys, "run", job, "--execute")
    assert differences(here, job) == []


def test_two_attempts_at_everything_side_by_side_change_nothing(
    whole: Cluster, drawn: Path, here: Path, tmp_path: Path, capsys: Capture
) -> None:
    job = Path(shutil.copytree(drawn, tmp_path / "job"))
    options = [*whole.beam_options, "--parallelism=2"]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
        for attempt in [processes.submit(score_only, job, options) for _ in range(2)]:
            attempt.result()
    lethe(capsys, "run", job)
    purge_every_unit_twice(job, whole.beam_options)
    lethe(capsys, "run", job, "--execute")
    assert differences(here, job) == []


def test_an_error_of_ours_comes_back_from_a_cluster_and_a_strangers_text_does_not(
    whole: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InputError, match="faces/ has no column 'face'; it has id$"):
        run_pipeline(lambda p: p | beam.Create(["id"]) | beam.Map(fail_with_input_error), whole.beam_options)
    with pytest.raises(LetheError, match=r"a worker failed.*\(ValueError\); finished work is kept") as caught:
        run_pipeline(lambda p: p | beam.Create(["Jane Doe"]) | beam.Map(fail_with_personal_data), whole.beam_options)
    assert "Jane" not in str(caught.value) + caplog.text
