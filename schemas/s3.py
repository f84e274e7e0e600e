"""Object storage with the S3 API: what an `s3://` path stands for, how to connect, what an error means.

    s3://bucket/folder/        everything below it whose name ends in .parquet
    s3://bucket/one.parquet    one object
    s3://bucket/**/a*.parquet  a glob; `*` stays within a folder, `**` does not

Credentials come from the environment, a profile or the machine's role, never from a job file. The library is imported
when the first path needs it.
"""

import contextlib
import functools
import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.errors import InputError, LetheError

SCHEME = "s3://"
OPTIONS = ("endpoint_url", "region")
"""What `options` of a job file may say about a server."""

SECOND = 1_000_000_000
"""In nanoseconds: S3 tells times in whole seconds."""
_TAIL = 1 << 16
_BAD_INPUT = {
    "NoSuchBucket": "there is no such bucket",
    "InvalidBucketName": "this is no name of a bucket",
    "InvalidAccessKeyId": "the server does not know the access key of these credentials",
    "SignatureDoesNotMatch": "the server does not accept the secret key of these credentials",
    "ExpiredToken": "the credentials have expired",
    "InvalidToken": "the session token of the credentials is not valid",
    "PermanentRedirect": "the bucket is in another region: write it as region = in options",
    "AuthorizationHeaderMalformed": "the bucket is in another region: write it as region = in options",
}


