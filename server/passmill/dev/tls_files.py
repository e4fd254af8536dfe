"""A certificate for the edge of this machine, kept beside the data so that a phone need trust its
root only once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from passmill.dev.authority import ThrowawayAuthority
from passmill.dev.private_file import write_private

_ROOT_FILE: Final = "edge-root.pem"
_CERTIFICATE_FILE: Final = "edge-certificate.pem"
_KEY_FILE: Final = "edge-key.pem"
_LEAST_LEFT: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where they are, in PEM: the certificate of a server called localhost, its key in PKCS#8, and
    the root that it is checked with."""

    root: Path
    certificate: Path
    key: Path


def local_tls_files(folder: Path) -> TlsFiles:
    """The files in `folder`: those found there while they are valid, or new ones."""
    files = TlsFiles(
        root=folder / _ROOT_FILE, certificate=folder / _CERTIFICATE_FILE, key=folder / _KEY_FILE
    )
    now = datetime.now(UTC)
    if not _is_valid(files, now):
        authority = ThrowawayAuthority(now=now)
        issued = authority.issue_server_certificate(now=now)
        files.root.write_bytes(authority.root_pem)
        files.certificate.write_bytes(issued.certificate_pem)
        write_private(files.key, issued.private_key_pem.decode("ascii"))
    return files


def _is_valid(files: TlsFiles, now: datetime) -> bool:
    if not (files.root.exists() and files.certificate.exists() and files.key.exists()):
        return False
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    return certificate.not_valid_after_utc - now > _LEAST_LEFT
