"""Objects with all their versions: listed, read whole, written only if nobody else did, destroyed for good."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from schemas.errors import ConflictError
from schemas.s3 import SECOND, ObjectFile, Place, S3Error, stamp
from stores.contract import StoreFile
from stores.tables import StoreError

_STEP = 8 << 20
_PART = 64 << 20
"""Objects above this size are written in parts, of this size unless that would be too many."""
_MOST_PARTS = 9_000
_MOST_DELETED = 1_000
"""As many versions as one request may name."""
_CHANGED = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "404"}
_KEPT = (
    "BucketKeyEnabled",
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Expires",
    "Metadata",
    "SSEKMSKeyId",
    "ServerSideEncryption",
    "StorageClass",
    "WebsiteRedirectLocation",
)
"""What a new version takes over from the one before it, under the names of HeadObject and PutObject alike."""
_GRANTS = {
    "FULL_CONTROL": "GrantFullControl",
    "READ": "GrantRead",
    "READ_ACP": "GrantReadACP",
    "WRITE_ACP": "GrantWriteACP",
}


@dataclass(frozen=True)
class Version:
    """One version of an object, or a delete marker, which holds nothing but the key."""

    key: str
    id: str
    etag: str
    size: int
    modified_ns: int
    latest: bool
    marker: bool

    @property
    def state(self) -> str:
        """What tells this version from every other; the id alone does not where versioning is off."""
        return f"{self.id} {self.etag}"

    @property
    def pin(self) -> dict[str, str]:
        """How a request names this version and no other."""
        return {"IfMatch": self.etag} if self.id == "null" and self.latest else {"VersionId": self.id}

    def identity(self, place: Place, rows: int) -> StoreFile:
        """The identity of a unit of which this is the current version."""
        return StoreFile(place.url(self.key), self.size, self.modified_ns, self.state, rows)

    def open(self, place: Place) -> ObjectFile:
        """Read the version as a file, by ranges."""
        return ObjectFile(place, self.key, self.size, self.pin)


def list_versions(place: Place, prefix: str) -> list[Version]:
    """All versions and delete markers of all keys with a prefix: by key, markers first, then the newest first.

    Raises as `Place.speaking`.
    """
    found = []
    with place.speaking():
        pages = place.client().get_paginator("list_object_versions").paginate(Bucket=place.bucket, Prefix=prefix)
        for page in pages:
            found += [_version(item, marker=True) for item in page.get("DeleteMarkers", ())]
            found += [_version(item, marker=False) for item in page.get("Versions", ())]
    # The order of the server tells which version is older: many may be of the same second. Sorting keeps it.
    return sorted(found, key=lambda version: (version.key, not version.marker))


def history(place: Place, key: str) -> list[Version]:
    """All versions and delete markers of one key, in the order of `list_versions`."""
    return [version for version in list_versions(place, key) if version.key == key]


def current(versions: Sequence[Version]) -> Version | None:
    """The version that readers get, of all those of one key; None if it was deleted."""
    return next((version for version in versions if version.latest and not version.marker), None)


def older_than(ours: Version, versions: Sequence[Version]) -> list[Version]:
    """Those of all versions of one key that came before `ours`, and delete markers that hide nothing."""
    objects = [version for version in versions if not version.marker]
    markers = [version for version in versions if version.marker and not version.latest]
    second = ours.modified_ns // SECOND
    return objects[objects.index(ours) + 1 :] + [one for one in markers if one.modified_ns // SECOND <= second]


def download(place: Place, version: Version, to: Path) -> None:
    """Write the bytes of one version to a file that only its owner may read. Raises as `Place.speaking`."""
    to.touch(mode=0o600)
    with to.open("wb") as file:
        for part in _content(place, version):
            file.write(part)


def digest(place: Place, version: Version) -> str:
    """`sha256:<hex>` of the bytes that the server gives for one version. Raises as `Place.speaking`."""
    hashed = hashlib.sha256()
    for part in _content(place, version):
        hashed.update(part)
    return "sha256:" + hashed.hexdigest()


def _content(place: Place, version: Version) -> Iterator[bytes]:
    with place.speaking():
        body = place.client().get_object(Bucket=place.bucket, Key=version.key, **version.pin)["Body"]
        yield from body.iter_chunks(_STEP)


def upload(place: Place, file: Path, old: Version) -> tuple[str, list[str]]:
    """Write `file` in place of `old` if that is still what readers get; the new state, and what it lacks of the old.

    Raises ConflictError when somebody else wrote or deleted meanwhile; nothing is changed then. Else as
    `Place.speaking`.
    """
    kept, lost = _attributes(place, old)
    target = {"Bucket": place.bucket, "Key": old.key}
    try:
        with place.speaking():
            client = place.client()
            if file.stat().st_size <= _PART:
                with file.open("rb") as content:
                    answer = client.put_object(**target, **kept, Body=content, IfMatch=old.etag)
            else:
                answer = _upload_parts(client, target, kept, file, old.etag)
    except S3Error as error:
        if error.code in _CHANGED:
            raise ConflictError("somebody else wrote or deleted the object: locate it again") from error
        raise
    return f"{answer.get('VersionId') or 'null'} {answer['ETag']}", lost


def _upload_parts(client: Any, target: dict[str, str], kept: dict[str, Any], file: Path, etag: str) -> Any:  # noqa: ANN401
    begun = {**target, "UploadId": client.create_multipart_upload(**target, **kept)["UploadId"]}
    try:
        size = max(_PART, file.stat().st_size // _MOST_PARTS + 1)
        parts = []
        with file.open("rb") as content:
            for number, part in enumerate(iter(lambda: content.read(size), b""), 1):
                answer = client.upload_part(**begun, PartNumber=number, Body=part)
                sums = {name: value for name, value in answer.items() if name.startswith("Checksum")}
                sums.pop("ChecksumType", None)
                parts.append({"PartNumber": number, "ETag": answer["ETag"], **sums})
        return client.complete_multipart_upload(**begun, MultipartUpload={"Parts": parts}, IfMatch=etag)
    except BaseException:
        with contextlib.suppress(Exception):  # what made it fail is what the user has to know
            client.abort_multipart_upload(**begun)
        raise


def _attributes(place: Place, old: Version) -> tuple[dict[str, Any], list[str]]:
    """The arguments that give a new version the headers, tags and grants of `old`; and what cannot be taken over."""
    name: dict[str, Any] = {"Bucket": place.bucket, "Key": old.key}
    with place.speaking():
        head = place.client().head_object(**name, **old.pin)
        kept = {field: head[field] for field in _KEPT if head.get(field)}
        exactly = {field: value for field, value in old.pin.items() if field == "VersionId"}
        if head.get("TagCount"):
            tags = place.client().get_object_tagging(**name, **exactly)["TagSet"]
            kept["Tagging"] = urlencode({tag["Key"]: tag["Value"] for tag in tags})
    try:
        with place.speaking():
            granted = place.client().get_object_acl(**name, **exactly)
    except S3Error:
        return kept, ["access control list, which may not be read"]
    return {**kept, **_grants(granted)}, []


def _grants(granted: dict[str, Any]) -> dict[str, str]:
    """Grants as headers; none if the owner alone has any, which is what a new object gets by itself."""
    if all(grant["Grantee"].get("ID") == granted["Owner"]["ID"] for grant in granted["Grants"]):
        return {}
    headers: dict[str, list[str]] = {}
    for grant in granted["Grants"]:
        who = grant["Grantee"]
        told = f'uri="{who["URI"]}"' if "URI" in who else f'id="{who["ID"]}"'
        headers.setdefault(_GRANTS[grant["Permission"]], []).append(told)
    return {name: ", ".join(values) for name, values in headers.items()}


def destroy(place: Place, versions: Sequence[Version]) -> None:
    """Delete versions for good, and then the delete markers among them; nothing is asked to overrule a lock.

    Raises StoreError when the server keeps any of them, else as `Place.speaking`.
    """
    for markers in (False, True):  # a marker that went first would give back what it hides
        chosen = sorted((one for one in versions if one.marker is markers), key=attrgetter("key"))
        for first in range(0, len(chosen), _MOST_DELETED):
            _destroy(place, chosen[first : first + _MOST_DELETED])


def _destroy(place: Place, versions: Sequence[Version]) -> None:
    named = [{"Key": version.key, "VersionId": version.id} for version in versions]
    with place.speaking():
        answer = place.client().delete_objects(Bucket=place.bucket, Delete={"Objects": named, "Quiet": True})
    refused = answer.get("Errors", ())
    if refused:
        codes = ", ".join(sorted({error.get("Code", "unknown error") for error in refused}))
        raise StoreError(
            f"{len(refused)} older versions could not be deleted ({codes}): Object Lock, a legal hold, MFA delete or a "
            "missing permission (s3:DeleteObjectVersion) keeps them; lift it and run again"
        )


def abort_uploads(place: Place, key: str, before_ns: int) -> None:
    """Throw away the parts of uploads of one key that were begun before a time and never finished.

    Raises as `Place.speaking`.
    """
    with place.speaking():
        pages = place.client().get_paginator("list_multipart_uploads").paginate(Bucket=place.bucket, Prefix=key)
        begun = [item for page in pages for item in page.get("Uploads", ()) if item["Key"] == key]
        for item in begun:
            if int(item["Initiated"].timestamp()) <= before_ns // SECOND:
                place.client().abort_multipart_upload(Bucket=place.bucket, Key=key, UploadId=item["UploadId"])


def _version(item: dict[str, Any], *, marker: bool) -> Version:
    etag = "" if marker else item["ETag"]
    modified = stamp(item["LastModified"], etag)
    return Version(item["Key"], item["VersionId"], etag, item.get("Size", 0), modified, item["IsLatest"], marker)
