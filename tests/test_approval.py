"""Signatures over manifests: who may sign, what is signed, what breaks it."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from runners.approval import approve, require_approvals
from schemas.errors import InputError, ManifestError
from schemas.job import Job, load_job


def write_key(folder: Path, name: str, key: Ed25519PrivateKey | X25519PrivateKey | None = None) -> Path:
    key = key or Ed25519PrivateKey.generate()
    private = folder / f"{name}.pem"
    pem = serialization.Encoding.PEM
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pub.pem").write_bytes(public)
    return private


@pytest.fixture
def job(tmp_path: Path) -> Job:
    for jurisdiction in ("uk", "fr"):
        folder = tmp_path / "out" / "manifests" / jurisdiction
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text('{"entries": 3}')
    (tmp_path / "job.toml").write_text(
        '[job]\njurisdictions = ["uk", "fr"]\n[records]\npath = "records"\n'
        '[policy]\nrequire_approval = true\napprovers = ["auditor.pub.pem"]\n'
    )
    write_key(tmp_path, "auditor")
    return load_job(tmp_path)


def test_what_the_auditor_signed_is_approved(job: Job) -> None:
    with pytest.raises(ManifestError, match="not signed"):
        require_approvals(job)
    approve(job, job.root / "auditor.pem")
    require_approvals(job)


def test_one_changed_byte_ends_the_approval(job: Job) -> None:
    approve(job, job.root / "auditor.pem")
    (job.out / "manifests" / "fr" / "manifest.json").write_text('{"entries": 4}')
    with pytest.raises(ManifestError, match="fr: the manifest has changed since it was signed"):
        require_approvals(job)


def test_a_signature_cannot_be_moved_to_another_manifest(job: Job) -> None:
    manifests = job.out / "manifests"
    (manifests / "fr" / "manifest.json").write_text('{"entries": 9}')
    approve(job, job.root / "auditor.pem")
    approval = (manifests / "uk" / "approval.json").read_text()
    (manifests / "fr" / "approval.json").write_text(approval)
    with pytest.raises(ManifestError, match="fr: the manifest has changed"):
        require_approvals(job)
    digest = approve(job, job.root / "auditor.pem")["fr"].manifest
    forged = approval.replace(approval.split('"manifest": "')[1].split('"')[0], digest)
    (manifests / "fr" / "approval.json").write_text(forged)
    with pytest.raises(ManifestError, match="fr: the signature is not valid"):
        require_approvals(job)


def test_somebody_elses_key_is_not_enough(job: Job) -> None:
    approve(job, write_key(job.root, "stranger"))
    with pytest.raises(ManifestError, match="a key that the policy does not name"):
        require_approvals(job)


def test_keys_of_another_kind_are_refused_with_a_remedy(job: Job) -> None:
    with pytest.raises(InputError, match="openssl genpkey"):
        approve(job, write_key(job.root, "other", X25519PrivateKey.generate()))
    (job.root / "noise.pem").write_text("no key")
    with pytest.raises(InputError, match="noise.pem is not a private key"):
        approve(job, job.root / "noise.pem")
