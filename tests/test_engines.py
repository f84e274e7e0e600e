"""Options of every engine: what is filled in, and what is refused before anything runs. Neither Java nor a cluster."""

import contextlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    DirectOptions,
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
)

from pipelines.score import ScoreRecords
from runners.demo import write_demo
from runners.engine import choose_engine, processes_of, run_pipeline
from runners.engines.dataflow import describe_submission
from runners.engines.jars import fetch_jars, job_server_jar, pinned_jars
from runners.engines.java import die_with_parent
from runners.stages import Session
from runners.worker_boot import ROOT, write_launcher
from schemas.errors import InputError, LetheError
from schemas.job import load_job


def completed(*given: str) -> PipelineOptions:
    return choose_engine(given)[1]


@pytest.fixture
def jar(tmp_path: Path) -> str:
    """A job server of the user's own."""
    file = tmp_path / "job-server.jar"
    file.touch()
    return f"--flink_job_server_jar={file}"


@pytest.fixture
def java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something called `java`: whether it works is for the tests that start it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")


@contextlib.contextmanager
def answering(overview: object) -> Iterator[str]:
    """Whatever answers `GET /overview` as a JobManager would."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(overview).encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("localhost", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


def test_without_a_name_it_is_this_machine_with_all_its_cores() -> None:
    name, options = choose_engine([])
    direct = options.view_as(DirectOptions)
    assert name == "FnApiRunner"
    assert (direct.direct_running_mode, direct.direct_num_workers) == ("multi_threading", os.cpu_count())
    assert completed("--direct_num_workers=3").view_as(DirectOptions).direct_num_workers == 3


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--runner=DirectRunner", "download a binary and run it unverified"),
        ("--runner=apache_beam.runners.dask.dask_runner.DaskRunner", "only one branch"),
        ("--runner=RayRunner", "none that lethe was run on; .*FlinkRunner"),
        ("--direct_running_mode=multi_processing", "wait for ever"),
    ],
)
def test_an_engine_that_cannot_be_relied_on_is_refused(option: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        choose_engine([option])


@pytest.mark.usefixtures("java")
def test_flink_needs_no_more_than_its_name_and_its_master(jar: str) -> None:
    name, options = choose_engine(["--runner=FlinkRunner", "--flink_master=[local]", jar])
    flink, portable = options.view_as(FlinkRunnerOptions), options.view_as(PortableOptions)
    assert (name, flink.flink_version, flink.parallelism) == ("FlinkRunner", "1.20", os.cpu_count())
    assert portable.environment_type == "LOOPBACK"
    assert "disable_logging_submission_environment" in options.view_as(DebugOptions).experiments


@pytest.mark.usefixtures("java")
def test_processes_are_forked_on_this_machine_only(jar: str) -> None:
    assert processes_of([]) == os.cpu_count()
    assert processes_of(["--runner=FlinkRunner", "--flink_master=[local]", jar]) == 0
    assert processes_of(["--runner=PrismRunner", f"--prism_location={sys.executable}"]) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_a_job_server_ends_with_the_command_that_started_it() -> None:
    started = die_with_parent(["sleep", "60"])
    parent = f"import subprocess, time; print(subprocess.Popen({started}).pid, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        child = int(process.stdout.readline())
        wait_until(lambda: Path(f"/proc/{child}/comm").read_text() == "sleep\n")
        process.kill()
    wait_until(lambda: not Path(f"/proc/{child}/cmdline").exists() or not Path(f"/proc/{child}/cmdline").read_text())


def wait_until(condition: Callable[[], bool]) -> None:
    """Until it holds."""
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


@pytest.mark.usefixtures("java")
def test_on_a_cluster_all_slots_are_used_and_workers_come_from_a_pool(jar: str) -> None:
    with answering({"taskmanagers": 3, "slots-total": 6, "flink-version": "1.20.5"}) as master:
        options = completed("--runner=FlinkRunner", f"--flink_master={master}", jar)
        with pytest.raises(InputError, match="--parallelism=7 is more than the 6 slots"):
            completed("--runner=FlinkRunner", f"--flink_master={master}", "--parallelism=7", jar)
    portable = options.view_as(PortableOptions)
    assert options.view_as(FlinkRunnerOptions).parallelism == 6
    assert (portable.environment_type, portable.environment_config) == ("EXTERNAL", "localhost:50000")
    assert int(portable.environment_cache_millis) > 0


@pytest.mark.usefixtures("java")
def test_another_version_of_flink_is_refused(jar: str) -> None:
    with (
        answering({"taskmanagers": 1, "slots-total": 1, "flink-version": "2.2.0"}) as master,
        pytest.raises(InputError, match=r"runs Flink 2\.2\.0; lethe needs Flink 1\.20"),
    ):
        completed("--runner=FlinkRunner", f"--flink_master={master}", jar)


@pytest.mark.usefixtures("java")
@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--flink_version=2.2", "use Flink 1.20"),
        ("--flink_submit_uber_jar", "not supported"),
        ("--flink_job_server_jar=https://example.org/server.jar", "no file on this machine"),
        ("--flink_master=http://localhost:1", "no Flink JobManager answers"),
        ("--environment_type=KUBERNETES", "LOOPBACK, EXTERNAL, PROCESS, DOCKER"),
        ("--environment_type=DOCKER", "--sdk_container_image"),
        ("--job_server_java_launcher=no-such-java", "needs Java"),
    ],
)
def test_flink_options_that_do_not_work_are_refused(jar: str, option: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        completed("--runner=FlinkRunner", jar, option)


@pytest.mark.usefixtures("java")
def test_workers_of_a_cluster_cannot_run_in_this_process(jar: str) -> None:
    with (
        answering({"taskmanagers": 1, "slots-total": 1, "flink-version": "1.20.5"}) as master,
        pytest.raises(InputError, match="python -m runners.worker_boot pool"),
    ):
        completed("--runner=FlinkRunner", f"--flink_master={master}", "--environment_type=LOOPBACK", jar)


@pytest.mark.usefixtures("java")
def test_the_python_that_loopback_processes_would_be_is_checked(
    jar: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "bin" / "python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    with pytest.raises(InputError, match="activate the environment"):
        completed("--runner=FlinkRunner", "--experiments=use_loopback_process_worker", jar)


@pytest.mark.usefixtures("java")
def test_a_worker_process_is_our_own_boot(jar: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LETHE_CACHE", str(tmp_path / "cache"))
    options = completed("--runner=FlinkRunner", "--environment_type=PROCESS", jar)
    command = json.loads(options.view_as(PortableOptions).environment_config)["command"]
    assert os.access(command, os.X_OK) and "runners.worker_boot boot" in Path(command).read_text()


@pytest.mark.usefixtures("java")
@pytest.mark.parametrize("engine", ["flink", "spark"])
def test_a_missing_jar_is_named_with_its_address_its_digest_and_the_command(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETHE_CACHE", str(tmp_path))
    job_server_jar.cache_clear()
    path, digest = next(iter(pinned_jars(engine).items()))
    with pytest.raises(InputError) as caught:
        completed(f"--runner={engine.title()}Runner")
    for part in (f"https://repo.maven.apache.org/maven2/{path}", digest, f"python -m runners.engines.jars {engine}"):
        assert part in str(caught.value)
    assert not list(tmp_path.rglob("*.jar"))  # nothing was fetched unasked


def test_a_jar_that_is_not_the_pinned_one_is_neither_used_nor_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETHE_CACHE", str(tmp_path / "cache"))
    job_server_jar.cache_clear()
    for path in pinned_jars("flink"):
        for file in (tmp_path / "mirror" / path, tmp_path / "cache" / "jars" / "flink" / Path(path).name):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"something else")
    with pytest.raises(InputError, match="not the file that is pinned"):
        job_server_jar("flink")
    with pytest.raises(LetheError, match="is pinned; it was not kept"):
        fetch_jars("flink", (tmp_path / "mirror").as_uri())


def test_every_pin_is_a_digest_of_a_jar_and_no_name_comes_twice() -> None:
    for engine in ("flink", "spark"):
        pins = pinned_jars(engine)
        assert all(len(digest) == 128 and path.endswith(".jar") for path, digest in pins.items())
        assert len({Path(path).name for path in pins}) == len(pins)


def test_prism_is_a_path_and_never_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOBIN", str(tmp_path / "go"))
    for location in ([], ["--prism_location=https://example.org/prism.zip"]):
        with pytest.raises(InputError, match=r"go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2\."):
            completed("--runner=PrismRunner", *location)
    (tmp_path / "go").mkdir()
    (tmp_path / "go" / "prism").touch()
    found = completed("--runner=PrismRunner").view_as(PrismRunnerOptions)
    assert found.prism_location == str(tmp_path / "go" / "prism")


def test_spark_wants_a_master() -> None:
    with pytest.raises(InputError, match="is no Spark master"):
        completed("--runner=SparkRunner", "--spark_master_url=yarn")


CLOUD = ("--project=p", "--region=europe-west1", "--temp_location=gs://b/t", "--sdk_container_image=r/lethe:1")


@pytest.mark.parametrize("missing", CLOUD)
def test_dataflow_says_which_options_are_missing(missing: str) -> None:
    with pytest.raises(InputError, match=missing.partition("=")[0]):
        choose_engine(["--runner=DataflowRunner", *(option for option in CLOUD if option != missing)])


@pytest.mark.parametrize("option", ["--save_main_session", "--setup_file=/x/setup.py", "--temp_location=/tmp"])
def test_dataflow_runs_the_image_and_nothing_else(option: str) -> None:
    with pytest.raises(InputError, match=option.partition("=")[0]):
        choose_engine(["--runner=DataflowRunner", *CLOUD, option])


def test_what_dataflow_would_be_sent_names_our_image_and_stages_nothing(tmp_path: Path) -> None:
    write_demo(tmp_path / "demo", subjects=20, seed=1)
    work = Session.start(load_job(tmp_path / "demo"), []).work
    file = tmp_path / "job.json"
    graph = describe_submission(lambda pipeline: pipeline | beam.Create([None]) | ScoreRecords(work), CLOUD, file)
    environments = list(graph.components.environments.values())
    assert environments and all(b"r/lethe:1" in environment.payload for environment in environments)
    assert not any(environment.dependencies for environment in environments)
    names = {transform.unique_name for transform in graph.components.transforms.values()}
    assert {"ScoreRecords/GatherSubjects/ReadUnits", "ScoreRecords/ScoreShards"} <= names
    assert json.loads(file.read_text())["components"]["environments"]


def test_a_model_and_a_database_are_loaded_once_however_many_threads_ask(tmp_path: Path) -> None:
    write_demo(tmp_path, subjects=20, seed=1)
    work = Session.start(load_job(tmp_path), []).work
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: work.sources(), range(8)))
    assert len({id(sources.network) for sources in found}) == 1
    assert len({id(sources.language) for sources in found}) == 1


class Worker(beam.DoFn):
    """Says in a file what it sees, and prints a lot."""

    def process(self, file: str) -> Iterator[str]:
        Path(file).write_text(json.dumps({"pid": os.getpid(), "options": json.loads(os.environ["PIPELINE_OPTIONS"])}))
        sys.stdout.write("x" * 300_000)
        yield file


@pytest.mark.parametrize("pool", ["ours", pytest.param("Beam's, which starts our launcher", marks=pytest.mark.slow)])
def test_a_worker_process_sees_the_options_and_may_print_what_it_likes(pool: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    launcher = write_launcher(tmp_path / "boot")
    theirs = ["apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    command = (
        ["runners.worker_boot", "pool", port] if pool == "ours" else [*theirs, f"--container_executable={launcher}"]
    )
    seen = tmp_path / "seen.json"
    options = ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=EXTERNAL", "--job_name=told"]
    options += [f"--environment_config=localhost:{port}", "--experiments=disable_logging_submission_environment"]
    with subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_port(int(port))
            run_pipeline(lambda p: p | beam.Create([str(seen)]) | beam.ParDo(Worker()), options)
        finally:
            process.terminate()
    told = json.loads(seen.read_text())
    assert told["pid"] != os.getpid()
    assert "told" in json.dumps(told["options"])


def wait_for_port(port: int) -> None:
    """Until somebody listens."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("localhost", port)):
            return
        time.sleep(0.1)
    raise AssertionError(f"nobody listens on {port}")