class S3Error(OSError):
    """The server refused one request about one object; `strerror` says why, without its name."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(0, f"{reason} ({code})")
        self.code = code

    def __str__(self) -> str:
        return str(self.strerror)


@dataclass(frozen=True)
class Place:
    """An `s3://` path of a job file and the server it is on."""

    bucket: str
    root: str
    """The folder that names start from: empty, or with a slash at its end."""
    pattern: str | None
    """What a name below the root must match; None for a whole folder."""
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, path: str, options: Mapping[str, str]) -> "Place":
        """Read a path. Raises InputError when it names no bucket, or an option is not known."""
        for name in options:
            if name not in OPTIONS:
                raise InputError(
                    f"{path}: unknown option {name!r}; known are {', '.join(OPTIONS)}. Credentials come from the "
                    "environment, a profile or the machine's role"
                )
        bucket, _, key = path.removeprefix(SCHEME).partition("/")
        if not path.startswith(SCHEME) or not bucket:
            raise InputError(f"{path!r} names no bucket; write s3://bucket/folder/")
        folders = key.split("/")
        wild = next((i for i, part in enumerate(folders) if set(part) & set("*?[")), None)
        if wild is None and not key.lower().endswith(".parquet"):
            root, pattern = key if key.endswith("/") or not key else key + "/", None
        else:
            at = len(folders) - 1 if wild is None else wild
            root, pattern = "".join(part + "/" for part in folders[:at]), "/".join(folders[at:])
        return cls(bucket, root, pattern, tuple(sorted(options.items())))

    def __str__(self) -> str:
        return self.url(self.root + (self.pattern or ""))

    def url(self, key: str) -> str:
        """`s3://bucket/key`."""
        return f"{SCHEME}{self.bucket}/{key}"

    def key(self, url: str) -> str:
        """The key that `url` made a URL of."""
        return url.removeprefix(self.url(""))

    def belongs(self, key: str) -> bool:
        """Whether the object is below the root and matches the pattern, whatever its format."""
        name = key.removeprefix(self.root)
        return key.startswith(self.root) and (self.pattern is None or bool(_regex(self.pattern).fullmatch(name)))

    def is_read(self, key: str) -> bool:
        """Whether readers of Parquet open the object: a name that is not hidden, and ends in .parquet or matches."""
        name = key.removeprefix(self.root)
        hidden = any(part.startswith(".") for part in name.split("/"))
        return self.belongs(key) and not hidden and (self.pattern is not None or name.lower().endswith(".parquet"))

    @property
    def prefix(self) -> str:
        """What all keys that may belong start with."""
        return self.root + re.split(r"[*?\[]", self.pattern or "", maxsplit=1)[0]

    def client(self) -> Any:  # noqa: ANN401 - boto3 makes its clients at run time and has no type for them
        """A client, one a process and server; it may be used by many threads."""
        return _connect(self.options)

    @contextlib.contextmanager
    def speaking(self) -> Iterator[None]:
        """Turn errors of the library into errors a user can act on.

        Raises:
            InputError: no such bucket, no or wrong credentials, another region.
            S3Error: the server refused a request about an object.
            LetheError: the server cannot be reached, or failed.

        """
        import botocore.exceptions as told

        try:
            yield
        except told.ClientError as error:
            raise self._refusal(error.response) from error
        except (told.NoCredentialsError, told.PartialCredentialsError, told.CredentialRetrievalError) as error:
            raise InputError(
                f"{SCHEME}{self.bucket}: no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "AWS_PROFILE, or give the machine a role"
            ) from error
        except (told.NoRegionError, told.ParamValidationError) as error:
            raise InputError(f"{SCHEME}{self.bucket}: {error}".replace("\n", " ")) from error
        except told.BotoCoreError as error:
            where = dict(self.options).get("endpoint_url", "the endpoint of AWS")
            raise LetheError(
                f"{SCHEME}{self.bucket}: {where} cannot be reached or did not answer ({type(error).__name__}); "
                "check endpoint_url and the network, then run the same command again: what is finished is kept"
            ) from error

    def _refusal(self, response: Mapping[str, Any]) -> Exception:
        code, status = response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]
        if code in _BAD_INPUT:
            return InputError(f"{SCHEME}{self.bucket}: {_BAD_INPUT[code]} ({code})")
        if status >= 500:
            return LetheError(
                f"{SCHEME}{self.bucket}: the server failed ({code}); run the same command again: what is finished is "
                "kept"
            )
        return S3Error(code, _REASONS.get(status, "the server refused the request"))


_REASONS = {
    403: "the server does not allow it",
    404: "the object is not there any more",
    412: "the object changed meanwhile",
}


@dataclass(frozen=True, order=True)
class StoredObject:
    """One current object as a listing tells it."""

    key: str
    size: int
    etag: str
    modified_ns: int


def list_objects(place: Place) -> list[StoredObject]:
    """The current objects that readers of Parquet open, sorted by key. Raises as `Place.speaking`."""
    with place.speaking():
        pages = place.client().get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=place.prefix)
        found = [item for page in pages for item in page.get("Contents", ()) if place.is_read(item["Key"])]
    return sorted(
        StoredObject(item["Key"], item["Size"], item["ETag"], stamp(item["LastModified"], item["ETag"]))
        for item in found
    )


def stamp(modified: datetime, version: str) -> int:
    """When an object was written, in ns: S3 tells seconds, what is below comes from `version`.

    So two writes of one second differ, as they do on a file system.
    """
    below = int.from_bytes(hashlib.sha256(version.encode()).digest()[:4], "big") % SECOND
    return int(modified.timestamp()) * SECOND + below


class ObjectFile(io.RawIOBase):
    """One version of an object as a file: what is read is fetched by range, the object never as a whole.

    The last 64 KiB, where the footer of a Parquet file is, are fetched once. `pin` names the version, by `VersionId` or
    by `IfMatch` with an ETag.
    """

    def __init__(self, place: Place, key: str, size: int, pin: Mapping[str, str]) -> None:
        super().__init__()
        self.place, self.key, self.size, self.pin = place, key, size, pin
        self._at = 0
        self._tail_at = max(size - _TAIL, 0)
        self._tail: bytes | None = None

    @classmethod
    def current(cls, place: Place, key: str) -> "ObjectFile":
        """The object as it is now. Raises as `Place.speaking`."""
        with place.speaking():
            head = place.client().head_object(Bucket=place.bucket, Key=key)
        return cls(place, key, head["ContentLength"], {"IfMatch": head["ETag"]})

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read starts."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset from the start, from here or from the end."""
        self._at = max(offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence], 0)
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - the base class takes any writable buffer
        """Fill `buffer` as far as the object reaches. Raises as `Place.speaking`."""
        stop = min(self._at + len(buffer), self.size)
        count = max(stop - self._at, 0)
        if count:
            buffer[:count] = self._range(self._at, stop)
            self._at = stop
        return count

    def _range(self, start: int, stop: int) -> bytes:
        if start < self._tail_at:
            return self._fetch(start, stop)
        if self._tail is None:
            self._tail = self._fetch(self._tail_at, self.size)
        return self._tail[start - self._tail_at : stop - self._tail_at]

    def _fetch(self, start: int, stop: int) -> bytes:
        with self.place.speaking():
            answer = self.place.client().get_object(
                Bucket=self.place.bucket, Key=self.key, Range=f"bytes={start}-{stop - 1}", **self.pin
            )
            content: bytes = answer["Body"].read()
        return content


@functools.cache
def _regex(glob: str) -> re.Pattern[str]:
    pieces = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.findall(r"\*\*/|\*\*|\[[^]]+\]|.", glob, re.DOTALL)
    chosen = [
        pieces.get(token) or (token.replace("[!", "[^") if len(token) > 1 else re.escape(token)) for token in tokens
    ]
    return re.compile("".join(chosen), re.DOTALL)


@functools.cache
def _connect(options: tuple[tuple[str, str], ...]) -> Any:  # noqa: ANN401 - see Place.client
    import boto3
    from botocore.config import Config

    given = dict(options)
    endpoint = given.get("endpoint_url")
    # Servers other than Amazon's rarely answer to a name of their own for each bucket.
    style = {"addressing_style": "path"} if endpoint else {}
    config = Config(
        retries={"mode": "standard"}, connect_timeout=10, read_timeout=60, max_pool_connections=32, s3=style
    )
    # A session of its own: the default one may not be shared between threads.
    return boto3.session.Session().client("s3", endpoint_url=endpoint, region_name=given.get("region"), config=config)
