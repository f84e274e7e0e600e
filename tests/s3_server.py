"""A real S3 server process for tests (moto's), and buckets on it."""

import os
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import boto3
import pytest
from botocore.config import Config

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_MAX_ATTEMPTS": "1"}


@dataclass
class S3Server:
    """A server of one process; its buckets end with it."""

    port: int
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls) -> Self:
        """Start one on a free port, and wait until it answers."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | CREDENTIALS,
        )
        server = cls(port, process)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return server
            time.sleep(0.05)
        raise RuntimeError("the S3 server did not start")

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()

    @property
    def options(self) -> dict[str, str]:
        """What a job file says about this server."""
        return {"endpoint_url": f"http://127.0.0.1:{self.port}", "region": "us-east-1"}

    @cached_property
    def client(self) -> Any:  # noqa: ANN401 - boto3 makes its clients at run time
        """A client of one's own, as another user of the bucket has."""
        config = Config(retries={"max_attempts": 0})
        options = {"endpoint_url": self.options["endpoint_url"], "region_name": "us-east-1", "config": config}
        keys = {"aws_access_key_id": "another", "aws_secret_access_key": "another"}
        return boto3.session.Session().client("s3", **options, **keys)

    def bucket(self, versioning: str = "Enabled", **settings: object) -> str:
        """A new bucket; `versioning` is Enabled, Suspended or empty for one that never had any."""
        name = f"faces-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=name, **settings)
        if versioning:
            self.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": versioning})
        return name

    def versions(self, bucket: str) -> list[tuple[str, str, str]]:
        """Kind, key and id of every version and delete marker."""
        listed = self.client.list_object_versions(Bucket=bucket)
        return [
            (kind, item["Key"], item["VersionId"])
            for kind in ("Versions", "DeleteMarkers")
            for item in listed.get(kind, ())
        ]

    def put_folder(self, bucket: str, folder: Path, prefix: str) -> None:
        """Upload every file below `folder`."""
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.client.put_object(Bucket=bucket, Key=f"{prefix}{file.relative_to(folder)}", Body=file.read_bytes())


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that a user of S3 has."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
