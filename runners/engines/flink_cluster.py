"""A standalone Flink cluster on this machine: a JobManager, TaskManagers and a pool of workers, a process each.

    python -m runners.engines.flink_cluster            starts one, says how to use it, and ends it with Ctrl-C

For the demo, the tests and trying things out. It is started from the pinned jars by plain `java`; the shell scripts
that come with Flink would also compute the sizes of memory, which are therefore written out here.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runners.engines.flink import read_overview
from runners.engines.jars import jar_folder, unsent_job_server_jar
from runners.engines.java import die_with_parent
from runners.worker_boot import ROOT
from schemas.errors import InputError, LetheError

SLOTS = 2
"""Of one TaskManager."""

_READY_SECONDS = 90
_JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
_OPENED = ("lang", "net", "io", "nio", "lang.reflect", "text", "time", "util", "util.concurrent")
"""Packages below `java` that Flink's serializers look into, as its own scripts open them for Java 17."""

_SHORT_LIVED = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Java only moves pointers here, and not for long: what it would spend on optimising itself never pays."""

_LOGGING = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)

# Beam's classes are on every class path here, so they are loaded once and not again for every job.
# A TaskManager that dies is known by the connections it refuses, one that is slow only by a heartbeat that is missing.
_SETTINGS = f"""\
jobmanager.rpc.address: localhost
jobmanager.rpc.port: {{rpc}}
jobmanager.bind-host: localhost
jobmanager.memory.heap.size: 512m
jobmanager.memory.off-heap.size: 128m
jobmanager.memory.jvm-metaspace.size: 256m
jobmanager.memory.jvm-overhead.min: 192m
jobmanager.memory.jvm-overhead.max: 192m
rest.address: localhost
rest.bind-address: localhost
rest.port: {{rest}}
blob.server.port: 0
taskmanager.host: localhost
taskmanager.bind-host: localhost
taskmanager.rpc.port: 0
taskmanager.numberOfTaskSlots: {SLOTS}
taskmanager.cpu.cores: {SLOTS}.0
taskmanager.memory.framework.heap.size: 128m
taskmanager.memory.framework.off-heap.size: 128m
taskmanager.memory.task.heap.size: 512m
taskmanager.memory.task.off-heap.size: 0b
taskmanager.memory.managed.size: 256m
taskmanager.memory.network.min: 256m
taskmanager.memory.network.max: 256m
taskmanager.memory.jvm-metaspace.size: 256m
taskmanager.memory.jvm-overhead.min: 192m
taskmanager.memory.jvm-overhead.max: 192m
classloader.resolve-order: parent-first
heartbeat.interval: 1000
heartbeat.timeout: 60000
io.tmp.dirs: {{folder}}
env.log.dir: {{folder}}
"""


_RESTARTS = """\
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: {restarts}
restart-strategy.fixed-delay.delay: 2 s
"""


@dataclass
class Cluster:
    """A running cluster; `folder` holds its settings and logs."""

    folder: Path
    rest: int
    pool: int
    job_server: Path
    task_managers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    others: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def master(self) -> str:
        """Its REST address."""
        return f"http://localhost:{self.rest}"

    @property
    def beam_options(self) -> list[str]:
        """What goes after `--` to run on it."""
        return [
            "--runner=FlinkRunner",
            f"--flink_master={self.master}",
            f"--flink_job_server_jar={self.job_server}",
            f"--environment_config=localhost:{self.pool}",
        ]

    def add_task_manager(self) -> None:
        """Start one more TaskManager; `wait_for` says when it can be used."""
        memory = ("-Xms640m", "-Xmx640m", "-XX:MaxDirectMemorySize=512m", "-XX:MaxMetaspaceSize=256m")
        name = f"task-manager-{len(self.task_managers)}"
        self.task_managers.append(self._start(name, [*_java(memory), _TASK_MANAGER, "--configDir", str(self.folder)]))

    def kill_task_manager(self) -> None:
        """End the newest TaskManager at once, as a machine that fails does."""
        killed = self.task_managers.pop()
        killed.send_signal(signal.SIGKILL)
        killed.wait()

    def wait_for(self, task_managers: int) -> None:
        """Wait until so many TaskManagers have registered. Raises a LetheError if they do not, or a process ended."""
        until = time.monotonic() + _READY_SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(InputError):
                found = read_overview(self.master)  # a TaskManager is there a moment before its slots are
                if (found["taskmanagers"], found["slots-total"]) == (task_managers, task_managers * SLOTS):
                    return
            if any(process.poll() is not None for process in self._processes()):
                break
            time.sleep(0.2)
        raise LetheError(f"the Flink cluster did not start; its logs are in {self.folder}")

    def _processes(self) -> list[subprocess.Popen[bytes]]:
        return [*self.task_managers, *self.others]

    def _start(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(die_with_parent(command), stdout=log, stderr=log, cwd=ROOT, start_new_session=True)

    def _start_all(self, task_managers: int) -> None:
        job_manager = [*_java(("-Xmx512m",)), _JOB_MANAGER, "--configDir", str(self.folder)]
        self.others.append(self._start("job-manager", job_manager))
        self.others.append(
            self._start("workers", [sys.executable, "-m", "runners.worker_boot", "pool", str(self.pool)])
        )
        for _ in range(task_managers):
            self.add_task_manager()
        self.wait_for(task_managers)

    def _stop(self) -> None:
        """End every process and what it started: each leads a process group of its own."""
        for process in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def running_cluster(task_managers: int = 2, restarts: int = 0) -> Iterator[Cluster]:
    """A cluster on free ports, ended on leaving, with all its workers; it restarts a failed job so many times.

    Raises:
        InputError: Java or a pinned jar is missing.
        LetheError: it does not start; its logs are then left behind.

    """
    if shutil.which("java") is None:
        raise InputError("java is not there, and Flink needs Java 11 or 17: apt-get install openjdk-17-jre-headless")
    job_server = unsent_job_server_jar("flink")
    folder = Path(tempfile.mkdtemp(prefix="lethe-flink-"))
    rpc, rest, pool = _free_ports(3)
    settings = _SETTINGS.format(rpc=rpc, rest=rest, folder=folder)
    if restarts:
        settings += _RESTARTS.format(restarts=restarts)
    (folder / "config.yaml").write_text(settings, encoding="utf-8")
    cluster = Cluster(folder, rest, pool, job_server)
    with _ended_in_order():
        try:
            cluster._start_all(task_managers)
            yield cluster
        finally:
            cluster._stop()
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let SIGTERM, which `timeout` sends, end this process as an exception does: what it started is ended too."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _java(memory: Sequence[str]) -> list[str]:
    opened = [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in _OPENED]
    return ["java", *opened, *_LOGGING, *_SHORT_LIVED, *memory, "-cp", f"{jar_folder('flink')}/*"]


def _free_ports(n: int) -> list[int]:
    """Ports that nobody listens on; all are asked for before any is given back, so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for free in sockets:
            free.bind(("localhost", 0))
        return [int(free.getsockname()[1]) for free in sockets]


def main() -> None:
    """Run a cluster until it is interrupted."""
    with contextlib.suppress(KeyboardInterrupt), running_cluster() as cluster:
        sys.stdout.write(f"Flink at {cluster.master}; run: lethe run JOB -- {' '.join(cluster.beam_options)}\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main()
