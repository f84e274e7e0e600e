"""The auditor's signature: Ed25519 over the digest of `manifest.json`, kept beside it as `approval.json`."""

from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.errors import InputError, ManifestError
from schemas.files import digest_file, write_json
from schemas.job import Job


class Approval(BaseModel):
    """`approval.json`: which manifest, whose key, the signature; keys and signatures in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    manifest: str
    public_key: str
    signature: str


def approve(job: Job, key_file: Path) -> dict[str, Approval]:
    """Sign every manifest of the job with the private key in `key_file` (PEM, Ed25519, not encrypted).

    Raises:
        InputError: the key cannot be read or is of another kind.
        ManifestError: there is no manifest to sign.

    """
    key = _private_key(key_file)
    public = key.public_key().public_bytes_raw().hex()
    approvals = {}
    for name, manifest in _manifest_files(job).items():
        digest = digest_file(manifest)
        approvals[name] = Approval(manifest=digest, public_key=public, signature=key.sign(digest.encode()).hex())
        write_json(manifest.parent / "approval.json", approvals[name].model_dump())
    return approvals


def require_approvals(job: Job) -> None:
    """Raise a ManifestError unless every manifest, just as it is now, is signed by one of the policy's approvers."""
    approvers = {_public_key(job.path(file)) for file in job.policy.approvers}
    for name, manifest in _manifest_files(job).items():
        if problem := _approval_problem(manifest, approvers):
            raise ManifestError(f"{name}: {problem}; the policy requires approval: `lethe approve JOB --key FILE`")


def _approval_problem(manifest: Path, approvers: set[str]) -> str | None:
    try:
        approval = Approval.model_validate_json((manifest.parent / "approval.json").read_bytes())
        signature = bytes.fromhex(approval.signature)
        signer = Ed25519PublicKey.from_public_bytes(bytes.fromhex(approval.public_key))
    except FileNotFoundError:
        return "the manifest is not signed"
    except (ValidationError, ValueError):
        return "approval.json is not an approval"
    if approval.public_key not in approvers:
        return "the manifest is signed by a key that the policy does not name"
    if approval.manifest != digest_file(manifest):
        return "the manifest has changed since it was signed"
    try:
        signer.verify(signature, approval.manifest.encode())
    except InvalidSignature:
        return "the signature is not valid"
    return None


def _manifest_files(job: Job) -> dict[str, Path]:
    files = {name: job.out / "manifests" / name / "manifest.json" for name in job.job.jurisdictions}
    missing = [name for name, file in files.items() if not file.is_file()]
    if missing:
        raise ManifestError(f"there is no manifest for {', '.join(missing)}; run `lethe plan` first")
    return files


def _private_key(file: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{file.name} is not a private key lethe can read; it must be PEM and not encrypted"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{file.name} holds another kind of key; make one with `openssl genpkey -algorithm ed25519`")
    return key


def _public_key(file: Path) -> str:
    try:
        key = serialization.load_pem_public_key(file.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"[policy] approvers: {file.name} is not a public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"[policy] approvers: {file.name} holds another kind of key than Ed25519")
    return key.public_bytes_raw().hex()
