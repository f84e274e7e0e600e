"""The Java half of Beam's Flink and Spark runners, fetched from Maven Central on command and checked by digest.

    python -m runners.engines.jars flink

`flink.jars` and `spark.jars` list every file with its SHA-512, as `sha512sum` prints it. Beam itself would download a
job server at the first run and execute it unchecked (`docs/decisions/0190-the-runner-for-flink.md`).
"""

import argparse
import concurrent.futures
import functools
import hashlib
import os
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path

from schemas.errors import InputError, LetheError
from schemas.files import replacing

MAVEN_CENTRAL = "https://repo.maven.apache.org/maven2"

MAIN_CLASSES = {
    "flink": "org.apache.beam.runners.flink.FlinkJobServerDriver",
    "spark": "org.apache.beam.runners.spark.SparkJobServerDriver",
}
"""What `java -jar` starts."""

_AT_ONCE = 8
_SECONDS = 120
_MANIFEST_WIDTH = 70
"""A line of a jar's manifest has at most 72 bytes, its end among them."""


def jar_folder(engine: str) -> Path:
    """Where the jars of `engine` are kept: below `$LETHE_CACHE`, or else below `~/.cache/lethe`."""
    cache = Path(os.environ.get("LETHE_CACHE") or Path.home() / ".cache" / "lethe")
    return cache / "jars" / engine


def pinned_jars(engine: str) -> dict[str, str]:
    """SHA-512 by path in a Maven repository."""
    lines = Path(__file__).with_name(f"{engine}.jars").read_text(encoding="ascii").splitlines()
    return {path: digest for digest, path in (line.split() for line in lines)}


@functools.cache
def job_server_jar(engine: str) -> Path:
    """The jar that starts the job server of `engine`, after all that it names were checked; once a process.

    Raises:
        InputError: a jar is missing or is not the one that is pinned.

    """
    folder = jar_folder(engine)
    for path, digest in pinned_jars(engine).items():
        file = folder / Path(path).name
        if not file.is_file():
            raise InputError(
                f"{file} is missing; it is {MAVEN_CENTRAL}/{path} with SHA-512 {digest}. Fetch it and the others it "
                f"needs: python -m runners.engines.jars {engine}"
            )
        if _sha512(file) != digest:
            raise InputError(
                f"{file} is not the file that is pinned: its SHA-512 is not {digest}. Remove it and run: "
                f"python -m runners.engines.jars {engine}"
            )
    return _write_index(folder, MAIN_CLASSES[engine], pinned_jars(engine))


def unsent_job_server_jar(engine: str) -> Path:
    """As `job_server_jar`, for a cluster that has the same jars on its class path: none goes along with a job.

    Flink takes 0.1 s for every jar of every job, however small: it sends and confirms one after the other. Beam leaves
    out what has `gradle/wrapper` in its path (`PipelineResources.isStageable`), and says nothing else about it; so the
    jars are linked there.

    Raises:
        InputError: a jar is missing or is not the one that is pinned.

    """
    folder = job_server_jar(engine).parent
    unsent = folder / "gradle" / "wrapper"
    for path in pinned_jars(engine):
        jar, link = folder / Path(path).name, unsent / Path(path).name
        if not (link.is_file() and link.samefile(jar)):
            with replacing(link) as aside:
                os.link(jar, aside)
    return _write_index(unsent, MAIN_CLASSES[engine], pinned_jars(engine))


def fetch_jars(engine: str, repository: str = MAVEN_CENTRAL) -> Path:
    """Fetch what is missing of the jars of `engine`, each checked before it gets its name; returns their folder.

    Raises:
        LetheError: a file cannot be fetched, or is not the one that is pinned.

    """
    folder = jar_folder(engine)
    missing = {path: digest for path, digest in pinned_jars(engine).items() if not _is(folder, path, digest)}
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        fetched = [pool.submit(_fetch, f"{repository}/{path}", digest, folder) for path, digest in missing.items()]
        for future in fetched:
            future.result()
    return folder


def _is(folder: Path, path: str, digest: str) -> bool:
    file = folder / Path(path).name
    return file.is_file() and _sha512(file) == digest


def _fetch(url: str, digest: str, folder: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
            content: bytes = answer.read()
    except (OSError, urllib.error.URLError) as error:
        raise LetheError(f"{url} cannot be fetched ({error}); run the same command again to go on") from error
    found = hashlib.sha512(content).hexdigest()
    if found != digest:
        raise LetheError(f"{url} has SHA-512 {found}, and {digest} is pinned; it was not kept")
    with replacing(folder / url.rpartition("/")[2]) as aside:
        aside.write_bytes(content)


def _sha512(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha512").hexdigest()


def _write_index(folder: Path, main_class: str, jars: Mapping[str, str]) -> Path:
    """A jar that holds nothing but the names of others: `java -jar` takes one file."""
    class_path = " ".join((folder / Path(path).name).resolve().as_uri() for path in jars)
    lines = ["Manifest-Version: 1.0", *_wrap(f"Main-Class: {main_class}"), *_wrap(f"Class-Path: {class_path}"), "", ""]
    file = folder / "job-server.jar"
    with replacing(file) as aside, zipfile.ZipFile(aside, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "\r\n".join(lines))
    return file


def _wrap(line: str) -> list[str]:
    """One manifest entry on lines short enough, those after the first with the space that continues an entry."""
    rest = range(_MANIFEST_WIDTH, len(line), _MANIFEST_WIDTH - 1)
    return [line[:_MANIFEST_WIDTH], *(" " + line[at : at + _MANIFEST_WIDTH - 1] for at in rest)]


def main() -> int:
    """Fetch the jars of the engines that are named."""
    parser = argparse.ArgumentParser(description="Fetch the Java half of an engine, checked against pinned digests.")
    parser.add_argument("engine", nargs="+", choices=sorted(MAIN_CLASSES))
    parser.add_argument("--repository", default=MAVEN_CENTRAL, help="a mirror of Maven Central")
    options = parser.parse_args()
    try:
        for engine in options.engine:
            folder = fetch_jars(engine, options.repository)
            sys.stdout.write(f"{len(pinned_jars(engine))} jars for {engine} in {folder}, all as pinned\n")
    except LetheError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
