"""Parquet files on object storage, as the verifier reads them: every version, delete marker and unfinished upload."""

import errno
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import InputError
from schemas.files import TEMPORARY_PREFIX
from schemas.s3 import Place, S3Error, stamp
from stores.audit.check import printable
from stores.audit.control import Control, run_control
from stores.audit.inventory import Entry, Kind
from stores.audit.reader import no_copies
from stores.audit.rows import Rows, read_batches, schema_fingerprint
from stores.audit.siphash import Bytes

_VERSION, _MARKER, _UPLOAD = "?versionId=", "?deleteMarker=", "?uploadId="
_STEP = 8 << 20


class S3Reader:
    """`path` as the job file has it; `key` is the column of ids. Rows are those of current objects alone."""

    rows_in_files = False
    packed = False
    copies = staticmethod(no_copies)

    def __init__(self, path: str, key: str, options: Mapping[str, str]) -> None:
        self.place = Place.of(path, options)
        self.key = key

    def entries(self) -> list[Entry]:
        """All versions, `name?versionId=…`, delete markers, `?deleteMarker=…`, and unfinished uploads, `?uploadId=…`.

        Raises InputError, LetheError or OSError if they cannot be listed.
        """
        listed = [
            *self._list("list_object_versions", "Versions", _VERSION, "VersionId"),
            *self._list("list_object_versions", "DeleteMarkers", _MARKER, "VersionId"),
            *self._list("list_multipart_uploads", "Uploads", _UPLOAD, "UploadId"),
        ]
        return sorted(entry for entry, _ in listed)

    def _list(self, operation: str, kind: str, mark: str, identifier: str) -> Iterator[tuple[Entry, dict[str, Any]]]:
        place = self.place
        with place.speaking():
            for page in place.client().get_paginator(operation).paginate(Bucket=place.bucket, Prefix=place.prefix):
                for item in page.get(kind, ()):
                    if place.belongs(item["Key"]):
                        name = item["Key"].removeprefix(place.root) + mark + item[identifier]
                        # Nobody knows the size of an upload, nor when its last part came.
                        told = f"{item[identifier]} {item.get('ETag', '')}"
                        written = stamp(item["LastModified"], told) if "LastModified" in item else 0
                        yield Entry(name, Kind.FILE, item.get("Size", 0), written), item

    def view(self, path: str) -> Bytes:
        """The bytes of one version; a delete marker has none. Raises OSError, always for an unfinished upload."""
        if _UPLOAD in path:
            raise OSError(errno.EIO, "an upload that was never finished, whose parts nobody can read: abort it")
        name, mark, version = path.rpartition(_VERSION)
        return self._fetch(self.place.root + name, version) if mark else np.zeros(0, np.uint8)

    def _fetch(self, key: str, version: str | None = None) -> Bytes:
        """The bytes of an object, in a nameless file that ends with this process, so that its size costs no memory."""
        pin = {"VersionId": version} if version else {}
        with tempfile.TemporaryFile() as file:
            with self.place.speaking():
                answer = self.place.client().get_object(Bucket=self.place.bucket, Key=key, **pin)
                for part in answer["Body"].iter_chunks(_STEP):
                    file.write(part)
            file.flush()
            return np.asarray(np.memmap(file, np.uint8, "r")) if file.tell() else np.zeros(0, np.uint8)

    def units(self) -> list[str]:
        """The URLs of the current objects that readers of the store open."""
        listed = self._list("list_object_versions", "Versions", _VERSION, "VersionId")
        keys = (item["Key"] for _, item in listed if item["IsLatest"])
        return sorted(self.place.url(key) for key in keys if self.place.is_read(key))

    def name(self, unit: str) -> str:
        """The key below the root."""
        return printable(self.place.key(unit).removeprefix(self.place.root))

    def read(self, unit: str) -> Rows:
        """The rows of the current object; a deleted one has none."""
        key = self.place.key(unit)
        try:
            data = self._fetch(key)
        except S3Error as error:
            if error.code != "NoSuchKey":
                raise
            return Rows("", pa.schema([(self.key, pa.string())]), iter(()))
        try:
            file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(data)), pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{self.name(unit)} cannot be read as Parquet ({type(error).__name__}); take it out of the store"
            ) from error
        return Rows(schema_fingerprint(file), file.schema_arrow, read_batches(file))

    def control(self, scratch: Path, key: bytes) -> Control | None:
        """The positive control, in the layout of the first object that can be read."""
        for unit in self.units():
            sample = scratch / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
            try:
                sample.touch(mode=0o600)
                sample.write_bytes(self._fetch(self.place.key(unit)).data)
                return run_control(sample, self.key, scratch, key)
            except (InputError, NotImplementedError, OSError, pa.ArrowException):
                continue
            finally:
                sample.unlink(missing_ok=True)
        return None
