"""Bundles made here by `cryptography` and `zipfile`, right or wrong in one thing."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from passmill.dev.authority import IssuedCertificate
from tests.support.png import draw_png

PASS_TYPE = "pass.com.example.club"
TEAM = "A1B2C3D4E5"
ORIGIN = "https://passes.example.com"
TOKEN = "0123456789abcdef0123"
ICON = draw_png(29, 29, "#808080")
_OPTIONS = [pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.DetachedSignature]


def pass_document(serial: str = "A1", *, points: int = 7, **changed: Any) -> dict[str, Any]:
    """A store card; `changed` by key, None to leave one out."""
    document: dict[str, Any] = {
        "formatVersion": 1,
        "passTypeIdentifier": PASS_TYPE,
        "teamIdentifier": TEAM,
        "serialNumber": serial,
        "authenticationToken": TOKEN,
        "webServiceURL": f"{ORIGIN}/wallet",
        "organizationName": "Example Coffee",
        "description": "Coffee card",
        "storeCard": {
            "headerFields": [
                {"key": "points", "value": points, "label": "Points", "changeMessage": "Now %@"}
            ],
            "backFields": [{"key": "note", "value": "hello", "changeMessage": "Note: %@"}],
        },
    }
    return {key: each for key, each in (document | changed).items() if each is not None}


def make_bundle(
    issued: IssuedCertificate,
    document: dict[str, Any] | None = None,
    *,
    more: dict[str, bytes] | None = None,
    without: str = "",
    unlisted: dict[str, bytes] | None = None,
    options: list[pkcs7.PKCS7Options] | None = None,
    wwdr: x509.Certificate | None = None,
) -> bytes:
    """A signed bundle. `more`: further files; `without`: one left out; `unlisted`: put into the
    archive after the manifest was made; `wwdr`: another intermediate than the issuer's."""
    files = {
        "pass.json": json.dumps(document or pass_document()).encode(),
        "icon.png": ICON,
        **(more or {}),
    }
    manifest = json.dumps(
        {name: hashlib.sha1(content).hexdigest() for name, content in files.items()}  # noqa: S324
    ).encode()
    signature = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(manifest)
        .add_signer(issued.certificate, issued.private_key, hashes.SHA256())
        .add_certificate(wwdr or issued.wwdr)
        .sign(Encoding.DER, options or _OPTIONS)
    )
    files |= {"manifest.json": manifest, "signature": signature} | (unlisted or {})
    return make_archive({name: each for name, each in files.items() if name != without})


def make_archive(files: dict[str, bytes]) -> bytes:
    """A zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
