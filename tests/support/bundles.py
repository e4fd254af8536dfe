"""What others make of our bundles: openssl, Info-ZIP, libarchive, zipfile and cryptography."""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from passmill.dev.authority import ThrowawayAuthority
from tests.support.tools import read_with_libarchive, run

# DER of a signed attribute's object identifiers (RFC 5652, section 11).
_MESSAGE_DIGEST = bytes.fromhex("06092a864886f70d010904")
_SIGNING_TIME = bytes.fromhex("06092a864886f70d010905")


def read_bundle(bundle: bytes) -> dict[str, bytes]:
    """Every file, by Python's zipfile, with its CRCs checked."""
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def pass_json(bundle: bytes) -> dict[str, Any]:
    """The bundle's pass.json."""
    document: dict[str, Any] = json.loads(read_bundle(bundle)["pass.json"])
    return document


def verify(bundle: bytes, authority: ThrowawayAuthority) -> dict[str, Any]:
    """Proves a bundle with `cryptography` and `zipfile` alone, and gives its pass.json.

    The manifest lists every file with its digest; the leaf issued by the authority's intermediate
    signed attributes that hold the manifest's digest.
    """
    files = read_bundle(bundle)
    manifest = json.loads(files["manifest.json"])
    digests = {
        name: hashlib.sha1(content, usedforsecurity=False).hexdigest()
        for name, content in files.items()
        if name not in {"manifest.json", "signature"}
    }
    assert manifest == digests
    attributes, signature = _signed(files["signature"])
    digest = hashlib.sha256(files["manifest.json"]).digest()
    assert _MESSAGE_DIGEST + b"\x31\x22\x04\x20" + digest in attributes
    wwdr = x509.load_pem_x509_certificate(authority.wwdr_pem)
    certificates = pkcs7.load_der_pkcs7_certificates(files["signature"])
    [leaf] = [each for each in certificates if each != wwdr]
    leaf.verify_directly_issued_by(wwdr)
    _require_signature(leaf, signature, attributes)
    document: dict[str, Any] = json.loads(files["pass.json"])
    return document


def signing_time(bundle: bytes) -> str:
    """The signing time in the signature: YYMMDDHHMMSSZ."""
    attributes, _ = _signed(read_bundle(bundle)["signature"])
    at = attributes.index(_SIGNING_TIME) + len(_SIGNING_TIME) + 4
    return attributes[at : at + 13].decode()


def signer(bundle: bytes, authority: ThrowawayAuthority) -> bytes:
    """The certificate (DER) that signed."""
    certificates = pkcs7.load_der_pkcs7_certificates(read_bundle(bundle)["signature"])
    ders = [each.public_bytes(Encoding.DER) for each in certificates]
    [leaf] = [der for der in ders if der != authority.wwdr_der]
    return leaf


def verify_with_programs(bundle: bytes, authority: ThrowawayAuthority, folder: Path) -> None:
    """Proves a bundle with openssl, Info-ZIP and libarchive."""
    files = read_bundle(bundle)
    path = folder / "card.pkpass"
    path.write_bytes(bundle)
    assert b"No errors detected" in run("unzip", "-t", path)
    read = read_with_libarchive(bundle, folder)
    assert list(read.items()) == list(files.items())
    (folder / "root.pem").write_bytes(authority.root_pem)
    for name in ("signature", "manifest.json"):
        (folder / name).write_bytes(read[name])
    run(
        "openssl",
        *("cms", "-verify", "-binary", "-inform", "der", "-purpose", "any"),
        *("-in", folder / "signature", "-content", folder / "manifest.json"),
        *("-CAfile", folder / "root.pem", "-out", folder / "verified"),
    )
    assert (folder / "verified").read_bytes() == files["manifest.json"]


def _signed(cms: bytes) -> tuple[bytes, bytes]:
    """The signed attributes as they were signed (a SET, RFC 5652 section 5.4), and the signature,
    which is the last field."""
    marker = cms.index(_MESSAGE_DIGEST)
    start = cms.rindex(b"\xa0\x69\x30\x18", 0, marker)
    length = cms[start + 1]
    attributes = b"\x31" + cms[start + 1 : start + 2 + length]
    after = cms[start + 2 + length :]
    octets = after.index(b"\x04\x82\x01\x00") if b"\x04\x82\x01\x00" in after else -1
    if octets >= 0:
        return attributes, after[octets + 4 :]
    return attributes, after[after.rindex(b"\x04\x03\x02\x04") + 5 :]


def _require_signature(leaf: x509.Certificate, signature: bytes, message: bytes) -> None:
    key = leaf.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    else:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
